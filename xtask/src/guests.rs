//! `cargo xtask guests`: guest modules as WebAssembly components in `target/guests`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use wit_component::ComponentEncoder;

use crate::paths::{cargo, root, run, target};
use crate::wasm_target::{TARGET, Toolchain};

/// A guest to build: a `cdylib` of a package in `guest-modules/`, its library or an example.
struct Guest {
    package: String,
    /// The cdylib's name, as cargo's output has it.
    artifact: String,
    example: bool,
    /// Name of the component: the package's folder, or the example's name.
    name: String,
}

/// Builds every guest that is not up to date; gives the paths of all.
///
/// Guests have a target directory of their own, so that they wait for no other build and no other build for them.
pub(crate) fn build() -> anyhow::Result<Vec<PathBuf>> {
    build_named(&[])
}

/// The same for the guests of these names; for all when there are none.
pub(crate) fn build_named(names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut guests = find()?;
    if let Some(unknown) = names.iter().find(|&&name| guests.iter().all(|guest| guest.name != name)) {
        let known: Vec<_> = guests.iter().map(|guest| guest.name.as_str()).collect();
        anyhow::bail!("no guest {unknown} in guest-modules/; there are {}", known.join(", "));
    }
    guests.retain(|guest| names.is_empty() || names.contains(&guest.name.as_str()));
    let target = target()?;
    let toolchain = Toolchain::find(&target)?;
    println!("guests: {}", toolchain.describe());

    let work = target.join("guest-build");
    let built = work.join(TARGET).join("guest");
    let out = target.join("guests");
    std::fs::create_dir_all(&out)?;
    let mut paths = Vec::new();
    // One by one: together they would get each other's features, and what a guest is would hang on what else is built.
    for guest in &guests {
        let mut command = cargo(&["build", "--quiet", "--profile", "guest", "--target", TARGET, "--package"]);
        command.arg(&guest.package).arg("--target-dir").arg(&work);
        if guest.example {
            command.args(["--example", &guest.artifact]);
        } else {
            command.arg("--lib");
        }
        toolchain.apply(&mut command);
        run(&mut command).with_context(|| format!("build the guest {}", guest.name))?;
        paths.push(componentize(guest, &built, &out)?);
    }
    Ok(paths)
}

/// Reads from cargo which guests there are.
fn find() -> anyhow::Result<Vec<Guest>> {
    let output =
        cargo(&["metadata", "--format-version", "1", "--no-deps"]).output().context("run cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let modules = root().join("guest-modules");
    let mut guests = Vec::new();
    for package in list(&metadata["packages"]) {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let Some(folder) = manifest.parent().filter(|folder| folder.starts_with(&modules)) else { continue };
        for target in list(&package["targets"]) {
            let is = |key: &str, word: &str| list(&target[key]).iter().any(|found| found == word);
            if !is("crate_types", "cdylib") {
                continue;
            }
            let example = is("kind", "example");
            let artifact = target["name"].as_str().context("a target without a name")?.to_owned();
            let folder = folder.file_name().context("a package without a folder")?.to_string_lossy();
            let name = if example { artifact.clone() } else { folder.into_owned() };
            let package = package["name"].as_str().context("a package without a name")?.to_owned();
            guests.push(Guest { package, artifact, example, name });
        }
    }
    // Examples of the SDK are quick to build and show first whether the toolchain works.
    guests.sort_by_key(|guest| !guest.example);
    Ok(guests)
}

fn list(value: &serde_json::Value) -> &[serde_json::Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Makes a component of a core module. The type of its world is in a section that the bindings put there.
fn componentize(guest: &Guest, built: &Path, out: &Path) -> anyhow::Result<PathBuf> {
    let dir = if guest.example { built.join("examples") } else { built.to_owned() };
    let core = dir.join(format!("{}.wasm", guest.artifact.replace('-', "_")));
    let module = std::fs::read(&core).with_context(|| format!("read {}", core.display()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("make a component of {}", core.display()))?;

    let path = out.join(format!("{}.wasm", guest.name));
    let fresh = std::fs::read(&path).is_ok_and(|old| old == component);
    if !fresh {
        // Renamed into place: a test that runs meanwhile reads the old one or the new one.
        let partial = out.join(format!("{}.wasm.{}", guest.name, std::process::id()));
        std::fs::write(&partial, &component)?;
        std::fs::rename(&partial, &path)?;
    }
    let digest: String = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
    let state = if fresh { "up to date" } else { "built" };
    println!(
        "guests: {} {state}, {} bytes, sha256:{digest}, in {}",
        guest.name,
        component.len(),
        path.display()
    );
    Ok(path)
}

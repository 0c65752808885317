//! Programs that tests talk to, taken from Debian's packages and unpacked under the target directory: nothing is
//! installed into the system and no service is started by it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::paths::{cargo, run, target};

/// Upstream version of nginx that the tests were written against; Debian's security fixes change what follows.
const NGINX: &str = "1.22.1";

/// Version of cargo-deny that the tests install when there is none.
const CARGO_DENY: &str = "0.20.2";

/// The cargo-deny program: the one in PATH, else ours, compiled once under the target directory.
pub(crate) fn cargo_deny() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("cargo-deny") {
        return Ok(found);
    }
    let dir = target()?.join("tools/cargo-deny");
    let program = dir.join("bin/cargo-deny");
    if !program.exists() {
        println!("cargo-deny: installing version {CARGO_DENY} under {}", dir.display());
        run(cargo(&["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY, "--root"])
            .arg(&dir)
            // Checks of bans, licenses and sources need no optimised program; it compiles in half the time.
            .arg("--debug"))?;
    }
    Ok(program)
}

/// The nginx program: the one in PATH, else Debian's.
pub(crate) fn nginx() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("nginx") {
        println!("nginx: using {}", found.display());
        return Ok(found);
    }
    let dir = target()?.join("tools/nginx");
    let program = dir.join("usr/sbin/nginx");
    if !program.exists() {
        unpack("nginx", NGINX, &dir)?;
    }
    anyhow::ensure!(program.exists(), "Debian's package nginx holds no usr/sbin/nginx");
    println!("nginx: using {}", program.display());
    Ok(program)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Downloads a package with apt and unpacks it into `dir`.
fn unpack(package: &str, version: &str, dir: &Path) -> anyhow::Result<()> {
    let downloads = dir.with_extension("download");
    std::fs::create_dir_all(&downloads)?;
    let wanted = format!("{package}={version}-*");
    println!("{package}: fetching {wanted} with apt");
    let fetch = || Command::new("apt-get").current_dir(&downloads).args(["download", &wanted]).output();
    let first = fetch().context("start apt-get; install nginx by other means and put it into PATH")?;
    if !first.status.success() {
        // A new machine has no package lists yet.
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        let second = fetch()?;
        anyhow::ensure!(
            second.status.success(),
            "apt-get download {wanted}: {}; install {package} by other means and put it into PATH",
            String::from_utf8_lossy(&second.stderr)
        );
    }
    let archive = std::fs::read_dir(&downloads)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no .deb file")?;
    run(Command::new("dpkg").arg("-x").arg(&archive).arg(dir))?;
    std::fs::remove_dir_all(&downloads)?;
    Ok(())
}

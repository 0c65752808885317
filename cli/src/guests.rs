//! Finding the guests that a plan names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plan::Plan;
use plan::model::GuestRef;
use plan::units::nearest;
use sandbox::{Compile, Host, HostConfig};
use sha2::{Digest as _, Sha256};

use crate::args::GuestArgs;
use crate::failure::Failure;

/// A guest's file with its bytes, read once.
#[derive(Clone, Debug)]
pub(crate) struct GuestFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    /// The version that the plan names, when the file's name does not tell it: the guest itself has to.
    pub(crate) must_be: Option<String>,
}

/// The directories that are searched, in order.
pub(crate) fn directories(args: &GuestArgs) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = args.guests_dir.iter().cloned().collect();
    if let Some(beside) = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)) {
        found.push(beside.join("guests"));
        // `target/guests`, seen from `target/debug` and `target/release`.
        found.extend(beside.parent().map(|above| above.join("guests")));
    }
    found
}

/// The guest of each scenario, by its index.
///
/// # Errors
/// All guests that are not there or not the ones named, at once.
pub(crate) fn find_all(
    plan: &Plan,
    base_dir: &Path,
    directories: &[PathBuf],
) -> Result<Vec<GuestFile>, Failure> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (index, scenario) in plan.scenarios.iter().enumerate() {
        match find(&scenario.guest, base_dir, directories) {
            Ok(guest) => found.push(guest),
            Err(problem) => problems.push(format!("scenarios[{index}].guest: {problem}")),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Failure::input(problems.join("\n"))) }
}

/// Asks guests for their version where the plan names one and the file's name does not tell it.
///
/// # Errors
/// All guests of another version, at once.
pub(crate) fn check_versions(guests: &[GuestFile]) -> Result<(), Failure> {
    let unsure: Vec<(&GuestFile, &String)> =
        guests.iter().filter_map(|guest| Some((guest, guest.must_be.as_ref()?))).collect();
    if unsure.is_empty() {
        return Ok(());
    }
    let host = host()?;
    let mut problems = Vec::new();
    for (guest, wanted) in unsure {
        match host.load(&guest.path).map(|loaded| loaded.descriptor().version.clone()) {
            Ok(found) if found == *wanted => {}
            Ok(found) => problems.push(format!(
                "the guest {} has version {found}, expected {wanted}; name the version found, or leave it out",
                guest.path.display()
            )),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::input(problems.join("\n"))) }
}

/// A host for looking at guests; compiled ones are kept where runs find them.
///
/// # Errors
/// When the WebAssembly engine does not start.
pub(crate) fn host() -> Result<Host, Failure> {
    let config = HostConfig { cache_dir: cache_dir(), compile: compile()?, ..HostConfig::default() };
    Host::new(config).map_err(|error| Failure::environment(error.to_string()))
}

/// Where compiled guests are kept: with the user's other caches, so that the second run starts at once. `None` without a
/// home directory.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("gauntlet"))
}

/// Guests are compiled by this program in a child process.
///
/// # Errors
/// When the program's own file is not known.
pub(crate) fn compile() -> Result<Compile, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::environment(format!("this program's own file is not known: {error}")))?;
    Ok(Compile::Child { program, args: vec!["guest-compile".into()] })
}

fn find(guest: &GuestRef, base_dir: &Path, directories: &[PathBuf]) -> Result<GuestFile, String> {
    match guest {
        GuestRef::Path { path, digest } => {
            let guest = read(&base_dir.join(path))?;
            match digest {
                Some(wanted) => check_digest(guest, wanted),
                None => Ok(guest),
            }
        }
        GuestRef::Name { name, version } => by_name(name, version.as_deref(), directories),
        GuestRef::Digest(wanted) => by_digest(wanted, directories),
    }
}

fn read(path: &Path) -> Result<GuestFile, String> {
    let bytes = std::fs::read(path)
        .map_err(|error| format!("the guest {} cannot be read: {error}; check its path", path.display()))?;
    Ok(GuestFile { path: path.to_owned(), bytes, must_be: None })
}

fn check_digest(guest: GuestFile, wanted: &str) -> Result<GuestFile, String> {
    let found = digest(&guest.bytes);
    if found == wanted {
        return Ok(guest);
    }
    let path = guest.path.display();
    Err(format!(
        "the guest {path} has the digest {found}, expected {wanted}; get the right file, or name the digest found if \
         the change was meant"
    ))
}

fn by_name(name: &str, version: Option<&str>, directories: &[PathBuf]) -> Result<GuestFile, String> {
    let has = |file: String| directories.iter().map(|dir| dir.join(&file)).find(|path| path.is_file());
    if let Some(path) = version.and_then(|version| has(format!("{name}@{version}.wasm"))) {
        return read(&path);
    }
    if let Some(path) = has(format!("{name}.wasm")) {
        return read(&path).map(|guest| GuestFile { must_be: version.map(str::to_owned), ..guest });
    }
    let known = installed(directories);
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let wanted = version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"));
    let mend = match nearest(&wanted, names.iter().copied()) {
        Some(near) if near != wanted => format!("did you mean {near:?}?"),
        _ if names.is_empty() => {
            "build the guests with `cargo xtask guests`, or name their directory with --guests-dir".to_owned()
        }
        _ => format!("there are: {}", names.join(", ")),
    };
    Err(format!("there is no guest {wanted:?} in {}; {mend}", shown(directories)))
}

fn by_digest(wanted: &str, directories: &[PathBuf]) -> Result<GuestFile, String> {
    let known = installed(directories);
    let mut seen = Vec::new();
    for (name, path) in &known {
        let guest = read(path)?;
        let found = digest(&guest.bytes);
        if found == wanted {
            return Ok(guest);
        }
        seen.push(format!("{name} {found}"));
    }
    let seen = if seen.is_empty() {
        "there is none at all".to_owned()
    } else {
        format!("there are: {}", seen.join(", "))
    };
    Err(format!("there is no guest with the digest {wanted} in {}; {seen}", shown(directories)))
}

/// The guests in the directories, by name; the first directory wins.
fn installed(directories: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for entry in directories.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "wasm")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            found.entry(name.to_owned()).or_insert(path);
        }
    }
    found
}

fn shown(directories: &[PathBuf]) -> String {
    directories.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// `sha256:` and the digest in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "guests_tests.rs"]
mod tests;

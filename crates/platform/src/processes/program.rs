//! Where a program is: from the plan's directory, else in PATH.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Spec, StartError};

/// The absolute path of the spec's program.
pub(super) fn find(spec: &Spec, base_dir: &Path) -> Result<PathBuf, StartError> {
    let Some(program) = spec.command.first().filter(|program| !program.is_empty()) else {
        return Err(StartError::NoCommand { name: spec.name.clone() });
    };
    let path = spec.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
    let looked = places(path.as_deref(), Path::new(program), base_dir);
    let mut not_executable = None;
    for path in &looked {
        let Ok(metadata) = path.metadata() else { continue };
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            // The child changes its directory before it executes: a relative path would then name another file.
            return Ok(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        }
        // A directory of the program's name beside the plan does not hide the program in PATH.
        if metadata.is_file() {
            not_executable.get_or_insert_with(|| path.clone());
        }
    }
    Err(match not_executable {
        Some(path) => StartError::NotExecutable { name: spec.name.clone(), path },
        None => StartError::NotFound { name: spec.name.clone(), program: program.clone(), looked },
    })
}

fn places(path: Option<&OsStr>, program: &Path, base_dir: &Path) -> Vec<PathBuf> {
    let mut places = vec![base_dir.join(program)];
    // As in a shell, only a bare name is looked up in PATH.
    if program.components().count() == 1 && program.is_relative() {
        places.extend(in_path(path, program));
    }
    places
}

fn in_path(path: Option<&OsStr>, program: &Path) -> Vec<PathBuf> {
    let dirs = path.into_iter().flat_map(std::env::split_paths).filter(|dir| !dir.as_os_str().is_empty());
    dirs.map(|dir| dir.join(program)).collect()
}

/// util-linux's program that begins a session and then becomes another program, without a new process where it leads no
/// group. The standard library cannot begin a session in a child without unsafe code.
pub(super) fn setsid(name: &str) -> Result<PathBuf, StartError> {
    let mut looked = in_path(std::env::var_os("PATH").as_deref(), Path::new("setsid"));
    looked.extend(["/usr/bin/setsid", "/bin/setsid"].map(PathBuf::from));
    match looked.iter().find(|path| path.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(StartError::NoSetsid { name: name.to_owned(), looked }),
    }
}

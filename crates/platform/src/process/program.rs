//! Where a program is: from the plan's directory, else in PATH.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Spec, StartError};

/// The absolute path of the spec's program.
pub(super) fn find(spec: &Spec, base_dir: &Path) -> Result<PathBuf, StartError> {
    let Some(program) = spec.command.first().filter(|program| !program.is_empty()) else {
        return Err(StartError::NoCommand { name: spec.name.clone() });
    };
    let looked = places(spec, Path::new(program), base_dir);
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

fn places(spec: &Spec, program: &Path, base_dir: &Path) -> Vec<PathBuf> {
    let mut places = vec![base_dir.join(program)];
    // As in a shell, only a bare name is looked up in PATH.
    if program.components().count() == 1 && program.is_relative() {
        let path = spec.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
        let dirs = path.iter().flat_map(std::env::split_paths).filter(|dir| !dir.as_os_str().is_empty());
        places.extend(dirs.map(|dir| dir.join(program)));
    }
    places
}

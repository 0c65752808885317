//! Finding our own processes by looking at the system.
//!
//! Agents, guardians and hogs carry the state directory in their arguments: whoever looks at `/proc` can tell that a process
//! is ours and whose, and needs no memory of having started it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use platform::identity::ProcessId;
use platform::proc_fs;

use crate::state_dir::StateDir;

/// What a process of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Agent,
    Guardian,
    Hog,
}

/// A process of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) id: ProcessId,
    pub(crate) role: Role,
    /// The fault that a hog carries out.
    pub(crate) fault: Option<String>,
    pub(crate) parent: u32,
}

/// All that belong to the directory, but for this process.
pub(crate) fn find(dir: &StateDir) -> Vec<Ours> {
    proc_fs::all()
        .iter()
        .filter(|stat| stat.pid != std::process::id() && !stat.ended())
        .filter_map(|stat| {
            // Before its arguments are read: if the pid was used anew in between, opening this identity fails.
            let id = ProcessId::of(stat.pid).ok()?;
            let (role, fault) = role(stat.pid, dir.path())?;
            Some(Ours { id, role, fault, parent: stat.parent })
        })
        .collect()
}

/// The hogs of a fault.
pub(crate) fn hogs(dir: &StateDir, fault: &str) -> Vec<Ours> {
    let of_fault = |ours: &Ours| ours.role == Role::Hog && ours.fault.as_deref() == Some(fault);
    find(dir).into_iter().filter(of_fault).collect()
}

fn role(pid: u32, dir: &Path) -> Option<(Role, Option<String>)> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let role = arguments.iter().find_map(|argument| match *argument {
        b"serve" => Some(Role::Agent),
        b"guardian" => Some(Role::Guardian),
        b"hog" => Some(Role::Hog),
        _ => None,
    })?;
    let state = PathBuf::from(OsStr::from_bytes(value(&arguments, "--state")?));
    let same = state == dir
        || fs::read_link(format!("/proc/{pid}/cwd"))
            .and_then(|cwd| cwd.join(state).canonicalize())
            .is_ok_and(|state| state == dir);
    let fault = value(&arguments, "--fault").map(|id| String::from_utf8_lossy(id).into_owned());
    same.then_some((role, fault))
}

/// The value of a flag, as its own argument or after `=`.
fn value<'a>(arguments: &[&'a [u8]], flag: &str) -> Option<&'a [u8]> {
    arguments.iter().enumerate().find_map(|(index, argument)| {
        match argument.strip_prefix(flag.as_bytes())? {
            [] => arguments.get(index + 1).copied(),
            [b'=', value @ ..] => Some(value),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_their_value_behind_or_within() {
        let arguments: [&[u8]; 5] = [b"agent", b"serve", b"--state", b"/a b", b"--fault=x"];
        assert_eq!(value(&arguments, "--state"), Some(b"/a b".as_slice()));
        assert_eq!(value(&arguments, "--fault"), Some(b"x".as_slice()));
        assert_eq!(value(&arguments, "--stat"), None);
    }

    #[test]
    fn this_process_is_not_ours() {
        let dir = StateDir::existing(Path::new("/")).unwrap();
        assert_eq!(find(&dir), []);
    }
}

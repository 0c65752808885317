//! Starting this very program in another role.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::state_dir::StateDir;

/// What runs now, even if its file was replaced since: both sides of every pipe are of one version.
const SELF: &str = "/proc/self/exe";

/// This program as `role`, with pipes for what is said and heard.
pub(crate) fn command(prefix: &[OsString], role: &str, dir: &StateDir) -> Command {
    let mut command = Command::new(SELF);
    if let Ok(name) = std::env::current_exe() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    command.args(prefix).arg(role).arg("--state").arg(dir.path());
    // Where nothing of a target can be in the way of.
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Makes this process the leader of a session of its own, out of reach of the keys and the end of a terminal. One that
/// leads a group already is out of reach of the keys, too, and stays as it is.
pub(crate) fn leave_terminal(name: &std::ffi::CStr) {
    let _ = rustix::process::setsid();
    // What `ps` and `top` show; else it is `exe`.
    let _ = rustix::thread::set_name(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_comes_before_the_role() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::make(temp.path()).unwrap();
        let command = command(&["fault-agent".into()], "hog", &dir);
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            ["fault-agent".as_ref(), "hog".as_ref(), "--state".as_ref(), dir.path().as_os_str()]
        );
    }
}

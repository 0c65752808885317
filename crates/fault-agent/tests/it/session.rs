//! Processes to be hit, in sessions of their own, gone when the test ends.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use platform::identity::{self, ProcessId, Signal};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A session: its leader, a shell, and its children.
pub(crate) struct Session {
    child: Child,
    pub(crate) id: ProcessId,
}

impl Session {
    /// A shell with two children.
    pub(crate) fn start() -> Self {
        Self::running("sleep 1000 & sleep 1000 & wait", 3, &[])
    }

    /// A shell that runs `script`, once it has so many members.
    pub(crate) fn running(script: &str, members: usize, env: &[(&str, &Path)]) -> Self {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.envs(env.iter().copied()).spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        let session = Self { child, id };
        eventually("the session has its members", || {
            let found = session.members();
            (found.len() >= members).then_some(())
        });
        session
    }

    pub(crate) fn members(&self) -> Vec<ProcessId> {
        identity::members(&self.id).unwrap()
    }

    /// The states of all members, as the kernel has them.
    pub(crate) fn states(&self) -> String {
        self.members().iter().filter_map(|member| state(member.pid)).collect()
    }

    /// All that it began with run or wait: nothing has stopped or ended one.
    pub(crate) fn runs(&self) -> bool {
        let states = self.states();
        states.len() == 3 && !states.contains(['T', 'Z'])
    }

    /// All have ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.members().is_empty()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for _ in 0..3 {
            for member in self.members() {
                if let Ok(Some(handle)) = member.open() {
                    let _ = handle.signal(Signal::KILL);
                }
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The state of a process as proc(5) has it: `R`, `S`, `D`, `T`, `Z`; `None` = there is none.
pub(crate) fn state(pid: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text[text.rfind(')')? + 2..].chars().next()
}

/// Sends a signal to a process that must be there.
pub(crate) fn signal(process: &ProcessId, signal: Signal) {
    process.open().unwrap().unwrap_or_else(|| panic!("{process} has ended")).signal(signal).unwrap();
}

/// Looks until `look` finds something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        pass(Duration::from_millis(5));
    }
}

/// Lets time pass, where a moment itself is what is tested or nothing tells of a change.
pub(crate) fn pass(time: Duration) {
    let (_held, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

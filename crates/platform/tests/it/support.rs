//! Children that end with the test, and waiting.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use platform::identity::ProcessId;

/// How long anything may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A child of the test with its process group, killed and reaped when the test is over.
#[derive(Debug)]
pub(crate) struct Scripted {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    is_open: bool,
}

impl Scripted {
    /// Runs a shell script; through `setsid` as the leader of a session.
    pub(crate) fn start(setsid: bool, script: &str) -> Self {
        let mut command = if setsid { Command::new("setsid") } else { Command::new("sh") };
        if setsid {
            command.arg("sh");
        } else {
            // A leader of a group cannot begin a session in place.
            command.process_group(0);
        }
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        Self::of(command)
    }

    /// Runs a command whose output is a pipe.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output, is_open: true }
    }

    /// The next line that it prints; blocks until it does.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.is_open = self.output.read_line(&mut line).unwrap() > 0;
        line.trim_end().to_owned()
    }

    /// Its output has not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    /// Kills and reaps the one process.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn id(&self) -> ProcessId {
        ProcessId::of(self.pid()).unwrap()
    }

    /// Kills and reaps it.
    pub(crate) fn end(&mut self) {
        if let Ok(members) = platform::identity::members(&self.id()) {
            for member in members {
                if let Ok(Some(handle)) = member.open() {
                    let _ = handle.signal(platform::identity::Signal::KILL);
                }
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.end();
        }
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {LONG:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

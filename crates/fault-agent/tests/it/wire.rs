//! An agent that is driven by hand, line by line, without anything that renews its leases.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use fault_agent::{
    Action, CheckOptions, Ended, Finding, Injected, Refused, Reply, Request, Unrecovered, check,
};
use platform::identity::ProcessId;
use tempfile::TempDir;

use crate::session::{PATIENCE, eventually};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_gauntlet-fault-agent");

/// An agent that was started, and ends with this.
pub(crate) struct Wire {
    child: Child,
    input: Option<ChildStdin>,
    replies: Receiver<Reply>,
    /// What it said before it was ready.
    pub(crate) before: Vec<Reply>,
    pub(crate) agent: ProcessId,
    pub(crate) guardian: ProcessId,
}

impl Wire {
    /// An agent whose leases outlast the test.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::with(dir, &["--lease", "600000"])
    }

    pub(crate) fn with(dir: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--state"])
            .arg(dir)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, replies) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if say.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut before = Vec::new();
        loop {
            match replies.recv_timeout(PATIENCE).unwrap() {
                Reply::Ready { agent, guardian } => {
                    return Self { child, input, replies, before, agent, guardian };
                }
                reply => before.push(reply),
            }
        }
    }

    pub(crate) fn ask(&mut self, request: &Request) {
        self.line(&serde_json::to_string(request).unwrap());
    }

    pub(crate) fn line(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next reply that is one of those looked for; others are passed over.
    pub(crate) fn until<T>(&self, mut wanted: impl FnMut(Reply) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(found) = wanted(self.replies.recv_timeout(left).unwrap()) {
                return found;
            }
        }
    }

    /// Whether a reply that is looked for comes within the time.
    pub(crate) fn within<T>(&self, time: Duration, mut wanted: impl FnMut(Reply) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.replies.recv_timeout(left) {
                Ok(reply) => {
                    if let Some(found) = wanted(reply) {
                        return Some(found);
                    }
                }
                Err(_) => return None,
            }
        }
    }

    pub(crate) fn try_inject(
        &mut self,
        id: &str,
        action: Action,
        duration_ms: u64,
    ) -> Result<Injected, Refused> {
        self.ask(&Request::Inject { id: id.to_owned(), action, duration_ms, lease_ms: None });
        self.until(|reply| match reply {
            Reply::Injected(injected) if injected.id == id => Some(Ok(injected)),
            Reply::Refused(refused) if refused.id == id => Some(Err(refused)),
            _ => None,
        })
    }

    /// For ten minutes.
    pub(crate) fn inject(&mut self, id: &str, action: Action) -> Injected {
        self.try_inject(id, action, 600_000).unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    pub(crate) fn refused(&mut self, id: &str, action: Action) -> Refused {
        match self.try_inject(id, action, 600_000) {
            Err(refused) => refused,
            Ok(injected) => panic!("not refused: {injected:?}"),
        }
    }

    pub(crate) fn ended(&self, id: &str) -> Ended {
        self.until(|reply| match reply {
            Reply::Ended(ended) if ended.id == id => Some(ended),
            Reply::Unrecovered(Unrecovered { id: other, detail }) if other == id => panic!("{id}: {detail}"),
            _ => None,
        })
    }

    pub(crate) fn end(&mut self, id: &str) -> Ended {
        self.ask(&Request::End { id: id.to_owned() });
        self.ended(id)
    }

    /// Closes its input, as the end of a controller does, and waits for its exit code.
    pub(crate) fn hang_up(&mut self) -> Option<i32> {
        drop(self.input.take());
        self.exit_code()
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        eventually("the agent has ended", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        while !std::thread::panicking() && Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            crate::session::pass(Duration::from_millis(5));
        }
        // The guardian undoes what it held.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent whose controller hangs up at once: its exit code, and what it has to say.
pub(crate) fn serve_nothing(dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--state"]).arg(dir).args(["--lease", "1000"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A place for a test's state.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    (temp, dir)
}

pub(crate) fn findings(dir: &Path) -> Vec<Finding> {
    check(dir, &CheckOptions::default()).unwrap()
}

/// Waits until the checker finds nothing.
pub(crate) fn clean(dir: &Path) {
    let mut last = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        last = findings(dir);
        if last.is_empty() {
            return;
        }
        crate::session::pass(Duration::from_millis(10));
    }
    panic!("left: {last:#?}");
}

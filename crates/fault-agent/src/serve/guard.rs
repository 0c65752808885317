//! The guardian as its agent sees it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use platform::identity::ProcessId;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::own_program;
use crate::settings::Settings;
use crate::state_dir::StateDir;
use crate::wait;

/// How long a new guardian may take until it watches.
const COMES_UP: Duration = Duration::from_secs(5);

/// A guardian that watches this agent: it hears a byte each beat, and says one.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    id: ProcessId,
    heard: Instant,
}

impl Guard {
    /// Starts one and waits until it watches.
    pub(super) fn start(dir: &StateDir, settings: &Settings) -> io::Result<Self> {
        let mut command = own_program::command(&settings.prefix, "guardian", dir);
        command.arg("--lease").arg(wait::millis(settings.lease).to_string());
        command.arg("--agent").arg(serde_json::to_string(&ProcessId::current()?)?);
        let mut child = command.spawn()?;
        let id = ProcessId::of(child.id());
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        for fd in [input.as_fd(), output.as_fd()] {
            // A guardian that hangs must not hang its agent.
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        let mut guard = match id {
            Ok(id) => Self { child, input, output, id, heard: Instant::now() },
            Err(error) => return Err(ended(child, error)),
        };
        // Its first byte says that it holds us.
        if wait::readable(&[guard.output.as_fd()], COMES_UP)? == [true] && guard.hear(Instant::now()) {
            return Ok(guard);
        }
        let problem = format!("it does not watch within {} s", COMES_UP.as_secs());
        Err(ended(guard.child, io::Error::new(io::ErrorKind::TimedOut, problem)))
    }

    pub(super) fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Readable when there is something to [`Guard::hear`].
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Shows it that we live. One that hangs has a full pipe in the end, and is found by its silence.
    pub(super) fn beat(&self) {
        let _ = rustix::io::write(&self.input, b"a");
    }

    /// Takes what it says; `false` = it has ended.
    pub(super) fn hear(&mut self, now: Instant) -> bool {
        match rustix::io::read(&self.output, &mut [0_u8; 4096][..]) {
            Ok(0) => false,
            Ok(_) => {
                self.heard = now;
                true
            }
            Err(error) => matches!(error, Errno::INTR | Errno::AGAIN),
        }
    }

    /// How long it has said nothing.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Takes it as heard.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Ends it; it undoes nothing, because we live.
    pub(super) fn end(mut self) -> String {
        let _ = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

fn ended(mut child: Child, error: io::Error) -> io::Error {
    let _ = child.kill();
    let _ = child.wait();
    error
}

//! Who a process is: a pid alone names another process once it was used anew.
//!
//! A process is known by its pid, by when it started and by the boot in which it did. [`ProcessId::open`] turns that into a
//! pidfd, which goes on meaning this process and no other, whatever becomes of the pid; signals go through it.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::proc_fs;

pub use rustix::process::Signal;

/// How often a process is looked at that the runtime cannot wait for.
const LOOK: Duration = Duration::from_millis(10);

/// A process of this machine, beyond doubt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks after boot.
    pub started_ticks: u64,
    /// The boot in which it started: pids and ticks begin anew with each.
    pub boot: String,
}

/// What a process is doing, as far as faults are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or waits for something.
    Running,
    /// A signal stopped it, with all its threads.
    Stopped,
    /// It is over, or a zombie that nobody has waited for.
    Ended,
}

/// A process held by a pidfd: it means the same process as long as it is held.
#[derive(Debug)]
pub struct Handle {
    id: ProcessId,
    fd: OwnedFd,
}

impl ProcessId {
    /// The process that has this pid now. A zombie has one, too.
    ///
    /// # Errors
    /// `NotFound` when there is none; others when `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let started_ticks = proc_fs::stat(pid)?.started;
        Ok(Self { pid, started_ticks, boot: boot()?.to_owned() })
    }

    /// This process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// The process, if it has not ended; `None` = it has, or its pid is another's by now.
    ///
    /// # Errors
    /// When the system refuses a pidfd, as for want of file descriptors.
    pub fn open(&self) -> io::Result<Option<Handle>> {
        if self.boot != boot()? {
            return Ok(None);
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            // Nobody's, or that of another process's thread.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // After the pidfd was opened: if the one with the pid is ours now, it was ours then, because we knew it before.
        match proc_fs::stat(self.pid) {
            Ok(stat) if stat.started == self.started_ticks => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let handle = Handle { id: self.clone(), fd };
        Ok((!handle.wait(Duration::ZERO)?).then_some(handle))
    }

    /// Whether it runs or is stopped; `false` = it has ended.
    ///
    /// # Errors
    /// As [`ProcessId::open`].
    pub fn is_alive(&self) -> io::Result<bool> {
        Ok(self.open()?.is_some())
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (started at tick {})", self.pid, self.started_ticks)
    }
}

impl Handle {
    /// Whose handle it is.
    #[must_use]
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Sends a signal; `false` = the process has ended.
    ///
    /// # Errors
    /// When the system does not let us, as for another user's process.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.fd, signal) {
            // The kernel takes a signal to a zombie without a word.
            Ok(()) => Ok(!self.wait(Duration::ZERO)?),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What it is doing. It is stopped when all its threads are.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn state(&self) -> io::Result<State> {
        // Its main thread alone may have ended: only the pidfd tells.
        if self.wait(Duration::ZERO)? {
            return Ok(State::Ended);
        }
        let threads = match proc_fs::threads(self.id.pid) {
            Ok(threads) => threads,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Ended),
            Err(error) => return Err(error),
        };
        let mut living = threads.iter().filter(|thread| !thread.ended()).peekable();
        let stopped = living.peek().is_some() && living.all(proc_fs::Stat::stopped);
        // It may have ended meanwhile, and the threads would be another's.
        if self.wait(Duration::ZERO)? {
            return Ok(State::Ended);
        }
        Ok(if stopped { State::Stopped } else { State::Running })
    }

    /// Blocks until it has ended, at most so long; whether it has.
    ///
    /// # Errors
    /// When the system cannot poll.
    pub fn wait(&self, at_most: Duration) -> io::Result<bool> {
        let timeout =
            Timespec::try_from(at_most).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            // Who asks again is answered again; an early no is not wrong.
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended, whoever's child it is.
    pub async fn ended(&self) {
        #[expect(
            deprecated,
            reason = "asks that the descriptor stays open and the same, which that of an `OwnedFd` does; its successor is unsafe"
        )]
        let register = |fd| AsyncFd::with_interest(fd, Interest::READABLE);
        let registered = self.fd.try_clone().and_then(register);
        if let Ok(fd) = registered
            && fd.readable().await.is_ok()
        {
            return;
        }
        while !self.wait(Duration::ZERO).unwrap_or(false) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The living processes of the session that `leader` leads, and all that descend from it or from one of them, the leader
/// first. When the leader has ended the others are found all the same: their session keeps its pid from being used anew.
/// What left the session *and* whose parent has ended belongs to nobody and is not found.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn members(leader: &ProcessId) -> io::Result<Vec<ProcessId>> {
    let boot = boot()?;
    // Session 0 is that of the kernel's threads.
    if leader.pid == 0 || leader.boot != boot {
        return Ok(Vec::new());
    }
    let found = proc_fs::session(leader.pid);
    // A pid that is another's by now means that no member of ours is left.
    if found.iter().any(|stat| stat.pid == leader.pid && stat.started != leader.started_ticks) {
        return Ok(Vec::new());
    }
    let mut members: Vec<ProcessId> = found
        .iter()
        .filter(|stat| !stat.ended() && stat.started >= leader.started_ticks)
        .map(|stat| ProcessId { pid: stat.pid, started_ticks: stat.started, boot: boot.to_owned() })
        .collect();
    members.sort_by_key(|member| member.pid != leader.pid);
    Ok(members)
}

/// The present boot.
fn boot() -> io::Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot);
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT.get_or_init(|| text.trim().to_owned()))
}

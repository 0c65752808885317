//! Ends of instances: graceful, and at once.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::time::{sleep, timeout};

use super::state_dir::{Record, StateDir};
use super::{Processes, clock, members, observe, system};
use crate::PlatformError;
use crate::identity::{Handle, ProcessId, Signal, State};
use crate::instance::{Asked, InstanceId, Stopped};
use crate::proc_fs;

/// How often what was killed is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How long is waited for an end before the clock is looked at.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long the kernel may take to end what got SIGKILL: longer only where it waits for a disk.
const KILL_TAKES: Duration = Duration::from_secs(10);

impl Processes {
    /// SIGTERM to the leader's process group, SIGKILL to what is left when the leader has ended or its stop timeout is over.
    pub(super) async fn end_gracefully(&self, id: &InstanceId) -> Result<Stopped, PlatformError> {
        let (_lock, record) = self.lock(id).await?;
        if record.generation == 0 {
            return Ok(Stopped { status: "never started".to_owned(), killed: false });
        }
        let mut killed = false;
        let mut strays = Vec::new();
        if let Some(leader) = observe::alive(&record)? {
            self.dir.ask(&record, Asked::Stop)?;
            // Those that left the session are found by their parents, so before the parents end.
            strays = members::all(&self.dir, &record).map_err(system(id, "looking for its processes"))?;
            let grace = record.spec.stop_timeout;
            if !grace.is_zero() {
                terminate(&record, &strays, &leader)?;
            }
            killed = !ends_within(grace, &leader).await;
        }
        destroy(&self.dir, &record, strays).await?;
        let status = observe::status(&self.dir, &record).await;
        tracing::debug!(process = %id, status, killed, "process stopped");
        Ok(Stopped { status, killed })
    }

    /// SIGKILL to all of it. Takes no lock: it must be possible while somebody stops it gracefully.
    pub(super) async fn end_at_once(&self, id: &InstanceId) -> Result<Stopped, PlatformError> {
        let record = self.dir.known(id)?;
        if record.generation == 0 {
            return Ok(Stopped { status: "never started".to_owned(), killed: false });
        }
        let killed = observe::alive(&record)?.is_some();
        if killed {
            self.dir.ask(&record, Asked::Kill)?;
        }
        destroy(&self.dir, &record, Vec::new()).await?;
        let status = observe::status(&self.dir, &record).await;
        tracing::debug!(process = %id, status, "process killed");
        Ok(Stopped { status, killed })
    }
}

/// Waits for an end by the machine's clock, whatever the runtime's does in a test: processes go by it.
async fn ends_within(grace: Duration, leader: &Handle) -> bool {
    let deadline = Instant::now() + grace;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if timeout(left.min(AT_ONCE), leader.ended()).await.is_ok() {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// Asks the leader's process group to end. What is paused would not hear it, and is let go on.
fn terminate(record: &Record, members: &[ProcessId], leader: &Handle) -> Result<(), PlatformError> {
    let group = leader.id().pid;
    let in_group = |process: &&ProcessId| {
        proc_fs::stat(process.pid)
            .is_ok_and(|stat| stat.group == group && stat.started == process.started_ticks)
    };
    let asked: Vec<ProcessId> = members.iter().filter(in_group).cloned().collect();
    let signal = || {
        for process in members::open(&asked)? {
            // As with a signal to the whole group, one that we may not signal is passed over.
            let sent = process.signal(Signal::TERM);
            if matches!(sent, Ok(true)) && process.state()? == State::Stopped {
                process.signal(Signal::CONT)?;
            }
        }
        Ok(())
    };
    signal().map_err(system(&record.id, "asking it to end"))
}

/// Kills everything that is left of a generation, and `more`, and waits until it is gone.
pub(super) async fn destroy(
    dir: &StateDir,
    record: &Record,
    mut more: Vec<ProcessId>,
) -> Result<(), PlatformError> {
    let deadline = Instant::now() + KILL_TAKES;
    loop {
        let left = strike(dir, record, &mut more).map_err(system(&record.id, "killing it"))?;
        if left.is_empty() {
            clock::tidy(record);
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(PlatformError::Disobeyed {
                name: record.name(),
                left,
                wanted: "ended",
                waited: KILL_TAKES,
            });
        }
        sleep(LOOK).await;
    }
}

/// Kills once; those that had not ended before. `known` keeps those that were found: they may lose what they are found by.
pub(super) fn strike(
    dir: &StateDir,
    record: &Record,
    known: &mut Vec<ProcessId>,
) -> std::io::Result<Vec<ProcessId>> {
    for process in members::all(dir, record)? {
        if !known.contains(&process) {
            known.push(process);
        }
    }
    let mut left = Vec::new();
    for process in members::open(known)? {
        match process.signal(Signal::KILL) {
            Ok(true) => left.push(process.id().clone()),
            Ok(false) => {}
            // A program that gave itself another user's rights; whoever started it cannot end it either.
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                left.push(process.id().clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

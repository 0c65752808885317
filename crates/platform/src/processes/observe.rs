//! What instances are doing, from their records and from the kernel.

use std::time::{Duration, Instant};

use super::state_dir::{Record, StateDir};
use super::{clock, system};
use crate::PlatformError;
use crate::identity::{Handle, State};
use crate::instance::{Instance, InstanceState};

/// How often the end's status is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How long whoever spawned a process may take to say how it ended: the kernel tells him at once, but he may be busy.
const TOLD: Duration = Duration::from_secs(2);
/// What is said of an end that nobody knows more of.
const UNKNOWN: &str = "ended with unknown status";

/// The leader, unless it has ended or was never started.
pub(super) fn alive(record: &Record) -> Result<Option<Handle>, PlatformError> {
    match &record.process {
        Some(process) => process.open().map_err(system(&record.id, "looking for its process")),
        None => Ok(None),
    }
}

/// The instance as it is found.
pub(super) fn instance(dir: &StateDir, record: &Record) -> Result<Instance, PlatformError> {
    let state = match alive(record)? {
        _ if record.generation == 0 => InstanceState::Created,
        None => InstanceState::Exited,
        Some(leader) => match leader.state().map_err(system(&record.id, "looking at its process"))? {
            State::Running => InstanceState::Running,
            State::Stopped => InstanceState::Paused,
            State::Ended => InstanceState::Exited,
        },
    };
    let status = match state {
        InstanceState::Exited => dir.exit(record).map(|exit| exit.status),
        _ => None,
    };
    Ok(Instance {
        id: record.id.clone(),
        state,
        generation: record.generation,
        process: record.process.clone(),
        started_unix_ms: record.started_unix_ms,
        status,
        asked: dir.asked(&record.id, record.generation),
        clock: clock::of(record, state),
    })
}

/// How a generation that has ended did; waits a little for whoever spawned it to say so, if he lives.
pub(super) async fn status(dir: &StateDir, record: &Record) -> String {
    told(dir, record).await.unwrap_or_else(|| UNKNOWN.to_owned())
}

async fn told(dir: &StateDir, record: &Record) -> Option<String> {
    let deadline = Instant::now() + TOLD;
    loop {
        if let Some(exit) = dir.exit(record) {
            return Some(exit.status);
        }
        let told = record.spawner.as_ref().is_some_and(|spawner| spawner.is_alive().unwrap_or(false));
        if !told || Instant::now() > deadline {
            // It may have been written between the two looks.
            return dir.exit(record).map(|exit| exit.status);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the generation has ended, and returns how.
pub(super) async fn exited(dir: &StateDir, record: &Record) -> Result<String, PlatformError> {
    if let Some(leader) = alive(record)? {
        leader.ended().await;
    }
    Ok(status(dir, record).await)
}

//! Bringing a family of processes to a standstill, and letting it go on.
//!
//! Parents are stopped before their children. A parent that waits for a child to become another program (`vfork`, and so
//! `posix_spawn`) does not stop before the child has; were the child stopped meanwhile, both would hang, and the parent would
//! never be seen to stand still. It also means that nobody is left to fork once the first is stopped.

use std::io;

use crate::identity::{Handle, ProcessId, Signal, State};
use crate::proc_fs;

/// Stops those whose parents stand still; which of them, and of those that have to wait for their parents, do not stand still
/// yet. To be called, with the members as they are then, until none is left.
///
/// # Errors
/// When one may not be signalled, or `/proc` cannot be read.
pub fn stop(members: &[ProcessId]) -> io::Result<Vec<ProcessId>> {
    let running = not_in(State::Stopped, members)?;
    for process in &running {
        let parent = proc_fs::stat(process.id().pid).map_or(0, |stat| stat.parent);
        if running.iter().all(|other| other.id().pid != parent) {
            process.signal(Signal::STOP)?;
        }
    }
    Ok(running.into_iter().map(|process| process.id().clone()).collect())
}

/// Lets those that stand still go on, children first: their parents find them as they left them. Which had not gone on when
/// this was called.
///
/// # Errors
/// As [`stop`].
pub fn go_on(members: &[ProcessId]) -> io::Result<Vec<ProcessId>> {
    let stopped = not_in(State::Running, members)?;
    for process in stopped.iter().rev() {
        process.signal(Signal::CONT)?;
    }
    Ok(stopped.into_iter().map(|process| process.id().clone()).collect())
}

/// Those that have neither ended nor are in the state that is wanted.
fn not_in(wanted: State, members: &[ProcessId]) -> io::Result<Vec<Handle>> {
    let mut others = Vec::new();
    for process in members {
        let Some(handle) = process.open()? else { continue };
        let state = handle.state()?;
        if state != wanted && state != State::Ended {
            others.push(handle);
        }
    }
    Ok(others)
}

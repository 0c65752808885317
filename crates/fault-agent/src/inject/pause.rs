//! Stopping all processes of a session, those that appear meanwhile, too.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use platform::identity::{self, ProcessId, Signal, State};

use super::{Refusal, victims};
use crate::wait;

/// How long the kernel may take to stop or wake all threads of a process, such as one that waits for a disk.
pub(crate) const TAKES: Duration = Duration::from_secs(3);

/// The processes to stop: all of the sessions, less those that somebody else has stopped.
pub(crate) fn victims(leaders: &[ProcessId]) -> Result<Vec<ProcessId>, Refusal> {
    let members = victims::of_sessions(leaders)?;
    let mut running = Vec::new();
    for member in members {
        match state(&member) {
            Ok(State::Running) => running.push(member),
            Ok(State::Stopped | State::Ended) => {}
            Err(error) => return Err(victims::unread(&member, &error)),
        }
    }
    if running.is_empty() {
        return Err(Refusal::new(
            "all processes of the session are stopped already",
            "choose an instance that runs, or let this one go on (SIGCONT) first",
        ));
    }
    Ok(running)
}

/// Members of the sessions that are not known yet: they were started by processes before those were stopped.
pub(crate) fn newcomers(leaders: &[ProcessId], known: &[ProcessId]) -> io::Result<Vec<ProcessId>> {
    let known: BTreeSet<&ProcessId> = known.iter().collect();
    let mut new = Vec::new();
    for leader in leaders {
        for member in identity::members(leader)? {
            if !known.contains(&member) && state(&member)? == State::Running {
                new.push(member);
            }
        }
    }
    Ok(new)
}

/// Waits until all are stopped, and says what was seen.
pub(crate) fn stopped(victims: &[ProcessId]) -> Result<String, String> {
    let (states, awaited) = settle(victims, |state| state != State::Running)?;
    let stopped = states.iter().filter(|state| **state == State::Stopped).count();
    if let Some(left) = awaited {
        return Err(format!("process {left} is not stopped {} s after SIGSTOP", TAKES.as_secs()));
    }
    match stopped {
        0 => Err("all processes ended before they were stopped".to_owned()),
        _ => Ok(format!("{stopped} of {} processes are stopped", states.len())),
    }
}

/// Lets each go on, waits until all do, and says what was seen.
pub(crate) fn undo(victims: &[ProcessId]) -> Result<String, String> {
    // One that may not be told to go on was not told to stop either: what counts is what is seen.
    let told = wake(victims);
    let (states, awaited) = settle(victims, |state| state != State::Stopped)?;
    if let Some(left) = awaited {
        let refused = told.err().map(|error| format!(", which was refused ({error})")).unwrap_or_default();
        return Err(format!(
            "process {left} is still stopped {} s after SIGCONT{refused}; let it go on with kill -CONT",
            TAKES.as_secs()
        ));
    }
    let running = states.iter().filter(|state| **state == State::Running).count();
    Ok(match states.len() - running {
        0 => format!("{running} processes run"),
        ended => format!("{running} processes run, {ended} have ended"),
    })
}

/// Whether any of them is alive. What cannot be looked at counts as alive.
pub(crate) fn any_alive(victims: &[ProcessId]) -> bool {
    victims.iter().any(|victim| victim.is_alive().unwrap_or(true))
}

/// Children before their parents, who find them as they left them.
fn wake(victims: &[ProcessId]) -> io::Result<()> {
    let mut first_error = None;
    for victim in victims.iter().rev() {
        // One that cannot be reached must not keep the others from it.
        if let Err(error) =
            victim.open().and_then(|handle| handle.map(|handle| handle.signal(Signal::CONT)).transpose())
        {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// The states of all, and the first whose state was awaited in vain.
fn settle(
    victims: &[ProcessId],
    fine: impl Fn(State) -> bool,
) -> Result<(Vec<State>, Option<ProcessId>), String> {
    let mut looked = Ok((Vec::new(), None));
    wait::until(TAKES, || {
        let states: io::Result<Vec<State>> = victims.iter().map(state).collect();
        let Ok(states) = states.map_err(|error| looked = Err(format!("states cannot be read: {error}")))
        else {
            return Some(());
        };
        let awaited = states.iter().position(|state| !fine(*state));
        let found = awaited.is_none().then_some(());
        looked = Ok((states, awaited.and_then(|index| victims.get(index).cloned())));
        found
    });
    looked
}

fn state(victim: &ProcessId) -> io::Result<State> {
    victim.open()?.map_or(Ok(State::Ended), |handle| handle.state())
}

//! The agent: takes requests from its controller, holds faults as long as they may last, and undoes them.
//!
//! One thread and one loop: whatever keeps it from going round, the guardian sees as silence.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use platform::identity::ProcessId;
use rustix::process::{Pid, getppid};

use crate::journal::Journal;
use crate::own_program;
use crate::problem::Problem;
use crate::settings::Settings;
use crate::state_dir::{Holder, StateDir};
use crate::takeover;
use crate::wait;
use crate::wire::How;

mod agent;
mod begin;
mod fault;
mod guard;
mod hog_child;
mod lines;
mod watch;

use agent::Agent;
use guard::Guard;
use lines::{Input, Read};

/// How long what could not be undone is tried at the end.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// Works until the controller quits, closes its end or dies. All faults are undone on return.
///
/// # Errors
/// When the directory or processes cannot be had, or a fault could not be undone.
pub(crate) fn run(settings: Settings, dir: &StateDir) -> Result<(), Problem> {
    own_program::leave_terminal(c"gauntlet-agent");
    let environment = |what: &str, error: &dyn std::fmt::Display| {
        Problem::Environment(format!(
            "{what} in {}: {error}; name another state directory",
            dir.path().display()
        ))
    };
    let parent = getppid().map_or(0, Pid::as_raw_pid).unsigned_abs();
    let holder = ProcessId::current()
        .and_then(|agent| Ok(Holder { agent, controller: ProcessId::of(parent)? }))
        .map_err(|error| {
            Problem::Environment(format!("processes cannot be looked at: {error}; is /proc mounted?"))
        })?;
    let _lock = takeover::lock(dir, settings.lease)?;
    dir.set_holder(&holder).map_err(|error| environment("nothing can be written", &error))?;
    // Before anything is undone: should this process die in the middle, the guardian goes on.
    let guard = Guard::start(dir, &settings);
    let (journal, replayed) =
        Journal::open(dir).map_err(|error| environment("there is no journal", &error))?;
    let mut agent = Agent::new(settings, dir.clone(), journal);
    let guarded = match guard {
        Ok(guard) => {
            agent.watched_by(guard);
            Ok(())
        }
        Err(error) => {
            Err(Problem::Environment(format!("no guardian can be started: {error}; allow more processes")))
        }
    };
    agent.clean(replayed);
    guarded?;
    agent.ready(&holder.agent);
    let end = serve(&mut agent);
    agent.end_all(match &end {
        Ok(how) => *how,
        Err(_) => How::ControllerGone,
    });
    wait::until(LAST_TRIES, || agent.retry().then_some(()));
    let left = agent.leave(end.as_ref().is_ok_and(|how| *how == How::Quit));
    end.map_err(|error| Problem::Environment(format!("the controller cannot be heard: {error}")))?;
    left
}

/// The loop; returns why it is over.
fn serve(agent: &mut Agent) -> io::Result<How> {
    let stdin = io::stdin();
    let mut input = Input::default();
    let mut before = Instant::now();
    loop {
        let readable = {
            let mut fds: Vec<BorrowedFd<'_>> = vec![stdin.as_fd()];
            fds.extend(agent.fds());
            wait::readable(&fds, agent.until_next(Instant::now()))?
        };
        let now = Instant::now();
        agent.watch(now, now.saturating_duration_since(before));
        before = now;
        if readable.first() == Some(&true) {
            let (lines, last) = match input.read() {
                Read::Lines(lines) => (lines, false),
                Read::Last(lines) => (lines, true),
            };
            for line in lines {
                if agent.request(&line) {
                    return Ok(How::Quit);
                }
            }
            if last {
                return Ok(How::ControllerGone);
            }
        }
        agent.end_those_over(Instant::now());
        if !agent.flush() {
            return Ok(How::ControllerGone);
        }
    }
}

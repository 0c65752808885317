//! The guardian: undoes everything when the agent dies or hangs.
//!
//! It hears a byte from the agent each beat, through a pipe that the kernel closes when the agent dies, however it does. It
//! holds the agent by a pidfd: one that has been silent for a lease is killed, and no other process is. Then it takes the
//! directory's lock, which the kernel takes from the agent with its life, and undoes what the journal says.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use platform::identity::{ProcessId, Signal};

use crate::journal::Journal;
use crate::own_program;
use crate::problem::Problem;
use crate::silence::{Heard, Silence};
use crate::state_dir::StateDir;
use crate::undo;
use crate::wait;
use crate::wire::How;

/// How long the agent may take to end once its pipe is closed, or it was killed.
const ENDS: Duration = Duration::from_secs(5);
/// How long another, which is a new agent, may hold the lock before it is sure that it has undone everything.
const LOCKS: Duration = Duration::from_secs(2);
/// How long what cannot be undone is tried.
const TRIES: Duration = Duration::from_secs(5);

/// Watches the agent until it is gone, and undoes what it left.
pub(crate) fn run(dir: &StateDir, agent: &ProcessId, lease: Duration) -> Result<(), Problem> {
    own_program::leave_terminal(c"gauntlet-guard");
    let environment =
        |what: &str, error: &dyn std::fmt::Display| Problem::Environment(format!("{what}: {error}"));
    let held = agent.open().map_err(|error| environment("the agent cannot be held by a pidfd", &error))?;
    if let Some(held) = held {
        // The agent waits for this. If it is gone, the pipe tells.
        let _ = say();
        match watch(lease).map_err(|error| environment("the agent cannot be heard", &error))? {
            Heard::Silent => {
                held.signal(Signal::KILL)
                    .map_err(|error| environment("the agent hangs and cannot be killed", &error))?;
                ended(&held, ENDS);
            }
            _ if !ended(&held, ENDS) => {
                // It closed the pipe because it has another guardian.
                return Ok(());
            }
            _ => {}
        }
    }
    take_over(dir)
}

fn watch(lease: Duration) -> io::Result<Heard> {
    let stdin = io::stdin();
    let mut silence = Silence::new(lease);
    loop {
        match silence.hear(stdin.as_fd())? {
            Heard::Alive if silence.heard_now() => {
                // The agent sees by this that we live, too.
                let _ = say();
            }
            Heard::Alive => {}
            end => return Ok(end),
        }
    }
}

fn say() -> io::Result<()> {
    let mut out = io::stdout();
    if wait::writable(out.as_fd()) { out.write_all(b"g").and_then(|()| out.flush()) } else { Ok(()) }
}

fn ended(agent: &platform::identity::Handle, at_most: Duration) -> bool {
    wait::until(at_most, || agent.wait(Duration::from_millis(20)).unwrap_or(false).then_some(())).is_some()
}

/// Undoes what the journal says, unless a new agent does.
fn take_over(dir: &StateDir) -> Result<(), Problem> {
    let in_vain = |what: &dyn std::fmt::Display| {
        Problem::Environment(format!("nothing can be undone in {}: {what}", dir.path().display()))
    };
    let locked = wait::until(LOCKS, || match dir.try_lock() {
        Ok(lock) => lock.map(Ok),
        Err(error) => Some(Err(error)),
    });
    let Some(lock) = locked else { return Ok(()) };
    let _lock = lock.map_err(|error| in_vain(&error))?;
    let (mut journal, replayed) = Journal::open(dir).map_err(|error| in_vain(&error))?;
    let mut open: Vec<_> = replayed.faults.into_iter().filter(|(_, done)| done.is_none()).collect();
    let mut problems = Vec::new();
    wait::until(TRIES, || {
        problems.clear();
        open.retain(|(entry, _)| match undo::undo_and_note(dir, &mut journal, entry, How::AgentGone) {
            Ok(_) => false,
            Err(problem) => {
                problems.push(format!("fault {}: {problem}", entry.id));
                true
            }
        });
        open.is_empty().then_some(())
    });
    if problems.is_empty() { Ok(()) } else { Err(Problem::Unrecovered(problems.join("; "))) }
}

//! Becoming the one who may undo what the journal says.

use std::time::{Duration, Instant};

use platform::identity::{ProcessId, Signal};
use platform::proc_fs;

use crate::problem::Problem;
use crate::state_dir::{Lock, StateDir};
use crate::wait;

/// How long a guardian may take to undo what its agent left.
const GUARDIAN_TAKES: Duration = Duration::from_secs(30);
/// How long an agent that has a controller may take to end, when it is about to.
const ENDING_TAKES: Duration = Duration::from_secs(2);

/// Takes the directory's lock for a new agent. A guardian that undoes is waited for; an agent whose controller is gone and
/// that does not end by itself within `lease`, and so hangs, is killed.
pub(crate) fn lock(dir: &StateDir, lease: Duration) -> Result<Lock, Problem> {
    let began = Instant::now();
    let mut killed = false;
    let locked = wait::until(GUARDIAN_TAKES, || match dir.try_lock() {
        Ok(Some(lock)) => Some(Ok(lock)),
        Ok(None) => {
            let holder = dir.holder()?;
            let agent = holder.agent.open().ok().flatten()?;
            if !orphaned(&holder.agent, &holder.controller) {
                let ending = began.elapsed() < ENDING_TAKES;
                return (!ending).then(|| Err(held(dir, &holder.agent, &holder.controller)));
            }
            if began.elapsed() > lease && !killed {
                killed = agent.signal(Signal::KILL).is_ok();
            }
            None
        }
        Err(error) => Some(Err(Problem::Environment(format!(
            "the state directory {} cannot be locked: {error}; name one that can be written",
            dir.path().display()
        )))),
    });
    locked.unwrap_or_else(|| {
        Err(Problem::Environment(format!(
            "another process has held the lock of {} for {} s; end it, or name another state directory",
            dir.path().display(),
            GUARDIAN_TAKES.as_secs()
        )))
    })
}

/// Whether an agent has lost its controller: the kernel has given it another parent, or what it has is ended.
pub(crate) fn orphaned(agent: &ProcessId, controller: &ProcessId) -> bool {
    let parent = proc_fs::stat(agent.pid).map_or(0, |stat| stat.parent);
    parent != controller.pid || !controller.is_alive().unwrap_or(true)
}

fn held(dir: &StateDir, agent: &ProcessId, controller: &ProcessId) -> Problem {
    Problem::Environment(format!(
        "agent {agent} works in {} for process {controller}; end that, or name another state directory",
        dir.path().display()
    ))
}

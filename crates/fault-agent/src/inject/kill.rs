//! Killing all processes of sessions.

use std::time::Duration;

use platform::identity::{self, ProcessId, Signal};

use crate::wait;

/// How long the kernel may take to end them.
const TAKES: Duration = Duration::from_secs(5);

/// Kills until no member is left, those that appear meanwhile, too, and says what was seen.
pub(crate) fn kill(leaders: &[ProcessId], known: &[ProcessId]) -> Result<String, String> {
    let mut problem = None;
    let gone = wait::until(TAKES, || {
        // Those that left the session when their parent ended are still among the known.
        let mut left: Vec<ProcessId> =
            leaders.iter().flat_map(|leader| identity::members(leader).unwrap_or_default()).collect();
        left.extend(known.iter().cloned());
        left.sort_unstable();
        left.dedup();
        let mut alive = 0;
        for member in left {
            match member.open().and_then(|handle| handle.map(|it| it.signal(Signal::KILL)).transpose()) {
                Ok(None | Some(false)) => {}
                Ok(Some(true)) => alive += 1,
                Err(error) => {
                    alive += 1;
                    problem = Some(format!("process {member} cannot be killed: {error}"));
                }
            }
        }
        (alive == 0).then_some(())
    });
    match gone {
        Some(()) => Ok(format!("all {} processes have ended", known.len())),
        None => Err(problem
            .unwrap_or_else(|| format!("processes are still there {} s after SIGKILL", TAKES.as_secs()))),
    }
}

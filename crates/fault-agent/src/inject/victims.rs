//! Who may be hit: what is alive, and neither this program nor what it hangs on.

use std::collections::BTreeSet;

use platform::identity::{self, ProcessId};
use platform::proc_fs;

use super::Refusal;

/// More processes than a session may have to be hit: each costs a pidfd and a line.
const MOST: usize = 10_000;

/// All processes of the sessions.
pub(crate) fn of_sessions(leaders: &[ProcessId]) -> Result<Vec<ProcessId>, Refusal> {
    if leaders.is_empty() {
        return Err(Refusal::new("no victim is named", "name the leader of at least one session"));
    }
    let own = own();
    let mut found = Vec::new();
    for leader in leaders {
        let hangs_on = |pid: u32| {
            Refusal::new(
                format!("session {leader} has process {pid}, which this agent hangs on"),
                "name processes that were started in sessions of their own",
            )
        };
        if own.contains(&leader.pid) && leader.is_alive().unwrap_or(true) {
            return Err(hangs_on(leader.pid));
        }
        let members = identity::members(leader).map_err(|error| unread(leader, &error))?;
        if members.is_empty() {
            return Err(ended(leader));
        }
        if let Some(hit) = members.iter().find(|member| own.contains(&member.pid)) {
            return Err(hangs_on(hit.pid));
        }
        found.extend(members);
    }
    if found.len() > MOST {
        return Err(Refusal::new(
            format!("{} processes would be hit, at most {MOST} can be", found.len()),
            "name fewer or smaller sessions",
        ));
    }
    Ok(found)
}

/// A victim that is not there any more.
pub(crate) fn ended(victim: &ProcessId) -> Refusal {
    Refusal::new(format!("process {victim} has ended"), "choose an instance that runs")
}

/// A victim of which nothing can be learnt.
pub(crate) fn unread(victim: &ProcessId, error: &std::io::Error) -> Refusal {
    Refusal::new(
        format!("process {victim} cannot be looked at: {error}"),
        "run the agent as the user who owns the process, with enough file descriptors",
    )
}

/// This process, its children (the guardian and hogs) and all that it descends from.
fn own() -> BTreeSet<u32> {
    let me = std::process::id();
    let mut own: BTreeSet<u32> =
        proc_fs::all().iter().filter(|stat| stat.parent == me).map(|stat| stat.pid).collect();
    own.insert(1);
    let mut next = me;
    while next > 1 && own.insert(next) {
        next = proc_fs::stat(next).map_or(0, |stat| stat.parent);
    }
    own
}

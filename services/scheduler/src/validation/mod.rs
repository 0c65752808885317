//! The checks before a phase (requirement R2.1): what was seen, and what would make a failed one pass.
//!
//! They are made together; those that wait for something poll in short steps until `control.validate-timeout`, so that
//! a healthy system passes in a few milliseconds.

mod latency;
mod probes;
mod resources;

use std::time::Duration;

use plan::model::PhaseName;
use plan::units::print_duration;
use protocol::event::Event;
use protocol::id::WorkerId;

use crate::figures::count;
use crate::run::Context;
use crate::verdict::{Reason, code};

/// What a check wants to see and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unmet {
    /// What was seen.
    pub(crate) seen: String,
    /// What would make it pass.
    pub(crate) mend: String,
}

impl Unmet {
    pub(crate) fn new(seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { seen: seen.into(), mend: mend.into() }
    }
}

/// A check that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) passed: bool,
    pub(crate) seen: String,
    pub(crate) mend: String,
}

impl Check {
    fn made(name: &'static str, result: Result<String, Unmet>) -> Self {
        match result {
            Ok(seen) => Self { name, passed: true, seen, mend: String::new() },
            Err(unmet) => Self { name, passed: false, seen: unmet.seen, mend: unmet.mend },
        }
    }

    /// No worker was heard before the first phase.
    pub(crate) fn no_worker(waited: Duration) -> Self {
        let seen = format!("no load-worker was heard within {}", print_duration(waited));
        let mend = "start a load-worker on the same bus, or raise `control.validate-timeout`";
        Self::made("workers ready", Err(Unmet::new(seen, mend)))
    }

    /// As the history has it.
    pub(crate) fn event(self, phase: u32) -> Event {
        let Self { name, passed, seen, mend } = self;
        Event::PrePhaseCheck { phase, check: name.to_owned(), passed, seen, mend }
    }

    /// A failed check as the reason why the run ends.
    pub(crate) fn reason(&self, phase: PhaseName) -> Reason {
        let text = format!("before phase {}: {}: {}: {}", phase.name(), self.name, self.seen, self.mend);
        Reason::new(code::ENVIRONMENT, text)
    }
}

/// All checks before a phase.
pub(crate) struct Checks {
    /// Each with how it came out.
    pub(crate) list: Vec<Check>,
    /// `metrics` did not answer at all.
    pub(crate) metrics_lost: bool,
}

/// Makes all checks before a phase.
pub(crate) async fn before_phase(
    ctx: &Context,
    index: usize,
    assigned: &[WorkerId],
    load_threads: u32,
) -> Checks {
    let phase = &ctx.phases[index];
    let deadline = tokio::time::Instant::now() + ctx.plan.control.validate_timeout;
    let (probes, latency) =
        futures::join!(probes::ready_and_fresh(ctx, deadline), latency::within_tier(ctx, deadline));
    let mut list = vec![
        Check::made("target ready", probes.ready),
        Check::made("resources available", resources::available(ctx, phase, assigned, load_threads)),
        Check::made("monitoring fresh", probes.fresh),
        Check::made("workers ready", workers_ready(ctx, assigned, load_threads)),
    ];
    list.extend(latency.map(|latency| Check::made("latency of the tier", latency)));
    Checks { list, metrics_lost: !probes.answered }
}

fn workers_ready(ctx: &Context, assigned: &[WorkerId], load_threads: u32) -> Result<String, Unmet> {
    let alive = ctx.workers.alive(ctx.plan.control.worker_timeout);
    let silent: Vec<String> = assigned
        .iter()
        .filter(|id| alive.iter().all(|worker| worker.id != **id))
        .map(WorkerId::to_string)
        .collect();
    if assigned.is_empty() || !silent.is_empty() {
        let seen = if silent.is_empty() {
            "no load-worker is left".to_owned()
        } else {
            format!("silent: {}", silent.join(", "))
        };
        return Err(Unmet::new(seen, "see the load-worker's log; start it again and run anew"));
    }
    Ok(format!("{}, {}", count(assigned.len(), "load-worker"), count(load_threads as usize, "load thread")))
}

#[cfg(test)]
mod tests;

//! What can be done about an incident, and which of it comes next.
//!
//! The plan's strategies come in its order. One whose precondition does not hold is told once and passed over; restarts
//! are repeated, ever later, until none is left.

mod failover;
mod restart;
mod shed_load;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use plan::model::Strategy;
use prober::{Check, Failure};
use protocol::faults::ActionOutcome;
use tokio::time::Instant;

use crate::options::Moment;
use crate::place::Watched;
use crate::run::Shared;

/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks while an action is verified.
const VERIFY_EVERY: Duration = Duration::from_millis(50);

/// What was tried so far about an incident.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// What was told to be not possible, with its reason.
    told: BTreeSet<(&'static str, &'static str)>,
    restarts: u32,
    /// Not before then is it restarted again.
    restart_from: Option<Instant>,
    failed_over: bool,
    shed: bool,
}

/// What the preconditions are judged by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Instances that a restart could help: not well, and not well by themselves.
    pub(crate) restartable: Vec<usize>,
    /// Whether any instance's process is ours.
    pub(crate) has_process: bool,
    /// Restarts that are left in the run.
    pub(crate) restarts_left: u32,
    /// Instances whose load can be led to the backup now.
    pub(crate) leadable: Vec<usize>,
    /// Whether load is led to the backup already.
    pub(crate) led: bool,
    /// Whether a phase is on, so that there is load.
    pub(crate) in_phase: bool,
    /// The pause before a second restart; later ones double it.
    pub(crate) pause: Duration,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To these instances; empty = the target.
    Act(Strategy, Vec<usize>),
    /// Its precondition does not hold: why.
    NotPossible(Strategy, &'static str),
}

impl Progress {
    /// What comes next, in order; only the last is an action. Empty = nothing more can be done now.
    pub(crate) fn next(&mut self, strategies: &[Strategy], facts: &Facts, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for strategy in strategies {
            match self.step(*strategy, facts, now) {
                Some(Step::NotPossible(strategy, why)) => {
                    let new = self.told.insert((strategy.name(), why));
                    steps.extend(new.then_some(Step::NotPossible(strategy, why)));
                }
                Some(act) => {
                    steps.push(act);
                    break;
                }
                None => {}
            }
        }
        steps
    }

    fn step(&mut self, strategy: Strategy, facts: &Facts, now: Instant) -> Option<Step> {
        let not_possible = |why| Some(Step::NotPossible(strategy, why));
        match strategy {
            Strategy::Restart => {
                if !facts.has_process {
                    return not_possible("no process of the plan runs it: give the target a `platform`");
                }
                if facts.restartable.is_empty() {
                    return not_possible(
                        "the instance answers directly: a restart does not mend the way to it",
                    );
                }
                if facts.restarts_left == 0 {
                    return not_possible("no restart is left: raise `restarts`, or mend what ends it");
                }
                if self.restart_from.is_some_and(|from| now < from) {
                    return None;
                }
                let most = facts.restarts_left as usize;
                let instances: Vec<usize> = facts.restartable.iter().copied().take(most).collect();
                // An instance that dies again and again is given time to show what it dies of.
                let pause = facts.pause.saturating_mul(1 << self.restarts.min(16)).min(LONGEST_PAUSE);
                self.restarts += 1;
                self.restart_from = Some(now + pause);
                Some(Step::Act(strategy, instances))
            }
            Strategy::Failover => {
                if self.failed_over || facts.led {
                    return None;
                }
                if facts.leadable.is_empty() {
                    return not_possible("in this phase load does not go through the fault proxy");
                }
                self.failed_over = true;
                Some(Step::Act(strategy, facts.leadable.clone()))
            }
            Strategy::ShedLoad => {
                if self.shed {
                    return None;
                }
                if !facts.in_phase {
                    return not_possible("no phase is on: there is no load to shed");
                }
                self.shed = true;
                Some(Step::Act(strategy, Vec::new()))
            }
        }
    }
}

/// What is done, also on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A strategy of the plan.
    Strategy(Strategy),
    /// Load goes to the instance again.
    FailBack,
    /// All of the load is sent again.
    RestoreLoad,
}

impl Deed {
    /// As it is told.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Strategy(strategy) => strategy.name(),
            Self::FailBack => "fail back",
            Self::RestoreLoad => "restore load",
        }
    }
}

/// How an action ended.
#[derive(Debug)]
pub(crate) struct Acted {
    pub(crate) incident: String,
    pub(crate) deed: Deed,
    pub(crate) instances: Vec<usize>,
    pub(crate) outcome: ActionOutcome,
    pub(crate) detail: String,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
}

/// What is to be done, to what, for which incident.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) shared: Arc<Shared>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) incident: String,
    pub(crate) deed: Deed,
    pub(crate) instances: Vec<usize>,
}

impl Order {
    /// Does it, to its end.
    pub(crate) async fn carry_out(self) -> Acted {
        let began = self.shared.now();
        let (outcome, detail) = match self.deed {
            Deed::Strategy(Strategy::Restart) => restart::restart(&self).await,
            Deed::Strategy(Strategy::Failover) => failover::fail_over(&self).await,
            Deed::FailBack => failover::fail_back(&self).await,
            Deed::Strategy(Strategy::ShedLoad) => shed_load::ask(&self, self.watched.recovery.shed).await,
            Deed::RestoreLoad => shed_load::ask(&self, 1.0).await,
        };
        let ended = self.shared.now();
        let Self { incident, deed, instances, .. } = self;
        Acted { incident, deed, instances, outcome, detail, began, ended }
    }
}

/// Looks until it is well, at most so long: what was seen last if it was not.
async fn verify(shared: &Shared, check: &Check, within: Duration) -> Result<Duration, Failure> {
    let deadline = Instant::now() + within;
    loop {
        match check.look().await {
            Ok(healthy) => return Ok(healthy.took),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            Err(failure) => tokio::select! {
                biased;
                () = shared.stop.triggered() => return Err(failure),
                () = tokio::time::sleep(VERIFY_EVERY) => {}
            },
        }
    }
}

/// One outcome of several, with all their words.
fn together(parts: Vec<(ActionOutcome, String)>) -> (ActionOutcome, String) {
    let all = |wanted| parts.iter().all(|(outcome, _)| *outcome == wanted);
    let outcome = if all(ActionOutcome::Done) {
        ActionOutcome::Done
    } else if all(ActionOutcome::NotPossible) {
        ActionOutcome::NotPossible
    } else {
        ActionOutcome::Failed
    };
    let words: Vec<String> = parts.into_iter().map(|(_, words)| words).collect();
    (outcome, words.join("; "))
}

#[cfg(test)]
mod tests;

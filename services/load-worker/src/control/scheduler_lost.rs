//! What a worker does that hears nothing of its scheduler: it goes on for a while, then ramps down, then ends the run by
//! itself (requirements R2.3, R4.6).

use std::time::{Duration, Instant};

use protocol::v1;
use protocol::v1::change_phase::Change as Asked;

use super::active::Active;
use crate::spec::EngineCommand;

/// How far a worker has come without its scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Without {
    /// It was heard within the lease.
    #[default]
    Heard,
    /// The load ramps down until then.
    RampingDown(Instant),
    /// The phase is ending; the run is given up then.
    Ending(Instant),
}

/// A worker's view of its scheduler.
#[derive(Debug)]
pub(super) struct SchedulerWatch {
    heard: Instant,
    without: Without,
}

impl SchedulerWatch {
    /// Just heard.
    pub(super) fn new() -> Self {
        Self { heard: Instant::now(), without: Without::Heard }
    }

    /// A sign of life: a beat, or any command. What has begun to end goes on ending.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Whether the phase is being ended because the scheduler was silent.
    pub(super) const fn ends_alone(&self) -> bool {
        !matches!(self.without, Without::Heard)
    }

    /// A run or a phase begins: nothing of what was before counts.
    pub(super) fn begin(&mut self) {
        *self = Self::new();
    }

    /// When there is something to do unless it is heard before; `None` without a run.
    pub(super) fn due(&self, active: Option<&Active>) -> Option<Instant> {
        let lease = active?.setting.plan.control.controller_lease;
        Some(match self.without {
            Without::Heard => self.heard + lease,
            Without::RampingDown(until) => until,
            Without::Ending(until) => until.max(self.heard + lease),
        })
    }

    /// Does what is due; `true` = the run is to be given up.
    pub(super) fn turn(&mut self, active: &mut Active, now: Instant) -> bool {
        let lease = active.setting.plan.control.controller_lease;
        match self.without {
            Without::Heard => {
                tracing::warn!(silent = ?self.heard.elapsed(), "the scheduler is silent: the load ramps down");
                if let Some(phase) = active.phase.as_mut().filter(|phase| !phase.over && !phase.ending) {
                    phase.alone = true;
                }
                self.without = Without::RampingDown(now + active.ramp_down_alone());
                false
            }
            Without::RampingDown(_) => {
                let grace = active.end_alone(false);
                self.without = Without::Ending(now + grace + lease);
                false
            }
            Without::Ending(_) => true,
        }
    }
}

impl Active {
    /// Ramps the running phase to zero; how long that takes.
    fn ramp_down_alone(&mut self) -> Duration {
        let length = self.setting.plan.control.ramp_down;
        let Some(phase) = self.phase.as_ref().filter(|phase| phase.sends()) else { return Duration::ZERO };
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let command = v1::ChangePhase {
            phase: phase.index,
            at_offset_ns: ns(phase.t0.elapsed()),
            change: Some(Asked::RampDownNs(ns(length))),
            ..v1::ChangePhase::default()
        };
        match self.change(&command) {
            Ok(()) => length,
            Err(error) => {
                tracing::warn!(error, "the load cannot be ramped down and is ended at once");
                Duration::ZERO
            }
        }
    }

    /// Ends the running phase as the scheduler would; how long that may take. What waits may begin meanwhile if it `drains`.
    pub(super) fn end_alone(&mut self, drains: bool) -> Duration {
        let grace = self.setting.plan.load.grace;
        let Some(phase) = self.phase.as_mut().filter(|phase| !phase.over && !phase.ending) else {
            return Duration::ZERO;
        };
        phase.ending = true;
        for thread in &self.threads {
            thread.send(EngineCommand::EndPhase { phase: phase.index, grace, drains });
        }
        grace
    }
}

//! Each fault's life, from the schedule to the undo, as the history tells it.

use std::time::Duration;

use plan::Plan;
use protocol::event::Event;
use protocol::faults::PlannedFault;
use schemars::JsonSchema;
use serde::Serialize;

use super::windows::Stretch;
use super::{done_to, kind_of};
use crate::RunData;
use crate::summary::{Check, PhaseSummary, ms_between};

/// How far a fault came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Its time never came.
    #[default]
    Planned,
    /// It began, and the history says no more of it.
    Beginning,
    /// It was there, and the history has no end of it.
    Injected,
    /// It was undone, and that was read back.
    Ended,
    /// It was never injected, with a reason.
    Skipped,
    /// It could not be undone, or that could not be read back: exit code 97.
    Unrecovered,
}

/// A fault, with what load saw of it and what it is worth.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct FaultSummary {
    /// Its id, unique in the run.
    pub fault: String,
    /// `kill`, `pause`, `latency` ….
    pub recipe: String,
    /// What it works on: `process`, `host` or `network`.
    pub kind: String,
    /// The target's name in the plan.
    pub target: String,
    /// What it does, in words.
    pub does: String,
    /// What is hit: instances or endpoints; empty = the host.
    pub victims: Vec<String>,
    /// Name of its phase.
    pub phase: String,
    /// Index of its phase; absent for one that was refused before it had one.
    pub phase_index: Option<u32>,
    /// Offset from the phase's start that was asked for, milliseconds.
    pub planned_at_ms: u64,
    /// Length that was asked for, milliseconds.
    pub planned_duration_ms: u64,
    /// What ends it before its time, or `none`.
    pub stop: String,
    /// `plan`, `cli`, `api`.
    pub by: String,
    /// Whether it is of the schedule, and so of the score.
    pub scheduled: bool,
    /// How far it came.
    pub fate: Fate,
    /// When its injection began, from the run's start, milliseconds.
    pub begun_ms: Option<u64>,
    /// When it was there, from the run's start, milliseconds.
    pub injected_ms: Option<u64>,
    /// When it was gone again, undone and read back, from the run's start, milliseconds.
    pub over_ms: Option<u64>,
    /// What did it: `fault proxy`, `fault agent`, `process driver`.
    pub backend: String,
    /// What was read back when it was there.
    pub seen: String,
    /// What ended it; of one whose chaos service ended with it, who undid it.
    pub how: String,
    /// How long it was there, milliseconds.
    pub held_ms: Option<u64>,
    /// How long the undo took, reading back included, milliseconds; absent when nobody measured it.
    pub undo_ms: Option<u64>,
    /// What was read back when it was gone.
    pub verified: String,
    /// Why it was skipped, what could not be undone, or what became of it when its chaos service was started anew.
    pub detail: String,
    /// The incidents that name it.
    pub incidents: Vec<String>,
    /// Up to 10 s before it that no fault touched.
    pub before: Stretch,
    /// Every second that it touched.
    pub during: Stretch,
    /// Up to 10 s after it that no fault touched.
    pub after: Stretch,
    /// What was asked of it; empty when it was not injected.
    pub probes: Vec<Check>,
    /// Share of its probes that passed, 0 to 1; absent when it was not injected, which counts as 0.
    pub points: Option<f64>,
}

impl FaultSummary {
    /// Whether it was there.
    pub(crate) const fn ran(&self) -> bool {
        self.injected_ms.is_some()
    }

    /// The stretch in which it may have changed what load saw, milliseconds from the run's start: from the beginning
    /// of its injection until it was read back as gone, or to the run's end.
    pub(crate) fn window(&self, run_end_ms: u64) -> Option<(u64, u64)> {
        let from = self.begun_ms.or(self.injected_ms)?;
        Some((from, self.over_ms.unwrap_or(run_end_ms).max(from)))
    }
}

/// All faults that the history speaks of, in the order in which they began or were to begin.
pub(super) fn read(data: &RunData, phases: &[PhaseSummary]) -> Vec<FaultSummary> {
    let start = data.history.first().map_or(0, |entry| entry.at_unix_ns);
    let mut lives = Lives { data, phases, faults: Vec::new() };
    // A run that ended before chaos was opened has not done what its plan asks for.
    if !data.history.iter().any(|entry| matches!(entry.event, Event::FaultsPlanned { .. })) {
        for planned in of_the_plan(&data.plan) {
            lives.describe(&planned).scheduled = true;
        }
    }
    for entry in &data.history {
        lives.tell(&entry.event, ms_between(start, entry.at_unix_ns));
    }
    let mut faults = lives.faults;
    let due = |fault: &FaultSummary| {
        let phase = phases.iter().find(|phase| Some(phase.index) == fault.phase_index);
        fault.begun_ms.unwrap_or_else(|| {
            phase.map_or(u64::MAX, |phase| phase.start_ms.saturating_add(fault.planned_at_ms))
        })
    };
    faults.sort_by_key(due);
    faults
}

/// The schedule as the plan alone gives it: without the names of instances, which chaos knows.
fn of_the_plan(plan: &Plan) -> Vec<PlannedFault> {
    let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let placed = plan::chaos::schedule(plan).unwrap_or_default().into_iter();
    let described = placed.filter_map(|placed| {
        let fault = plan.chaos.get(placed.fault)?;
        Some(PlannedFault {
            fault: placed.id,
            recipe: fault.recipe.name().to_owned(),
            target: fault.target.clone(),
            phase: u32::try_from(placed.phase).ok()?,
            at_ms: ms(placed.at),
            duration_ms: ms(fault.duration),
            victims: Vec::new(),
            parameters: fault.recipe.describe(),
            stop: String::new(),
            by: "plan".to_owned(),
        })
    });
    described.collect()
}

struct Lives<'a> {
    data: &'a RunData,
    phases: &'a [PhaseSummary],
    faults: Vec<FaultSummary>,
}

impl Lives<'_> {
    fn tell(&mut self, event: &Event, at: u64) {
        match event {
            Event::FaultsPlanned { faults, .. } => {
                for planned in faults {
                    self.describe(planned).scheduled = true;
                }
            }
            Event::FaultSkipped { fault, recipe, target, reason } => {
                let life = self.named(fault);
                if life.recipe.is_empty() {
                    recipe.clone_into(&mut life.recipe);
                    kind_of(recipe).clone_into(&mut life.kind);
                    target.clone_into(&mut life.target);
                    life.does = done_to(recipe, "", &[], target);
                }
                if life.ran() {
                    // It was there before its chaos service was started anew, which only does not bring it back.
                    life.detail = format!("it did not come again: {reason}");
                    return;
                }
                life.fate = Fate::Skipped;
                life.over_ms = life.begun_ms.map(|_| at);
                reason.clone_into(&mut life.detail);
            }
            Event::FaultBeginning { fault } => {
                let life = self.describe(fault);
                // One that comes again, after its chaos service was started anew, touches all from its first coming on.
                if life.fate == Fate::Ended {
                    life.detail = format!("it came again after this: {}", life.how);
                }
                if !life.ran() {
                    life.fate = Fate::Beginning;
                }
                life.begun_ms = life.begun_ms.or(Some(at));
                life.over_ms = None;
            }
            Event::FaultInjected { fault, backend, seen } => {
                let life = self.named(fault);
                life.fate = Fate::Injected;
                life.injected_ms = life.injected_ms.or(Some(at));
                backend.clone_into(&mut life.backend);
                seen.clone_into(&mut life.seen);
            }
            Event::FaultEnded { fault, how, held_ms, undo_ms, verified } => {
                let life = self.named(fault);
                // One that was given up stays so, even if it went away later: the run failed by it.
                if life.fate != Fate::Unrecovered {
                    life.fate = Fate::Ended;
                }
                life.over_ms = Some(at);
                // Who held it may not have lived to say.
                life.held_ms = held_ms.or_else(|| at.checked_sub(life.injected_ms?));
                life.undo_ms = *undo_ms;
                how.clone_into(&mut life.how);
                verified.clone_into(&mut life.verified);
            }
            Event::FaultUnrecovered { fault, target, detail } => {
                let life = self.named(fault);
                if life.target.is_empty() {
                    target.clone_into(&mut life.target);
                    life.does = format!("a fault on {target} that the history has no beginning of");
                }
                life.fate = Fate::Unrecovered;
                detail.clone_into(&mut life.detail);
            }
            _ => {}
        }
    }

    fn phase(&self, index: u32) -> String {
        let ran = self.phases.iter().find(|phase| phase.index == index).map(|phase| phase.name.clone());
        let planned = || {
            let place = usize::try_from(index).ok()?;
            self.data.plan.phases.get(place).map(|phase| phase.name.name().to_owned())
        };
        ran.or_else(planned).unwrap_or_else(|| format!("phase {index}"))
    }

    fn named(&mut self, fault: &str) -> &mut FaultSummary {
        let at = self.faults.iter().position(|known| known.fault == fault).unwrap_or_else(|| {
            self.faults.push(FaultSummary { fault: fault.to_owned(), ..FaultSummary::default() });
            self.faults.len() - 1
        });
        &mut self.faults[at]
    }

    fn describe(&mut self, planned: &PlannedFault) -> &mut FaultSummary {
        let phase = self.phase(planned.phase);
        let life = self.named(&planned.fault);
        life.recipe.clone_from(&planned.recipe);
        kind_of(&planned.recipe).clone_into(&mut life.kind);
        life.target.clone_from(&planned.target);
        life.does = done_to(&planned.recipe, &planned.parameters, &planned.victims, &planned.target);
        life.victims.clone_from(&planned.victims);
        life.phase = phase;
        life.phase_index = Some(planned.phase);
        life.planned_at_ms = planned.at_ms;
        life.planned_duration_ms = planned.duration_ms;
        life.stop.clone_from(&planned.stop);
        life.by.clone_from(&planned.by);
        life
    }
}

//! The faults of a run: those of the plan, placed by its seed, and those that somebody asks for by hand.

use std::time::Duration;

use plan::Plan;
use plan::chaos::Placed;
use plan::model::{Fault, RecipeKind, Stop, Target};
use plan::units::print_duration;
use protocol::faults::PlannedFault;

/// Who asks for the faults of the plan.
const PLAN: &str = "plan";

/// A fault that is to come, or came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// As histories have it.
    pub(crate) planned: PlannedFault,
    /// As the plan has it, or as it was asked for.
    pub(crate) fault: Fault,
    /// Index of its target in the plan.
    pub(crate) target: u32,
    /// Indices of instances of the target; empty = the host.
    pub(crate) victims: Vec<u32>,
    /// From its phase's start.
    pub(crate) at: Duration,
}

impl Item {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.planned.fault
    }

    /// Whether the plan has it; else somebody asked by hand.
    pub(crate) fn is_planned(&self) -> bool {
        self.planned.by == PLAN
    }

    /// One that the schedule has.
    pub(crate) fn placed(plan: &Plan, placed: Placed) -> Option<Self> {
        let fault = plan.chaos.get(placed.fault)?;
        let phase = u32::try_from(placed.phase).ok()?;
        Self::new(plan, fault.clone(), placed.id, phase, placed.at, placed.victims, PLAN)
    }

    /// A fault of this id; `None` when the plan has no such target.
    pub(crate) fn new(
        plan: &Plan,
        fault: Fault,
        id: String,
        phase: u32,
        at: Duration,
        victims: Vec<u32>,
        by: &str,
    ) -> Option<Self> {
        let index = plan.targets.iter().position(|target| target.name == fault.target)?;
        let target = plan.targets.get(index)?;
        let planned = PlannedFault {
            fault: id,
            recipe: fault.recipe.name().to_owned(),
            target: fault.target.clone(),
            phase,
            at_ms: millis(at),
            duration_ms: millis(fault.duration),
            victims: victims.iter().map(|victim| named(target, &fault, *victim)).collect(),
            parameters: fault.describe(),
            stop: stop(&fault.stop),
            by: by.to_owned(),
        };
        Some(Self { planned, fault, target: u32::try_from(index).ok()?, victims, at })
    }
}

/// A victim as people know it.
fn named(target: &Target, fault: &Fault, victim: u32) -> String {
    let index = victim as usize;
    let processes = if fault.recipe.kind() == RecipeKind::Process { target.instances() } else { &[] };
    processes.get(index).or_else(|| target.urls.get(index)).cloned().unwrap_or_default()
}

/// What ends a fault before its time, in words.
pub(crate) fn stop(stop: &Stop) -> String {
    match stop {
        Stop::None => "none".to_owned(),
        Stop::When { check, over } => format!("{check} over {}", print_duration(*over)),
    }
}

/// A length in whole milliseconds.
pub(crate) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

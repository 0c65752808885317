//! When faults come and whom they hit: a function of the plan alone, so that its check, the chaos service and a
//! second run with the same seed see the same.
//!
//! Faults without `at` share their phase. Between a lead-in ([`lead_in`]) and a fault-free time at its end
//! ([`validation`]) the room that faults with `at` leave (each with a quarter of its length behind it) is cut in as
//! many slots as there are faults without, in an order that the seed draws: as long as the fault and a quarter of its
//! length, and what room remains in equal parts. In its slot a fault starts when the seed says, but so that it ends
//! within the first 80 %: a healthy stretch follows. Fault durations are real time and not scaled, phases are.
//!
//! Victims are drawn for a fault's name and the number of its coming: another fault more or less changes none.

mod clash;
mod place;

use std::time::Duration;

pub use self::clash::{Clash, Hit, clash};
pub use self::place::{lead_in, validation};
use crate::model::{Fault, Phase, Plan};
use crate::problem::{Problem, Problems};
use crate::units::print_duration;

/// One coming of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Of its own in the run: the fault's name; from its second coming on with `#2`, `#3`, …
    pub id: String,
    /// Index in [`Plan::chaos`].
    pub fault: usize,
    /// Index in [`Plan::phases`].
    pub phase: usize,
    /// From the phase's start; real time.
    pub at: Duration,
    /// The instances that it hits, in order; empty where the recipe hits the host.
    pub victims: Vec<u32>,
    /// Seed of the draws within it.
    pub draw: u64,
}

/// The faults of a run in the order in which they come: by phase, then time, then place in the plan.
///
/// # Errors
/// When they do not fit their phases, or two of them may not be at the same time; all problems at once.
pub fn schedule(plan: &Plan) -> Result<Vec<Placed>, Problems> {
    place(plan).map_err(|misfits| {
        let problem = |misfit: Misfit| {
            let key = match misfit.key {
                "" => format!("chaos[{}]", misfit.fault),
                key => format!("chaos[{}].{key}", misfit.fault),
            };
            Problem::elsewhere("", key, misfit.message, misfit.mend)
        };
        Problems(misfits.into_iter().map(problem).collect())
    })
}

/// What is wrong with the time of a fault.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// Index in [`Plan::chaos`].
    pub(crate) fault: usize,
    /// Its key that is to be changed; empty = the fault as a whole.
    pub(crate) key: &'static str,
    pub(crate) message: String,
    pub(crate) mend: String,
}

/// [`schedule`], for whoever knows where the faults stand in the text.
pub(crate) fn place(plan: &Plan) -> Result<Vec<Placed>, Vec<Misfit>> {
    let mut misfits = Vec::new();
    let mut placed = Vec::new();
    for (phase, scaled) in plan.scaled().iter().enumerate() {
        let here =
            plan.chaos.iter().enumerate().filter(|(index, fault)| {
                fault.phase == scaled.name && fits(*index, fault, scaled, &mut misfits)
            });
        let (fixed, drawn): (Vec<_>, Vec<_>) = here.partition(|(_, fault)| fault.at.is_some());
        let mut times: Vec<(usize, u32, Duration)> =
            fixed.iter().map(|(index, fault)| (*index, 0, fault.at.unwrap_or_default())).collect();
        let taken: Vec<(Duration, Duration)> =
            fixed.iter().map(|(_, fault)| (fault.at.unwrap_or_default(), fault.duration)).collect();
        match place::draw(plan.seed, scaled.duration, &taken, &drawn) {
            Ok(found) => times.extend(found),
            Err(reason) => misfits.extend(drawn.first().map(|(index, _)| Misfit {
                fault: *index,
                key: "",
                message: format!(
                    "the faults of the phase {} that have no `at` do not fit it: {reason}",
                    scaled.name.name()
                ),
                mend: "shorten them, lower their `times`, lengthen the phase, or say `at`".to_owned(),
            })),
        }
        times.sort_by_key(|(index, time, at)| (*at, *index, *time));
        let from = placed.len();
        placed.extend(times.into_iter().filter_map(|(index, time, at)| one(plan, phase, index, time, at)));
        misfits.extend(clashes(plan, placed.get(from..).unwrap_or_default()));
    }
    for (index, fault) in plan.chaos.iter().enumerate() {
        if plan.phases.iter().all(|phase| phase.name != fault.phase) {
            let message = format!("the phase {} does not run", fault.phase.name());
            let mend = "name one that runs, or add it to `run-phases`".to_owned();
            misfits.push(Misfit { fault: index, key: "phase", message, mend });
        }
    }
    misfits.sort_by_key(|misfit| misfit.fault);
    if misfits.is_empty() { Ok(placed) } else { Err(misfits) }
}

/// Whether a fault by itself is within its phase.
fn fits(index: usize, fault: &Fault, phase: &Phase, misfits: &mut Vec<Misfit>) -> bool {
    let name = phase.name.name();
    let (long, whole) = (print_duration(fault.duration), print_duration(phase.duration));
    let mend = "faults last real time, which `time-scale` does not shorten: \
                shorten the fault, or lengthen the phase";
    let (key, message) = if fault.duration > phase.duration {
        ("duration", format!("the fault is longer than its phase: {long} in {name}, which runs {whole}"))
    } else if let Some(at) = fault.at
        && at.saturating_add(fault.duration) > phase.duration
    {
        let at = print_duration(at);
        (
            "at",
            format!("the fault goes on after its phase: {long} from {at} on in {name}, which runs {whole}"),
        )
    } else {
        return true;
    };
    misfits.push(Misfit { fault: index, key, message, mend: mend.to_owned() });
    false
}

fn one(plan: &Plan, phase: usize, index: usize, time: u32, at: Duration) -> Option<Placed> {
    let fault = plan.chaos.get(index)?;
    let target = plan.targets.iter().find(|target| target.name == fault.target)?;
    let id = match time {
        0 => fault.name.clone(),
        time => format!("{}#{}", fault.name, time + 1),
    };
    let key = place::key(plan.seed, &fault.name, time);
    let victims = victims(fault, target.urls.len(), key);
    Some(Placed { id, fault: index, phase, at, victims, draw: place::draw_of(key) })
}

/// The instances of a target, of so many, that a fault hits, in order: the first ones of an order that `draw` shuffles,
/// so that a mode that hits more hits the same and others.
#[must_use]
pub fn victims(fault: &Fault, instances: usize, draw: u64) -> Vec<u32> {
    if !fault.recipe.has_victims() {
        return Vec::new();
    }
    let mut order: Vec<u32> = (0..u32::try_from(instances).unwrap_or(u32::MAX)).collect();
    order.sort_by_key(|instance| (draws::at(draw, u64::from(*instance)), *instance));
    order.truncate(fault.mode.of(instances));
    order.sort_unstable();
    order
}

/// The faults of one phase that come when others are there which they may not join.
fn clashes(plan: &Plan, placed: &[Placed]) -> Vec<Misfit> {
    let mut found = Vec::new();
    let known = |placed: &Placed| plan.chaos.get(placed.fault);
    for (index, next) in placed.iter().enumerate() {
        let Some(fault) = known(next) else { continue };
        let Some(target) = plan.targets.iter().find(|target| target.name == fault.target) else { continue };
        let live: Vec<Hit<'_>> = placed[..index]
            .iter()
            .filter_map(|before| Some((before, known(before)?)))
            .filter(|(before, fault)| before.at.saturating_add(fault.duration) >= next.at)
            .map(|(before, fault)| Hit { fault, victims: &before.victims })
            .collect();
        if let Some(Clash { message, mend }) = clash(target, &live, &Hit { fault, victims: &next.victims }) {
            let key = if fault.at.is_some() { "at" } else { "" };
            found.push(Misfit { fault: next.fault, key, message, mend });
        }
    }
    found
}

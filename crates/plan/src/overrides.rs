//! What the command line says instead of the plan.

use crate::model::{PhaseName, Plan};
use crate::reader::Reader;
use crate::threshold::Threshold;
use crate::units;

/// What the command line says instead of the plan; `None` = as the plan says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--time-scale`, over 0, at most 1 000.
    pub time_scale: Option<f64>,
    /// `--load-scale`, over 0, at most 1 000.
    pub load_scale: Option<f64>,
    /// `--only`: keep the scenarios that address this target and no other, and the faults that hit it.
    pub only: Option<String>,
    /// `--phases`: run these and no others, in the order of the cycle; faults of others do not come.
    pub phases: Option<Vec<PhaseName>>,
}

impl Overrides {
    /// Applies all but what `phases` say of phases: they choose presets, and that comes in earlier.
    pub(crate) fn apply(&self, plan: &mut Plan, reader: &Reader<'_>) {
        if let Some(seed) = self.seed {
            if i64::try_from(seed).is_err() {
                let message = format!("found {seed}, expected an integer from 0 to {}", i64::MAX);
                reader.report_flag("--seed", message, String::new());
            }
            plan.seed = seed;
        }
        for (flag, given, scale) in [
            ("--time-scale", self.time_scale, &mut plan.time_scale),
            ("--load-scale", self.load_scale, &mut plan.load_scale),
        ] {
            let Some(given) = given else { continue };
            if !(given > 0.0 && given <= 1000.0) {
                let message = format!("found {given}, expected a number over 0, at most 1000");
                reader.report_flag(flag, message, String::new());
            }
            *scale = given;
        }
        if let Some(phases) = &self.phases {
            plan.chaos.retain(|fault| phases.contains(&fault.phase));
        }
        if let Some(only) = &self.only {
            keep_only(plan, only, reader);
        }
    }
}

fn keep_only(plan: &mut Plan, only: &str, reader: &Reader<'_>) {
    let known = || plan.targets.iter().map(|target| target.name.as_str());
    if !known().any(|name| name == only) {
        let mend = units::nearest(only, known()).map_or_else(
            || format!("targets of the plan: {}", known().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        reader.report_flag("--only", format!("there is no target {only:?} in the plan"), mend);
        return;
    }
    if plan.scenarios.iter().all(|scenario| scenario.targets.iter().any(|target| target != only)) {
        let message = format!("no scenario addresses the target {only:?} alone");
        reader.report_flag("--only", message, "add a [[scenarios]] for it".to_owned());
        return;
    }
    plan.scenarios.retain(|scenario| scenario.targets.iter().all(|target| target == only));
    plan.chaos.retain(|fault| fault.target == only);
    let scenarios = &plan.scenarios;
    let runs = |name: &str| scenarios.iter().any(|scenario| scenario.name == name);
    let evaluable = |threshold: &Threshold| {
        threshold.scenario.as_deref().is_none_or(runs)
            && threshold.target.as_deref().is_none_or(|target| target == only)
    };
    plan.thresholds.retain(evaluable);
    for phase in &mut plan.phases {
        phase.thresholds.retain(evaluable);
        phase.scenario_config.retain(|name, _| runs(name));
    }
}

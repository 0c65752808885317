//! The plan of a stage: the user's plan, of which one phase is left, at one rate.

use std::time::Duration;

use plan::Plan;
use plan::model::{Arrivals, LoadModel, OnFailure, Phase, PhaseName};
use plan::presets::MAX_WAITING_SECONDS;
use plan::threshold::{Measure, Op, Threshold};
use plan::units::print_duration;

use crate::failure::Failure;

/// The user's plan, reduced to what all stages have in common.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    plan: Plan,
    phase: Phase,
    arrivals: Arrivals,
    /// Arrivals that may wait, per request per second.
    waiting: f64,
}

impl Base {
    /// Reduces a plan to one phase: `chosen`, which it has, else heavy, else its last one with load.
    ///
    /// # Errors
    /// When the phase is without load, or its thresholds and the run's are none that a search can go by.
    pub(crate) fn new(
        mut plan: Plan,
        chosen: Option<PhaseName>,
        connections: Option<u32>,
        start: f64,
        stage: Duration,
    ) -> Result<Self, Failure> {
        let scaled = plan.scaled();
        let named = |name| scaled.iter().find(|phase| phase.name == name);
        let loaded = |phase: &&Phase| !matches!(phase.model, LoadModel::None);
        let phase = match chosen {
            Some(name) => named(name).filter(loaded),
            None => named(PhaseName::Heavy).or_else(|| scaled.iter().rev().find(loaded)),
        };
        let Some(mut phase) = phase.cloned() else {
            return Err(Failure::input(match chosen {
                Some(name) => format!(
                    "--phase: found {}, expected a phase with load: a knee is one of load; such as --phase heavy",
                    name.name()
                ),
                None => "run-phases: no phase of the plan has load; name one with --phase".to_owned(),
            }));
        };
        if let Some(connections) = connections {
            (phase.connections, phase.max_users) = (connections, connections);
        }
        let (arrivals, waiting) = match phase.model {
            LoadModel::Open { rate, arrivals, .. } => (arrivals, seconds(phase.max_waiting, rate)),
            LoadModel::Walk { arrivals, .. } => (arrivals, MAX_WAITING_SECONDS),
            LoadModel::Closed { .. } | LoadModel::None => (Arrivals::Even, MAX_WAITING_SECONDS),
        };
        // Expectations and holds are the phase's, at the phase's rate.
        (phase.cpu, phase.memory) = (None, None);
        phase.on_objective_failure = OnFailure::Continue;
        check(plan.thresholds.iter().chain(&phase.thresholds), phase.name, start, stage)?;
        (plan.time_scale, plan.load_scale) = (1.0, 1.0);
        // They would change the target, or the load, while it is measured.
        plan.chaos.clear();
        plan.recovery.clear();
        plan.phases = vec![phase.clone()];
        Ok(Self { plan, phase, arrivals, waiting })
    }

    /// The plan that stages are made from.
    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The phase that stages are made from.
    pub(crate) const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The thresholds that a stage has to keep.
    pub(crate) fn thresholds(&self) -> Vec<String> {
        self.plan.thresholds.iter().chain(&self.phase.thresholds).map(Threshold::to_string).collect()
    }

    /// The plan of a stage of this rate and length; `what` is added to its name.
    pub(crate) fn stage(&self, what: &str, rate: f64, duration: Duration) -> Plan {
        let mut plan = self.plan.clone();
        plan.name = format!("{} {what}", plan.name);
        let model = LoadModel::Open { start_rate: rate, rate, ramp: Duration::ZERO, arrivals: self.arrivals };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of arrivals, cut at the largest that fits"
        )]
        let max_waiting = (self.waiting * rate).ceil() as u64;
        plan.phases = vec![Phase { duration, model, max_waiting, ..self.phase.clone() }];
        plan
    }
}

/// Seconds of the rate that may wait.
#[expect(clippy::cast_precision_loss, reason = "counts of a plan are far below 2^53")]
fn seconds(waiting: u64, rate: f64) -> f64 {
    if rate > 0.0 { waiting as f64 / rate } else { MAX_WAITING_SECONDS }
}

/// All that keeps thresholds from being searched by.
fn check<'t>(
    thresholds: impl Iterator<Item = &'t Threshold>,
    phase: PhaseName,
    start: f64,
    stage: Duration,
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let mut any = false;
    for threshold in thresholds {
        any = true;
        if threshold.delay >= stage {
            problems.push(format!(
                "threshold `{threshold}`: it is looked at after {}, and a stage lasts {}; lengthen --stage",
                print_duration(threshold.delay),
                print_duration(stage)
            ));
        }
        let least = matches!(threshold.op, Op::Greater | Op::GreaterOrEqual);
        let of_rate = matches!(threshold.measure, Measure::Throughput | Measure::Goodput);
        if least && of_rate && threshold.limit > start {
            problems.push(format!(
                "threshold `{threshold}`: it cannot hold at --start {start}/s; start above it, or leave it out: a stage that \
                 does not reach its rate is not kept anyway"
            ));
        }
    }
    if !any {
        problems.push(format!(
            "thresholds: neither the run nor the phase {} has one, so no rate could fail; add such as \
             `[thresholds] run = [\"p(99) < 300ms\", \"error_rate < 1%\"]`, or name another phase with --phase",
            phase.name()
        ));
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::input(problems.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const STAGE: Duration = Duration::from_secs(10);

    fn base(more: &str, chosen: Option<PhaseName>, connections: Option<u32>) -> Result<Base, Failure> {
        let text = format!(
            "load-scale = 0.01\ntime-scale = 0.5\ntargets.shop.url = \"http://a\"\nscenarios = [{{ guest = \"http\" }}]\n{more}"
        );
        let plan = plan::parse(&text, Path::new("shop.toml")).unwrap();
        Base::new(plan, chosen, connections, 10.0, STAGE)
    }

    const THRESHOLD: &str = "thresholds.run = [\"p(99) < 50ms\"]\n";

    #[test]
    fn a_stage_is_the_phase_at_another_rate_and_reads_back_as_it_was_meant() {
        let base = base(THRESHOLD, None, None).unwrap();
        let stage = base.stage("at 400/s", 400.0, STAGE);
        assert_eq!(plan::parse(&stage.to_toml(), Path::new("x")).unwrap(), stage);
        let phase = &stage.scaled()[0];
        assert_eq!((stage.phases.len(), phase.name, phase.duration), (1, PhaseName::Heavy, STAGE));
        assert_eq!(
            (phase.connections, phase.max_users, phase.max_waiting),
            (50, 50, 4_000),
            "load-scale 0.01"
        );
        assert_eq!(stage.name, "shop at 400/s");
        assert!(matches!(phase.model, LoadModel::Open { rate, ramp, .. } if rate == 400.0 && ramp.is_zero()));
    }

    #[test]
    fn the_phase_is_the_one_named_else_heavy_else_the_last_with_load() {
        let of = |more: &str, chosen| base(&format!("{THRESHOLD}{more}"), chosen, None).unwrap().phase.name;
        assert_eq!(of("", Some(PhaseName::Light)), PhaseName::Light);
        assert_eq!(of("run-phases = [\"idle\", \"baseline\", \"light\"]\n", None), PhaseName::Light);
        let closed = base(&format!("{THRESHOLD}phases.light.users = 300\n"), Some(PhaseName::Light), None);
        assert!(matches!(closed.unwrap().stage("x", 5.0, STAGE).phases[0].model, LoadModel::Open { .. }));
        let walk = base(THRESHOLD, Some(PhaseName::Chaos), Some(7)).unwrap().stage("x", 5.0, STAGE);
        assert_eq!((walk.phases[0].connections, walk.phases[0].max_users), (7, 7));
        assert_eq!(plan::parse(&walk.to_toml(), Path::new("x")).unwrap(), walk);
        let idle = base(THRESHOLD, Some(PhaseName::Idle), None).unwrap_err().to_string();
        assert!(idle.contains("--phase"), "{idle}");
    }

    #[test]
    fn what_would_change_the_target_meanwhile_is_left_out() {
        let more = format!(
            "{THRESHOLD}targets.shop.chaos = true\nphases.heavy.on-objective-failure = {{ hold = \"1m\" }}\n\
             chaos = [{{ recipe = \"refuse\", target = \"shop\", duration = \"5s\", stop = \"none\" }}]\n\
             recovery.shop.strategy = [\"shed-load\"]\n"
        );
        let stage = base(&more, None, None).unwrap().stage("x", 5.0, STAGE);
        assert!(stage.chaos.is_empty() && stage.recovery.is_empty());
        assert_eq!(stage.phases[0].on_objective_failure, OnFailure::Continue);
    }

    #[test]
    fn thresholds_that_no_search_can_go_by_are_named_together() {
        let none = base("", None, None).unwrap_err().to_string();
        assert!(none.contains("thresholds") && none.contains("heavy"), "{none}");
        let more = "thresholds.run = [{ check = \"p(99) < 1s\", delay = \"10s\" }, \"goodput > 11\", \"goodput > 9\"]\n";
        let both = base(more, None, None).unwrap_err().to_string();
        assert!(both.contains("lengthen --stage") && both.contains("--start 10/s"), "{both}");
        assert_eq!(both.lines().count(), 2, "{both}");
    }
}

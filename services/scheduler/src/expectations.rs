//! Expected CPU and memory of the targets (requirement R1.2): findings in the report, never failures.

use plan::model::Range;
use protocol::event::Outcome;

use crate::figures::{Finding, share};
use crate::objectives::counters::mean_by_target;
use crate::objectives::evidence::Evidence;

/// One outcome for each target and each range that the phase expects.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (metric, label, range) in ranges(evidence) {
        let means = mean_by_target(evidence.now, metric);
        for (index, target) in evidence.plan.targets.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let finding = match means.get(&index) {
                Some(mean) => Finding::judged((range.min..=range.max).contains(mean), share(*mean)),
                None => Finding::not_evaluable(why_absent(evidence, index, metric)),
            };
            outcomes.push(finding.named(format!("{label} of {}", target.name), expected(range)));
        }
    }
    outcomes
}

/// Only what was measured.
pub(crate) fn measured(evidence: &Evidence<'_>) -> Vec<Outcome> {
    let mut outcomes = judge(evidence);
    outcomes.retain(|one| !matches!(one.result, protocol::event::OutcomeResult::NotEvaluable { .. }));
    outcomes
}

fn ranges(evidence: &Evidence<'_>) -> impl Iterator<Item = (&'static str, &'static str, Range)> {
    let phase = &evidence.now.phase;
    [("cpu", "CPU", phase.cpu), ("memory", "memory", phase.memory)]
        .into_iter()
        .filter_map(|(metric, label, range)| Some((metric, label, range?)))
}

fn expected(range: Range) -> String {
    format!("{} to {}", share(range.min), share(range.max))
}

fn why_absent(evidence: &Evidence<'_>, target: u32, metric: &str) -> String {
    let prefix = format!("{metric}:");
    evidence
        .now
        .series
        .targets
        .iter()
        .filter(|samples| samples.target == target)
        .flat_map(|samples| &samples.absent)
        .find_map(|why| why.strip_prefix(&prefix).map(|why| why.trim().to_owned()))
        .unwrap_or_else(|| format!("no sample of {metric} in this phase"))
}

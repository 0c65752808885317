//! Send lag: how late the generator itself sent.

use protocol::v1;
use series::Hist;

use crate::phases::real;
use crate::summary::{LagStep, Percentiles, SendLag, Summary};

/// Upper ends of the steps that are shown, microseconds: from what an idle machine shows to what spoils a run.
const STEPS_US: [u64; 11] = [20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000];

/// The send lag of a phase.
pub(crate) fn of_phase(series: &v1::PhaseSeries) -> SendLag {
    summary(&histogram(series))
}

/// The send lag of all phases: of all their operations together.
pub(crate) fn of_run(series: &v1::RunSeries) -> SendLag {
    let mut all = Hist::nanos();
    for phase in &series.phases {
        all.absorb(histogram(phase));
    }
    summary(&all)
}

/// When the send lag spoils a phase, in words, as its phases were judged.
pub fn rule(summary: &Summary) -> Option<&str> {
    let rules = summary.phases.iter().flat_map(|phase| &phase.validity);
    rules
        .filter(|rule| rule.name == "send lag")
        .map(|rule| rule.expected.as_str())
        .find(|text| !text.is_empty())
}

fn histogram(series: &v1::PhaseSeries) -> Hist {
    decoded(series.total.as_ref().and_then(|total| total.send_lag.as_ref()))
}

/// In nanoseconds. One that does not decode was counted by `metrics` when it came; here it only leaves its values out.
pub(crate) fn decoded(lag: Option<&v1::Histogram>) -> Hist {
    lag.filter(|lag| !lag.v2_deflate.is_empty())
        .and_then(|lag| Hist::decode(lag).ok())
        .unwrap_or_else(Hist::nanos)
}

fn summary(hist: &Hist) -> SendLag {
    SendLag { percentiles: percentiles(hist), histogram: steps(hist) }
}

/// Of nanoseconds, in microseconds.
pub(crate) fn percentiles(hist: &Hist) -> Percentiles {
    let at = |q: f64| hist.percentile(q).map(|ns| real(ns) / 1e3);
    Percentiles {
        count: hist.len(),
        mean: hist.mean().map(|ns| ns / 1e3),
        p50: at(50.0),
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        p999: at(99.9),
        max: at(100.0),
        clamped: hist.clamped(),
    }
}

fn steps(hist: &Hist) -> Vec<LagStep> {
    if hist.is_empty() {
        return Vec::new();
    }
    let below = hist.cumulative(&STEPS_US.map(|us| us * 1_000));
    let ends = STEPS_US.iter().map(|us| Some(*us)).chain([None]);
    let mut before = 0;
    let step = |(up_to_us, below): (Option<u64>, u64)| {
        let count = below - before;
        before = below;
        LagStep { up_to_us, count }
    };
    ends.zip(below.into_iter().chain([hist.len()])).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(values: &[(u64, u64)]) -> v1::PhaseSeries {
        let mut lag = Hist::nanos();
        values.iter().for_each(|(ns, n)| lag.record_n(*ns, *n));
        let total = v1::Aggregate { send_lag: Some(lag.encode()), ..v1::Aggregate::default() };
        v1::PhaseSeries { total: Some(total), ..v1::PhaseSeries::default() }
    }

    #[test]
    fn a_run_has_the_percentiles_of_all_operations_and_not_of_its_phases() {
        // 1 000 operations of 10 µs and ten of 3 ms: the mean of the two phases' p99 is 1.5 ms, the run's is 10 µs.
        let (calm, late) = (phase(&[(10_000, 990)]), phase(&[(3_000_000, 10)]));
        let run = of_run(&v1::RunSeries { phases: vec![calm, late, v1::PhaseSeries::default()] });
        let within = |seen: Option<f64>, us: f64| (seen.unwrap() / us - 1.0).abs() < 0.001;
        assert_eq!(run.percentiles.count, 1_000);
        assert!(within(run.percentiles.p50, 10.0) && within(run.percentiles.p99, 10.0), "{run:?}");
        assert!(within(run.percentiles.p999, 3_000.0) && within(run.percentiles.max, 3_000.0), "{run:?}");
    }

    #[test]
    fn each_operation_is_in_one_step_of_the_histogram() {
        let lag = of_phase(&phase(&[(0, 1), (19_000, 2), (21_000, 4), (4_900_000, 8), (2_000_000_000, 16)]));
        let filled: Vec<_> = lag.histogram.iter().filter(|s| s.count > 0).cloned().collect();
        let step = |up_to_us, count| LagStep { up_to_us, count };
        assert_eq!(filled, [step(Some(20), 3), step(Some(50), 4), step(Some(5_000), 8), step(None, 16)]);
        assert_eq!(lag.histogram.len(), STEPS_US.len() + 1);
        assert_eq!(of_phase(&v1::PhaseSeries::default()).histogram, []);
    }
}

//! Is every target healthy, and is every probe fresh? Both are asked of `metrics` together.

use std::time::Duration;

use plan::units::print_duration;
use protocol::v1;
use tokio::time::Instant;

use super::Unmet;
use crate::figures::{count, plain};
use crate::run::Context;

/// First and longest pause between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How long before the deadline metrics may have answered for the last time and still count as there.
const STILL_TRUE: Duration = Duration::from_secs(1);

/// A probe may be this many of its intervals old.
const FRESH_INTERVALS: u64 = 2;

type Answer = Result<String, Unmet>;

/// What the probes tell.
pub(super) struct Probes {
    /// Every target is healthy.
    pub(super) ready: Answer,
    /// Every probe is fresh.
    pub(super) fresh: Answer,
    /// `metrics` answered at all.
    pub(super) answered: bool,
}

/// Looks until both hold or the deadline has passed.
pub(super) async fn ready_and_fresh(ctx: &Context, deadline: Instant) -> Probes {
    let mut pause = FIRST_PAUSE;
    let mut answered: Option<(Instant, Probes)> = None;
    loop {
        let probes = tokio::time::timeout_at(deadline, ctx.metrics.probes()).await;
        let answers = match (probes, answered.take()) {
            (Ok(Ok(probes)), _) => {
                Probes { ready: targets_ready(ctx, &probes), fresh: all_fresh(ctx, &probes), answered: true }
            }
            (Ok(Err(error)), _) => unanswered(&error.to_string()),
            // The deadline cut this look short: what was seen right before it says more.
            (Err(_), Some((at, seen))) if deadline.duration_since(at) < STILL_TRUE => seen,
            (Err(_), _) => unanswered("metrics did not answer in time"),
        };
        if (answers.ready.is_ok() && answers.fresh.is_ok()) || Instant::now() + pause >= deadline {
            return answers;
        }
        answered = answers.answered.then(|| (Instant::now(), answers));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn unanswered(seen: &str) -> Probes {
    let mend = "see the log of metrics; start it again and run anew";
    let ready = Unmet::new("not known: the monitoring does not answer", mend);
    Probes { ready: Err(ready), fresh: Err(Unmet::new(seen, mend)), answered: false }
}

fn is_health(probe: &v1::ProbeState) -> bool {
    probe.probe.starts_with("health")
}

fn of_target(probes: &[v1::ProbeState], index: usize) -> impl Iterator<Item = &v1::ProbeState> {
    probes.iter().filter(move |probe| usize::try_from(probe.target) == Ok(index))
}

fn is_ready(probes: &[v1::ProbeState], index: usize) -> bool {
    of_target(probes, index).any(|probe| is_health(probe) && probe.healthy && probe.samples > 0)
}

fn targets_ready(ctx: &Context, probes: &[v1::ProbeState]) -> Answer {
    let mut down = Vec::new();
    for (index, target) in ctx.plan.targets.iter().enumerate() {
        if is_ready(probes, index) {
            continue;
        }
        let seen = of_target(probes, index).find(|probe| is_health(probe)).map_or_else(
            || "no health probe was made yet".to_owned(),
            |probe| {
                let error = if probe.error.is_empty() { "no answer yet" } else { &probe.error };
                format!("{}: {error}", probe.probe)
            },
        );
        down.push(format!("{}: {seen}", target.name));
    }
    if down.is_empty() {
        return Ok(format!("{} healthy", count(ctx.plan.targets.len(), "target")));
    }
    let waited = print_duration(ctx.plan.control.validate_timeout);
    let mend = format!(
        "start the target, correct `url` or `health` in `targets`, or raise `control.validate-timeout` ({waited})"
    );
    Err(Unmet::new(down.join("; "), mend))
}

fn all_fresh(ctx: &Context, probes: &[v1::ProbeState]) -> Answer {
    let name = |target: u32| {
        usize::try_from(target)
            .ok()
            .and_then(|index| ctx.plan.targets.get(index))
            .map_or("?", |target| &target.name)
    };
    let mut stale = Vec::new();
    let mut judged = 0;
    for probe in probes {
        // A target that is down is the other check's finding.
        if !is_ready(probes, usize::try_from(probe.target).unwrap_or(usize::MAX)) {
            continue;
        }
        judged += 1;
        let seen = match probe.age_ns {
            None => "no sample yet".to_owned(),
            Some(age) if age > FRESH_INTERVALS * probe.interval_ns => {
                format!("its newest sample is {} s old", plain(Duration::from_nanos(age).as_secs_f64()))
            }
            Some(_) => continue,
        };
        let error = if probe.error.is_empty() { String::new() } else { format!(" ({})", probe.error) };
        stale.push(format!("{}: {}: {seen}{error}", name(probe.target), probe.probe));
    }
    if probes.is_empty() {
        return Err(Unmet::new("metrics has no probe", "see the log of metrics"));
    }
    if stale.is_empty() {
        return Ok(format!("{} fresh", count(judged, "probe")));
    }
    let mend = "make what is probed answer, or correct `resources` and `metrics-url` of the target; a probe is fresh \
                for two of its intervals (`control.probe-interval`)";
    Err(Unmet::new(stale.join("; "), mend))
}

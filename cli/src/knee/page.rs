//! The page of a search, from what `knee.json` has.

use plan::threshold::{Check, Measure, Op};
use report::knee::{Mood, Page, Stage as Shown, Verdict};

use super::result::{Conclusion, Knee, Outcome, Stage};
use super::search::Found;
use super::{judge, show};

/// What the page shows.
pub(crate) fn of(knee: &Knee) -> Page {
    let conclusion = knee.conclusion.as_ref();
    Page {
        name: knee.name.clone(),
        gauntlet: knee.gauntlet.clone(),
        phase: knee.phase.clone(),
        connections: knee.connections,
        thresholds: knee.thresholds.clone(),
        limits_us: knee.thresholds.iter().filter_map(|text| limit_us(text)).collect(),
        stage_ms: knee.asked.stage_ms,
        confirm_ms: knee.asked.confirm_ms,
        precision: knee.asked.precision,
        least_sent: judge::ACHIEVED,
        lasted_ms: knee.lasted_ms,
        headline: show::headline(knee),
        mood: conclusion.map_or(Mood::Plain, mood),
        details: conclusion.map(|conclusion| show::details(knee, conclusion)).unwrap_or_default(),
        exit_code: conclusion.map(|conclusion| conclusion.exit_code),
        knee_per_second: conclusion.and_then(|conclusion| conclusion.knee_per_second),
        confidence: conclusion.and_then(|conclusion| Some(conclusion.confidence.as_ref()?.level.name())),
        kept_per_second: conclusion.and_then(|conclusion| conclusion.kept_per_second),
        failed_per_second: conclusion.and_then(|conclusion| conclusion.failed_per_second),
        stages: knee.stages.iter().map(shown).collect(),
    }
}

const fn mood(conclusion: &Conclusion) -> Mood {
    match conclusion.result {
        Outcome::Found | Outcome::NotReached => Mood::Good,
        Outcome::GeneratorLimit => Mood::Warn,
        Outcome::BelowStart | Outcome::Unconfirmed => Mood::Bad,
        Outcome::Ended => Mood::Plain,
    }
}

/// The limit of a threshold on the p99 of all requests, microseconds: others have no line in the chart.
fn limit_us(threshold: &str) -> Option<f64> {
    let check: Check = threshold.parse().ok()?;
    let of_p99 = check.measure == Measure::Latency { percentile: 99.0 };
    (of_p99 && matches!(check.op, Op::Less | Op::LessOrEqual)).then_some(check.limit)
}

fn shown(stage: &Stage) -> Shown {
    Shown {
        purpose: stage.purpose.name(),
        verdict: match stage.found {
            Found::Kept => Verdict::Kept,
            Found::Broken => Verdict::Broken,
            Found::Generator => Verdict::Generator,
        },
        why: stage.why.clone(),
        rate: stage.rate_per_second,
        achieved: stage.achieved_per_second,
        p50_us: stage.latency_p50_us,
        p95_us: stage.latency_p95_us,
        p99_us: stage.latency_p99_us,
        service_p99_us: stage.service_p99_us,
        queue_p99_us: stage.queue_p99_us,
        send_lag_p99_us: stage.send_lag_p99_us,
        error_share: stage.error_share,
        cool_down_ms: stage.cool_down_ms,
        report: format!("{}/report.html", stage.run),
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::tests::{knee, stage};
    use super::super::search::Purpose::{Again, Confirm, Rise};
    use super::*;

    #[test]
    fn the_page_says_what_the_terminal_says() {
        let mut found = knee(vec![
            stage(Rise, 100.0, Found::Kept),
            stage(Rise, 110.0, Found::Broken),
            stage(Again, 110.0, Found::Broken),
            stage(Confirm, 100.0, Found::Kept),
        ]);
        assert_eq!((of(&found).mood, of(&found).exit_code), (Mood::Plain, None));
        found.conclude(None);
        let page = of(&found);
        assert_eq!(page.headline, "knee 100/s, confidence high");
        assert_eq!(
            (page.mood, page.confidence, page.knee_per_second),
            (Mood::Good, Some("high"), Some(100.0))
        );
        assert_eq!((page.failed_per_second, page.exit_code), (Some(110.0), Some(0)));
        assert_eq!(page.stages[1].verdict, Verdict::Broken);
        assert_eq!(page.stages[3].report, "run-at-100/report.html");
        let text = show::ending(&found);
        assert!(page.details.iter().all(|(_, line)| text.contains(line)), "{text}");
    }

    #[test]
    fn only_limits_of_the_p99_of_everything_have_a_line() {
        let limits =
            ["p(99) < 50ms", "p(99) <= 2s", "p(95) < 10ms", "error_rate < 1%", "p(99) < 1s, step home"];
        assert_eq!(limits.map(limit_us), [Some(50_000.0), Some(2_000_000.0), None, None, None]);
    }
}

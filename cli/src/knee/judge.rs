//! How a stage came out, from the summary of its run.

use plan::model::Validity;
use protocol::event::{Entry, Event};
use report::figures::{count, percent, round_percent};
use report::summary::{Arrivals, Check, PhaseSummary, Summary};
use scheduler::verdict::code;

use super::search::Found;

/// A stage is kept only if at least this share of its arrivals was sent within it. What waits for a target that is slow is
/// not in its latencies yet.
pub(crate) const ACHIEVED: f64 = 0.99;

/// How a stage came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It was measured.
    Judged {
        found: Found,
        /// What failed, with its figures; empty when it was kept.
        why: Vec<String>,
    },
    /// It ended the search, with this exit code.
    Ended { code: u8, why: Vec<String> },
}

/// Judges a stage.
pub(crate) fn judge(rules: &Validity, summary: &Summary, history: &[Entry]) -> Came {
    let exit_code = summary.exit_code.unwrap_or(code::BUG);
    let measured = matches!(exit_code, code::PASSED | code::INVALID | code::FAILED);
    let Some(phase) = summary.phases.first().filter(|_| measured) else {
        return Came::Ended { code: exit_code, why: summary.reasons.clone() };
    };
    if let Some(by) = steered(history) {
        let why = vec![format!("the load of a stage was changed ({by}): it says nothing of its rate")];
        return Came::Ended { code: code::ABORTED, why };
    }
    let invalid = invalid(rules, phase);
    if !invalid.is_empty() {
        return Came::Judged { found: Found::Generator, why: invalid };
    }
    let mut broken: Vec<String> =
        summary.thresholds.iter().chain(&phase.thresholds).filter_map(broken).collect();
    if let Some((found, short)) = short(&phase.arrivals) {
        if found == Found::Generator {
            return Came::Judged { found, why: vec![short] };
        }
        broken.push(short);
    }
    let found = if broken.is_empty() { Found::Kept } else { Found::Broken };
    Came::Judged { found, why: broken }
}

/// Whether every threshold of a run held, whatever else is to be said of it.
pub(crate) fn thresholds_held(summary: &Summary) -> bool {
    let phases = summary.phases.iter().flat_map(|phase| &phase.thresholds);
    !summary.phases.is_empty() && summary.thresholds.iter().chain(phases).all(|check| check.result == "pass")
}

/// Whoever changed the load of a stage, and how.
fn steered(history: &[Entry]) -> Option<String> {
    history.iter().find_map(|entry| match &entry.event {
        Event::LoadChanged { change, by, .. } => Some(format!("{change}, asked by {by}")),
        Event::PhaseEnded { decision, reason, .. } if decision == "skipped" => Some(reason.clone()),
        _ => None,
    })
}

/// The rules on the generator that do not hold, as far as the plan wants them judged.
fn invalid(rules: &Validity, phase: &PhaseSummary) -> Vec<String> {
    if !rules.judge {
        return Vec::new();
    }
    let failed: Vec<String> = phase
        .validity
        .iter()
        .filter(|rule| rule.result == "fail")
        .map(|rule| format!("{}: {}, expected {}", rule.name, rule.seen, rule.expected))
        .collect();
    let judged = phase.validity.iter().any(|rule| rule.result == "pass");
    if !failed.is_empty() || judged || phase.arrivals.scheduled == 0 {
        return failed;
    }
    let reasons = phase.validity.iter().filter_map(|rule| rule.reason.clone());
    vec![
        reasons.take(1).fold("the measurement could not be judged".to_owned(), |text, reason| {
            format!("{text}: {reason}")
        }),
    ]
}

/// A threshold that does not hold. One that could not be evaluated does not either.
fn broken(check: &Check) -> Option<String> {
    match check.result.as_str() {
        "pass" => None,
        "fail" => Some(format!("{}: seen {}", check.name, check.seen)),
        _ => {
            let reason = check.reason.as_deref().unwrap_or("no reason is known");
            Some(format!("{}: not evaluable: {reason}", check.name))
        }
    }
}

/// Whether too little was sent, and whose fault that is.
#[expect(clippy::cast_precision_loss, reason = "counts of a stage are far below 2^53")]
fn short(arrivals: &Arrivals) -> Option<(Found, String)> {
    let Arrivals { scheduled, started, dropped_by_generator, .. } = *arrivals;
    // One may be due in the stage's last instant.
    if (started + 1) as f64 >= ACHIEVED * scheduled as f64 {
        return None;
    }
    let missing = scheduled - started.min(scheduled);
    let share = started as f64 / scheduled as f64;
    let text = format!(
        "sent {} of the arrivals ({} of {}), expected at least {}",
        percent(share),
        count(started),
        count(scheduled),
        round_percent(ACHIEVED)
    );
    let found = if dropped_by_generator * 2 >= missing { Found::Generator } else { Found::Broken };
    Some((found, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, result: &str, reason: Option<&str>) -> Check {
        Check {
            name: name.to_owned(),
            expected: "≤ 1".to_owned(),
            seen: "2".to_owned(),
            result: result.to_owned(),
            reason: reason.map(str::to_owned),
        }
    }

    fn summary(exit_code: u8, thresholds: Vec<Check>, phase: PhaseSummary) -> Summary {
        let plan = "targets.a.url = \"http://a\"\nscenarios = [{ guest = \"http\" }]\n";
        let plan = plan::parse(plan, std::path::Path::new("a.toml")).unwrap();
        let data = report::RunData {
            run: String::new(),
            plan,
            history: Vec::new(),
            series: protocol::v1::RunSeries::default(),
        };
        let mut summary = Summary::new(&data);
        (summary.exit_code, summary.thresholds, summary.phases) = (Some(exit_code), thresholds, vec![phase]);
        summary.reasons = vec!["a reason".to_owned()];
        summary
    }

    fn phase(started: u64, dropped_by_generator: u64, rule: &str) -> PhaseSummary {
        PhaseSummary {
            arrivals: Arrivals { scheduled: 1_000, started, dropped_by_generator, ..Arrivals::default() },
            validity: vec![check("send lag", rule, Some("a load-worker was lost"))],
            ..PhaseSummary::default()
        }
    }

    fn found(exit_code: u8, thresholds: Vec<Check>, phase: PhaseSummary) -> (Found, Vec<String>) {
        match judge(&Validity::default(), &summary(exit_code, thresholds, phase), &[]) {
            Came::Judged { found, why } => (found, why),
            Came::Ended { .. } => panic!("it was measured"),
        }
    }

    #[test]
    fn kept_is_what_holds_in_a_valid_measurement_at_the_wanted_rate() {
        let good = || vec![check("p(99) < 50ms", "pass", None)];
        assert_eq!(found(0, good(), phase(1_000, 0, "pass")), (Found::Kept, vec![]));
        assert_eq!(found(0, good(), phase(990, 0, "pass")).0, Found::Kept);
        let (short, why) = found(0, good(), phase(900, 0, "pass"));
        assert_eq!(short, Found::Broken);
        assert_eq!(why, ["sent 90.0 % of the arrivals (900 of 1\u{202f}000), expected at least 99 %"]);
        assert_eq!(found(0, good(), phase(900, 80, "pass")).0, Found::Generator);
    }

    #[test]
    fn a_threshold_that_fails_or_cannot_be_evaluated_breaks_it() {
        let thresholds = vec![
            check("p(99) < 50ms", "fail", None),
            check("checks > 99%", "not-evaluable", Some("nothing was seen")),
        ];
        let (broken, why) = found(99, thresholds, phase(1_000, 0, "pass"));
        assert_eq!(broken, Found::Broken);
        assert_eq!(why, ["p(99) < 50ms: seen 2", "checks > 99%: not evaluable: nothing was seen"]);
    }

    #[test]
    fn a_measurement_that_is_not_valid_says_nothing_of_the_target() {
        let bad = || vec![check("p(99) < 50ms", "fail", None)];
        let (generator, why) = found(98, bad(), phase(1_000, 0, "fail"));
        assert_eq!((generator, why), (Found::Generator, vec!["send lag: 2, expected ≤ 1".to_owned()]));
        let (generator, why) = found(0, Vec::new(), phase(1_000, 0, "not-evaluable"));
        assert_eq!(generator, Found::Generator);
        assert_eq!(why, ["the measurement could not be judged: a load-worker was lost"]);
        // Unless the plan says that it is not to be judged.
        let rules = Validity { judge: false, ..Validity::default() };
        let came = judge(&rules, &summary(99, bad(), phase(1_000, 0, "fail")), &[]);
        assert!(matches!(came, Came::Judged { found: Found::Broken, .. }), "{came:?}");
    }

    #[test]
    fn what_is_no_measurement_ends_the_search() {
        for exit_code in [1, 2, 3, 96, 97, 130, 143] {
            let came =
                judge(&Validity::default(), &summary(exit_code, Vec::new(), phase(1_000, 0, "pass")), &[]);
            assert_eq!(came, Came::Ended { code: exit_code, why: vec!["a reason".to_owned()] });
        }
        let change =
            Event::LoadChanged { phase: 0, at_ms: 10, change: "rate 500".to_owned(), by: "cli".to_owned() };
        let history = [Entry { sequence: 1, at_unix_ns: 0, producer: "scheduler".to_owned(), event: change }];
        let came = judge(&Validity::default(), &summary(0, Vec::new(), phase(1_000, 0, "pass")), &history);
        let Came::Ended { code: 96, why } = came else { panic!("{came:?}") };
        assert!(why[0].contains("rate 500, asked by cli"), "{why:?}");
    }
}

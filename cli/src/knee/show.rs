//! What the terminal says of a search: before it, a line for each stage, and what was found.

use report::figures::{length, micros, percent, rate, round_length, round_percent};

use super::asked::{Bound, ms};
use super::result::{Conclusion, Confidence, Knee, Outcome, Stage};
use super::search::{self, Found};
use crate::table;

/// What is searched, and how long it may take.
pub(crate) fn beginning(knee: &Knee, bound: &Bound) -> String {
    let asked = &knee.asked;
    format!(
        "knee of {}: {}/s to {}/s, to {} · phase {}, {} connections\n  keeps {}\n  stages of {}, confirmed for {}: at most {} and {} \
         of them, {} of load, usually about half of it\n  over after {} at the latest, should the target need {} after each of them\n",
        knee.name,
        rate(asked.start_per_second),
        rate(asked.max_per_second),
        round_percent(asked.precision),
        knee.phase,
        knee.connections,
        knee.thresholds.join(", "),
        round_length(asked.stage_ms),
        round_length(asked.confirm_ms),
        bound.stages,
        bound.confirmations,
        length(ms(bound.load)),
        length(ms(bound.all)),
        round_length(asked.cool_down_ms),
    )
}

/// The columns of stages with their widths on lines that come one by one; all but the words to the right.
const COLUMNS: [(&str, usize); 9] = [
    ("#", 3),
    ("stage", 7),
    ("rate/s", 9),
    ("found", 9),
    ("p50", 8),
    ("p99", 8),
    ("queue p99", 9),
    ("errors", 7),
    ("why", 0),
];
/// Which of them are words.
const WORDS: [usize; 3] = [1, 3, 8];

/// The head over the stages.
pub(crate) fn head() -> String {
    padded(&COLUMNS.map(|(name, _)| name.to_owned()))
}

/// A stage on a line.
pub(crate) fn line(number: usize, stage: &Stage) -> String {
    padded(&cells(number, stage))
}

fn padded(cells: &[String; COLUMNS.len()]) -> String {
    let cell = |(at, text): (usize, &String)| {
        let gap = " ".repeat(COLUMNS[at].1.saturating_sub(text.chars().count()));
        if WORDS.contains(&at) { format!("{text}{gap}") } else { format!("{gap}{text}") }
    };
    let cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
    cells.join("  ").trim_end().to_owned()
}

fn cells(number: usize, stage: &Stage) -> [String; COLUMNS.len()] {
    [
        number.to_string(),
        stage.purpose.name().to_owned(),
        rate(stage.rate_per_second),
        word(stage.found).to_owned(),
        time(stage.latency_p50_us),
        time(stage.latency_p99_us),
        time(stage.queue_p99_us),
        percent(stage.error_share),
        match stage.why.as_slice() {
            [first, others @ ..] if !others.is_empty() => format!("{first}; and {} more", others.len()),
            why => why.concat(),
        },
    ]
}

const fn word(found: Found) -> &'static str {
    match found {
        Found::Kept => "kept",
        Found::Broken => "broken",
        Found::Generator => "generator",
    }
}

fn time(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), micros)
}

/// A search without a conclusion.
const NOT_ENDED: &str = "the search has not ended, or was killed";

/// What came of a search, in a sentence.
pub(crate) fn headline(knee: &Knee) -> String {
    knee.conclusion.as_ref().map_or_else(|| NOT_ENDED.to_owned(), |conclusion| title(knee, conclusion))
}

/// What came of a search: the result, how far it can be trusted, and all stages by rate.
pub(crate) fn ending(knee: &Knee) -> String {
    let mut text = match &knee.conclusion {
        Some(conclusion) => format!(
            "\n{}: {} (exit code {}) · {} in {}\n{}",
            knee.name,
            title(knee, conclusion),
            conclusion.exit_code,
            counted(knee.stages.len(), "stage"),
            length(knee.lasted_ms),
            listed(&details(knee, conclusion))
        ),
        None => format!("\n{}: {NOT_ENDED}\n", knee.name),
    };
    if !knee.stages.is_empty() {
        let mut stages: Vec<(usize, &Stage)> =
            knee.stages.iter().enumerate().map(|(at, stage)| (at + 1, stage)).collect();
        stages.sort_by(|(_, a), (_, b)| a.rate_per_second.total_cmp(&b.rate_per_second));
        let rows: Vec<Vec<String>> = stages.iter().map(|(number, stage)| row(*number, stage)).collect();
        text.push_str("\nall stages, by rate\n");
        text.push_str(&table::render(&HEAD, &rows));
    }
    text.push('\n');
    text
}

const HEAD: [&str; 13] = [
    "found",
    "#",
    "wanted/s",
    "time",
    "achieved/s",
    "p50",
    "p95",
    "p99",
    "service p99",
    "queue p99",
    "errors",
    "dropped",
    "send lag p99",
];

fn row(number: usize, stage: &Stage) -> Vec<String> {
    vec![
        word(stage.found).to_owned(),
        number.to_string(),
        rate(stage.rate_per_second),
        length(stage.lasted_ms),
        rate(stage.achieved_per_second),
        time(stage.latency_p50_us),
        time(stage.latency_p95_us),
        time(stage.latency_p99_us),
        time(stage.service_p99_us),
        time(stage.queue_p99_us),
        percent(stage.error_share),
        report::figures::count(stage.dropped),
        time(stage.send_lag_p99_us),
    ]
}

/// A search in the list of runs: what came of it, exit code, length, and the phase.
pub(crate) fn row_of_list(knee: &Knee) -> Vec<String> {
    let (verdict, code) = match &knee.conclusion {
        Some(Conclusion { knee_per_second: Some(found), exit_code, .. }) => {
            (format!("knee {}/s", rate(*found)), exit_code.to_string())
        }
        Some(Conclusion { exit_code, .. }) => ("no knee".to_owned(), exit_code.to_string()),
        None => ("not ended".to_owned(), "–".to_owned()),
    };
    vec![verdict, code, length(knee.lasted_ms), counted(knee.stages.len(), "stage")]
}

fn title(knee: &Knee, conclusion: &Conclusion) -> String {
    let at =
        |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{}/s", rate(value)));
    let found = at(conclusion.knee_per_second);
    let confidence = conclusion
        .confidence
        .as_ref()
        .map_or_else(String::new, |confidence| format!(", confidence {}", confidence.level.name()));
    match conclusion.result {
        Outcome::Found => format!("knee {found}{confidence}"),
        Outcome::NotReached => {
            format!("knee not reached: {found}, the highest rate asked for, is kept{confidence}")
        }
        Outcome::BelowStart => {
            format!("no knee: {}, the first rate, is not kept", at(conclusion.failed_per_second))
        }
        Outcome::Unconfirmed => {
            format!("no knee: no rate was kept for {}", round_length(knee.asked.confirm_ms))
        }
        Outcome::GeneratorLimit => match conclusion.knee_per_second.or(conclusion.kept_per_second) {
            Some(kept) => {
                format!("the load generator's limit, not the target's: the knee is {}/s or more", rate(kept))
            }
            None => format!(
                "the load generator's limit, not the target's: {} cannot be measured",
                at(conclusion.failed_per_second)
            ),
        },
        Outcome::Ended => "ended before a knee was found".to_owned(),
    }
}

/// What there is to say beside the result, each with a word before it.
pub(crate) fn details(knee: &Knee, conclusion: &Conclusion) -> Vec<(&'static str, String)> {
    let mut lines: Vec<(&'static str, String)> = Vec::new();
    if conclusion.result == Outcome::Ended {
        lines.extend(conclusion.why.iter().map(|why| ("because", why.clone())));
    }
    if let Some(kept) = conclusion.knee_per_second.or(conclusion.kept_per_second)
        && let Some(stage) =
            knee.stages.iter().rfind(|stage| stage.rate_per_second == kept && stage.found == Found::Kept)
    {
        lines.push((
            "kept",
            format!(
                "{}/s for {}: p50 {}, p99 {}, errors {}",
                rate(kept),
                length(stage.lasted_ms),
                time(stage.latency_p50_us),
                time(stage.latency_p99_us),
                percent(stage.error_share)
            ),
        ));
    }
    if let Some(failed) = conclusion.failed_per_second {
        let gap = conclusion.confidence.as_ref().and_then(|confidence| confidence.gap);
        let above = gap.map_or_else(String::new, |gap| format!(", {} above", percent(gap)));
        // What ended the search stands above; what a stage said of its rate is another thing.
        let why = match conclusion.result {
            Outcome::Ended => not_kept(knee, failed).map(|stage| stage.why.clone()).unwrap_or_default(),
            _ => conclusion.why.clone(),
        };
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
        lines.push(("failed", format!("{}/s{above}{why}", rate(failed))));
        lines.extend(queued(knee, failed).map(|text| ("note", text)));
    }
    if let Some(confidence) = &conclusion.confidence {
        lines.push(("trust", trust(knee, confidence)));
    }
    lines.extend(mend(knee, conclusion).map(|text| ("mend", text)));
    lines
}

fn listed(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(what, text)| format!("  {what:<8} {text}\n")).collect()
}

/// The first stage at this rate that was not kept.
fn not_kept(knee: &Knee, rate: f64) -> Option<&Stage> {
    knee.stages.iter().find(|stage| stage.rate_per_second == rate && stage.found != Found::Kept)
}

/// Says so where most of the latency that broke a stage was waiting for a connection.
fn queued(knee: &Knee, failed: f64) -> Option<String> {
    let stage = not_kept(knee, failed).filter(|stage| stage.found == Found::Broken)?;
    let (latency, queue) = (stage.latency_p99_us?, stage.queue_p99_us?);
    (queue > latency / 2.0).then(|| {
        format!(
            "there most of the p99 was waiting for one of {} connections: with more (--connections) the target sees more at once",
            knee.connections
        )
    })
}

fn trust(knee: &Knee, confidence: &Confidence) -> String {
    let mut text = format!(
        "at or below it {} kept and {} broken; above it {} not kept",
        counted(confidence.kept_at_or_below, "stage"),
        confidence.failed_at_or_below,
        counted(confidence.failed_above, "stage")
    );
    text.push_str(&match confidence.failed_confirmations {
        0 => "; confirmed at the first attempt".to_owned(),
        failed => format!("; {} at higher rates failed first", counted(failed, "confirming stage")),
    });
    for (broken, kept) in &confidence.contradictions {
        let at = |number: &usize| {
            number
                .checked_sub(1)
                .and_then(|at| knee.stages.get(at))
                .map_or_else(|| "?".to_owned(), |stage| format!("{}/s", rate(stage.rate_per_second)))
        };
        text.push_str(&format!(
            "; not monotonic: stage {broken} failed at {}, stage {kept} kept {}",
            at(broken),
            at(kept)
        ));
    }
    text
}

fn mend(knee: &Knee, conclusion: &Conclusion) -> Option<String> {
    match conclusion.result {
        Outcome::NotReached => Some("search higher with --max".to_owned()),
        Outcome::BelowStart => Some("start lower with --start, or loosen the thresholds".to_owned()),
        Outcome::GeneratorLimit
            if conclusion
                .failed_per_second
                .is_some_and(|failed| search::measured_above(&knee.tried(), failed)) =>
        {
            Some("a higher rate could be measured, so the generator was disturbed: see what else runs on its machine, and search again".to_owned())
        }
        Outcome::GeneratorLimit => Some(
            "give the generator more: cores of its own, `load.threads`, or load-workers on other machines (--nats)".to_owned(),
        ),
        Outcome::Unconfirmed => {
            Some("what it keeps for a while only is no knee: look at the longer stages, or search with a longer --stage".to_owned())
        }
        Outcome::Found | Outcome::Ended => None,
    }
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::result::tests::{knee, stage};
    use super::super::search::Purpose::{Again, Confirm, Narrow, Rise};
    use super::*;
    use Found::{Broken, Generator, Kept};

    #[test]
    fn what_is_found_reads_well() {
        let mut found = knee(vec![
            stage(Rise, 100.0, Kept),
            stage(Rise, 200.0, Broken),
            stage(Again, 200.0, Broken),
            stage(Narrow, 190.0, Kept),
            stage(Confirm, 190.0, Kept),
        ]);
        found.conclude(None);
        let text = ending(&found);
        for part in [
            "shop: knee 190/s, confidence high (exit code 0) · 5 stages in 1 min 21 s\n",
            "  kept     190/s for 10 s: p50 5.00 ms, p99 7.00 ms, errors 0 %\n",
            "  failed   200/s, 5.3 % above: p(99) < 50ms: seen 200 ms\n",
            "  trust    at or below it 3 stages kept and 0 broken; above it 2 stages not kept; confirmed at the first attempt\n",
            "all stages, by rate\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let before = beginning(&found, &found.asked.bound(Duration::from_secs(10)));
        assert!(before.contains("knee of shop: 10.0/s to 1\u{202f}000/s, to 10 % · phase heavy"), "{before}");
        assert_eq!(
            line(2, &found.stages[1]),
            "  2  rise           200  broken      5.00 ms         –      20 µs      0 %  p(99) < 50ms: seen 200 ms"
        );
        let title: Vec<&str> = head().split_whitespace().map(|_| "").collect();
        assert_eq!(title.len(), 10, "{}", head());
    }

    #[test]
    fn whose_limit_it_was_is_said() {
        let mut limited = knee(vec![
            stage(Rise, 100.0, Kept),
            stage(Rise, 105.0, Generator),
            stage(Again, 105.0, Generator),
            stage(Confirm, 100.0, Kept),
        ]);
        limited.conclude(None);
        let text = ending(&limited);
        assert!(
            text.contains("the load generator's limit, not the target's: the knee is 100/s or more"),
            "{text}"
        );
        assert!(text.contains("send lag: p99 105 ms") && text.contains("load.threads"), "{text}");
    }

    #[test]
    fn stages_that_contradict_each_other_are_named() {
        let mut odd = knee(vec![
            stage(Rise, 100.0, Broken),
            stage(Again, 100.0, Kept),
            stage(Rise, 1_000.0, Kept),
            stage(Confirm, 1_000.0, Kept),
        ]);
        odd.conclude(None);
        let text = ending(&odd);
        assert!(text.contains("confidence low") && text.contains("knee not reached"), "{text}");
        assert!(text.contains("not monotonic: stage 1 failed at 100/s, stage 2 kept 100/s"), "{text}");
    }

    #[test]
    fn an_end_without_a_knee_says_why_and_what_was_kept() {
        let mut ended = knee(vec![stage(Rise, 100.0, Kept)]);
        ended.conclude(Some((130, vec!["stopped by signal SIGINT".to_owned()])));
        let text = ending(&ended);
        assert!(text.contains("ended before a knee was found (exit code 130) · 1 stage in"), "{text}");
        assert!(text.contains("  because  stopped by signal SIGINT\n  kept     100/s for 10 s"), "{text}");
        let killed = knee(vec![stage(Rise, 100.0, Kept)]);
        assert!(ending(&killed).contains("was killed"), "{}", ending(&killed));
    }
}

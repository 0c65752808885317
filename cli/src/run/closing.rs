//! The end of a run: the report is written, and the terminal says what came of it.

use std::io::IsTerminal as _;

use protocol::event::Entry;
use protocol::id::RunId;
use protocol::v1;
use report::figures::{count, length, micros, percent, rate};
use report::summary::{Check, PhaseSummary, SendLag, Summary};
use report::{RunData, write_all};
use scheduler::verdict::code;

use super::Prepared;
use super::services::Services;
use crate::failure::Failure;
use crate::run_dir::RunDir;
use crate::{output, table};

/// What became of a report.
pub(crate) struct Reported {
    pub(crate) summary: Summary,
    /// Whether its files are there.
    pub(crate) written: bool,
    /// Why the series could not be had or a file not be written.
    pub(crate) problem: Option<Failure>,
}

/// Writes the report of a run into its directory, as far as it goes.
pub(crate) async fn write(
    prepared: &Prepared,
    run: RunId,
    history: Vec<Entry>,
    services: &Services,
    dir: &RunDir,
) -> Reported {
    let series = services.ask(&v1::QueryRun { run: run.to_bytes(), phase: None }).await;
    let (series, problem) = match series {
        Ok(series) => (series, None),
        // A run that ended before its first phase has no series.
        Err(_) if !history.iter().any(has_series) => (v1::RunSeries::default(), None),
        Err(failure) => (v1::RunSeries::default(), Some(failure)),
    };
    let data = RunData { run: run.to_string(), plan: prepared.plan.clone(), history, series };
    match dir.keep(&data.series).and_then(|()| Ok(write_all(dir.path(), &data)?)) {
        Ok(summary) => Reported { summary, written: true, problem },
        Err(failure) => Reported { summary: Summary::new(&data), written: false, problem: Some(failure) },
    }
}

/// Prints the verdict.
///
/// # Errors
/// When it cannot be written as JSON: a defect.
pub(super) fn show(json: bool, summary: &Summary, dir: &RunDir, written: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(summary).map_err(|error| Failure::bug(error.to_string()))?;
        output::line(&text);
    } else {
        output::print(&closing_table(summary));
    }
    if written {
        let place = format!("report: {}", dir.path().join("report.html").display());
        if json { output::note(&place) } else { output::line(&place) }
    }
    note_reasons(json, summary.exit_code.unwrap_or(code::BUG), &summary.reasons);
    Ok(())
}

/// Whoever reads only the errors must find the reasons, too; on one terminal they stand in the table already.
pub(crate) fn note_reasons(json: bool, exit_code: u8, reasons: &[String]) {
    let one_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    if exit_code != code::PASSED && (json || !one_terminal) {
        reasons.iter().for_each(|reason| output::note(reason));
    }
}

fn has_series(entry: &Entry) -> bool {
    matches!(entry.event, protocol::event::Event::PhaseStarted { .. })
}

/// Verdict, table of phases, thresholds and reasons.
pub(crate) fn closing_table(summary: &Summary) -> String {
    let verdict = summary.verdict.as_deref().unwrap_or("none: the run did not end");
    let code = summary.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
    let objectives = summary.objectives;
    let mut text = format!(
        "\n{}: {verdict}{code} · {} · objectives: {} passed, {} failed, {} not evaluable\n",
        summary.name,
        length(summary.lasted_ms),
        objectives.passed,
        objectives.failed,
        objectives.not_evaluable
    );
    for reason in &summary.reasons {
        text.push_str(&format!("  because {reason}\n"));
    }
    if !summary.phases.is_empty() {
        let rows: Vec<Vec<String>> = summary.phases.iter().map(row).collect();
        text.push('\n');
        text.push_str(&table::render(&HEAD, &rows));
    }
    text.push_str(&send_lag(summary));
    text.push_str(&load_workers(summary));
    text.push_str(&super::broken::closing(summary));
    let scoped = summary
        .phases
        .iter()
        .flat_map(|phase| phase.thresholds.iter().map(move |check| (format!("{}: ", phase.name), check)));
    let thresholds: Vec<(String, &Check)> =
        summary.thresholds.iter().map(|check| (String::new(), check)).chain(scoped).collect();
    if !thresholds.is_empty() {
        text.push_str("\nthresholds\n");
        for (scope, check) in thresholds {
            let why = check.reason.as_ref().map_or_else(String::new, |reason| format!(", {reason}"));
            let seen = if check.seen.is_empty() { "nothing" } else { &check.seen };
            text.push_str(&format!("  {} {scope}{}  seen: {seen}{why}\n", mark(check), check.name));
        }
    }
    let missed = summary.phases.iter().flat_map(|phase| {
        phase.objectives.iter().filter(|check| check.result == "fail").map(move |check| (&phase.name, check))
    });
    for (index, (phase, check)) in missed.enumerate() {
        text.push_str(if index == 0 { "\nobjectives missed\n" } else { "" });
        text.push_str(&format!("  ✗ {phase}: {}  seen: {}\n", check.name, check.seen));
    }
    text.push('\n');
    text
}

const HEAD: [&str; 12] = [
    "phase",
    "time",
    "wanted/s",
    "achieved/s",
    "p50",
    "p95",
    "p99",
    "service p99",
    "queue p99",
    "errors",
    "dropped",
    "objectives",
];

fn row(phase: &PhaseSummary) -> Vec<String> {
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), micros);
    let loaded = phase.arrivals.scheduled > 0;
    vec![
        phase.name.clone(),
        length(phase.lasted_ms),
        rate(phase.wanted_rate),
        rate(phase.achieved_rate),
        time(phase.latency.p50),
        time(phase.latency.p95),
        time(phase.latency.p99),
        time(phase.service.p99),
        time(phase.queue.p99),
        if loaded { percent(phase.error_share) } else { "–".to_owned() },
        if loaded { count(phase.arrivals.dropped) } else { "–".to_owned() },
        phase.objectives.iter().map(mark).collect(),
    ]
}

/// How late the generator itself sent; nothing where nothing was sent.
fn send_lag(summary: &Summary) -> String {
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), micros);
    let cells = |name: &str, lag: &SendLag, mark: String| {
        let of = &lag.percentiles;
        vec![name.to_owned(), time(of.p50), time(of.p99), time(of.p999), time(of.max), mark]
    };
    let sent = summary.phases.iter().filter(|phase| phase.send_lag.percentiles.count > 0);
    let mut rows: Vec<Vec<String>> = sent
        .map(|phase| {
            let rules = phase.validity.iter().filter(|rule| rule.name == "send lag");
            cells(&phase.name, &phase.send_lag, rules.map(mark).collect())
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    if rows.len() > 1 {
        rows.push(cells("all phases", &summary.send_lag, String::new()));
    }
    let rule = report::lag::rule(summary).map_or_else(String::new, |rule| {
        format!("rule: {rule}; a phase that breaks it (✗) says nothing of the target\n")
    });
    format!(
        "\nsend lag: how late the generator itself sent what was due and had a user and a connection\n{rule}{}",
        table::render(&["phase", "p50", "p99", "p99.9", "max", "rule"], &rows)
    )
}

/// How the load was divided, where there was anything to divide.
fn load_workers(summary: &Summary) -> String {
    if summary.workers.len() < 2 {
        return String::new();
    }
    let rows: Vec<Vec<String>> = summary
        .workers
        .iter()
        .map(|worker| {
            let set = if worker.weight_set { " (set)" } else { "" };
            vec![
                worker.worker.clone(),
                worker.weight.map_or_else(|| "–".to_owned(), |weight| format!("{weight}{set}")),
                worker.share.map_or_else(|| "–".to_owned(), percent),
                count(worker.started),
                percent(worker.sent_share),
                worker.send_lag.p99.map_or_else(|| "–".to_owned(), micros),
            ]
        })
        .collect();
    format!(
        "\n{}",
        table::render(&["load-worker", "weight", "last share", "sent", "of all sent", "send lag p99"], &rows)
    )
}

/// ✓ pass, ✗ fail, – not evaluable.
fn mark(check: &Check) -> char {
    match check.result.as_str() {
        "pass" => '✓',
        "fail" => '✗',
        _ => '–',
    }
}

//! What came of all rounds: middle values with their spread, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::cases::Case;
use super::clients::{Client, Said};

/// One run of one client.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) said: Said,
    /// CPU seconds by what they are of, the one that is compared first.
    pub(super) cpu: Vec<(&'static str, f64)>,
    /// From its start to its end, seconds.
    pub(super) wall: f64,
    /// Bytes.
    pub(super) peak_memory: Option<u64>,
    /// CPU time that others used meanwhile, as a share of one core.
    pub(super) others: f64,
    pub(super) details: Value,
}

/// All runs of a client.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) client: Client,
    pub(super) name: String,
    /// One a round; absent where it failed.
    pub(super) runs: Vec<Option<Run>>,
    /// Why it failed.
    pub(super) failures: Vec<String>,
}

/// A middle value with its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of these; `None` when there are none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.get((values.len() - 1) / 2..=values.len() / 2)?;
        Some(Self { min, median: middle.iter().sum::<f64>() / middle.len() as f64, max })
    }

    pub(super) fn json(of: Option<Self>) -> Value {
        of.map_or(
            Value::Null,
            |Self { min, median, max }| json!({ "min": min, "median": median, "max": max }),
        )
    }

    pub(super) fn shown(of: Option<Self>, show: impl Fn(f64) -> String) -> String {
        of.map_or_else(
            || "–".to_owned(),
            |Self { min, median, max }| format!("{} ({}–{})", show(median), show(min), show(max)),
        )
    }
}

impl Row {
    /// A figure over all rounds in which there is one.
    pub(super) fn spread(&self, figure: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().flatten().filter_map(figure))
    }

    /// The figure as a multiple of the reference's in the same round.
    pub(super) fn ratio(
        &self,
        reference: &Self,
        figure: impl Fn(&Run) -> Option<f64>,
        to: impl Fn(&Run) -> Option<f64>,
    ) -> Option<Spread> {
        let pairs = self.runs.iter().zip(&reference.runs);
        Spread::of(
            pairs.filter_map(|(run, reference)| Some(figure(run.as_ref()?)? / to(reference.as_ref()?)?)),
        )
    }

    /// What its CPU seconds are of.
    fn bases(&self) -> Vec<&'static str> {
        let run = self.runs.iter().flatten().next();
        run.map(|run| run.cpu.iter().map(|(basis, _)| *basis).collect()).unwrap_or_default()
    }
}

fn per_cpu(run: &Run, basis: &str) -> Option<f64> {
    let (_, seconds) = run.cpu.iter().find(|(of, _)| *of == basis)?;
    (*seconds > 0.0).then(|| run.said.requests as f64 / seconds)
}

/// Requests of a second of that CPU time which is compared.
pub(super) fn first_per_cpu(run: &Run) -> Option<f64> {
    per_cpu(run, run.cpu.first()?.0)
}

/// Microseconds.
pub(super) fn lag_p99(run: &Run) -> Option<f64> {
    Some(run.said.pace.as_ref()?.lag_p99_us)
}

/// The table, for a terminal.
pub(super) fn table(case: Case, rows: &[Row]) -> String {
    let mut lines = match case {
        Case::Memory => memory(rows),
        _ if case.is_paced() => paced(case, rows),
        _ => closed(case, rows),
    };
    for row in rows {
        for failure in &row.failures {
            let _ = writeln!(lines, "{}: {failure}", row.name);
        }
        for (run, round) in row.runs.iter().zip(1..) {
            if let Some(why) = run.as_ref().and_then(not_passed) {
                let _ = writeln!(lines, "{}: round {round}: {why}", row.name);
            }
        }
    }
    lines
}

/// The verdict of a run of Gauntlet that did not pass, with its reasons: the rule on the generator that it broke, what was seen,
/// and where cores were too few, how many it takes.
pub(super) fn not_passed(run: &Run) -> Option<String> {
    let verdict = run.details["verdict"].as_str().filter(|verdict| *verdict != "passed")?;
    let reasons: Vec<_> =
        run.details["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    Some(format!("{verdict}: {}", reasons.join("; ")))
}

fn closed(case: Case, rows: &[Row]) -> String {
    let name = case.reference().name();
    let reference = rows.iter().find(|row| row.name == name);
    let mut text = format!(
        "{:<50} {:>26}  {:>19} {:>9} {:>9} {:>9} {:>8} {:>7} {:>7}\n",
        "client: CPU time of",
        "requests per CPU-second",
        format!("× {name}"),
        "req/s",
        "p50",
        "p99",
        "memory",
        "errors",
        "others"
    );
    for row in rows {
        for (index, basis) in row.bases().into_iter().enumerate() {
            let cost = Spread::shown(row.spread(|run| per_cpu(run, basis)), |value| format!("{value:.0}"));
            let ratio = reference.and_then(|to| row.ratio(to, |run| per_cpu(run, basis), first_per_cpu));
            let ratio = Spread::shown(ratio, times);
            let _ = write!(text, "{:<50} {cost:>26}  {ratio:>19}", format!("{}: {basis}", row.name));
            if index == 0 {
                let _ = write!(
                    text,
                    " {:>9} {:>9} {:>9} {:>8} {:>7} {:>7}",
                    middle(row, |run| Some(run.said.requests_per_second), |value| format!("{value:.0}")),
                    middle(row, |run| run.said.p50_us, micros),
                    middle(row, |run| run.said.p99_us, micros),
                    middle(row, |run| run.peak_memory.map(|bytes| bytes as f64), megabytes),
                    sum(row, |run| run.said.errors),
                    worst_others(row),
                );
            }
            text.push('\n');
        }
    }
    for row in rows {
        let guest = row.spread(|run| run.details["generator"]["guest_ns_per_request"].as_f64());
        if guest.is_some() {
            let shown = Spread::shown(guest, |nanos| format!("{nanos:.0}"));
            let _ = writeln!(text, "{}: {shown} ns a request in the guest, calls included", row.name);
        }
    }
    text
}

fn paced(case: Case, rows: &[Row]) -> String {
    let name = case.reference().name();
    let reference = rows.iter().find(|row| row.name == name);
    let mut text = format!(
        "{:<18} {:>10} {:>10} {:>8} {:>8} {:>30} {:>34} {:>12} {:>19} {:>12} {:>8} {:>7}  {}\n",
        "client",
        "sent",
        "of wanted",
        "dropped",
        "errors",
        "send lag p50",
        "send lag p99",
        "max",
        format!("p99 × {name}"),
        "req/CPU-s",
        "memory",
        "others",
        "verdicts"
    );
    for row in rows {
        let pace = |figure: fn(&super::clients::Pace) -> f64| {
            row.spread(move |run| run.said.pace.as_ref().map(figure))
        };
        let shown = |of: Option<Spread>| of.map_or_else(|| "–".to_owned(), |of| micros(of.median));
        let ratio = reference.and_then(|to| row.ratio(to, lag_p99, lag_p99));
        let share = pace(|pace| 100.0 * pace.sent as f64 / pace.wanted.max(1) as f64);
        let _ = writeln!(
            text,
            "{:<18} {:>10} {:>10} {:>8} {:>8} {:>30} {:>34} {:>12} {:>19} {:>12} {:>8} {:>7}  {}",
            row.name,
            sum(row, |run| run.said.pace.as_ref().map_or(0, |pace| pace.sent)),
            share.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", share.median)),
            sum(row, |run| run.said.pace.as_ref().map_or(0, |pace| pace.dropped)),
            sum(row, |run| run.said.errors),
            Spread::shown(pace(|pace| pace.lag_p50_us), micros),
            Spread::shown(pace(|pace| pace.lag_p99_us), micros),
            shown(pace(|pace| pace.lag_max_us)),
            Spread::shown(ratio, times),
            middle(row, first_per_cpu, |value| format!("{value:.0}")),
            middle(row, |run| run.peak_memory.map(|bytes| bytes as f64), megabytes),
            worst_others(row),
            verdicts(row),
        );
    }
    text
}

fn memory(rows: &[Row]) -> String {
    let mut text = format!("{:<22} {:>30} {:>9} {:>7}\n", "client", "peak memory", "req/s", "errors");
    let peak = |row: &Row| row.spread(|run| run.peak_memory.map(|bytes| bytes as f64));
    for row in rows {
        let _ = writeln!(
            text,
            "{:<22} {:>30} {:>9} {:>7}",
            row.name,
            Spread::shown(peak(row), megabytes),
            middle(row, |run| Some(run.said.requests_per_second), |value| format!("{value:.0}")),
            sum(row, |run| run.said.errors),
        );
    }
    if let [few, many] = rows
        && let Some(each) = few_to_many(few, many)
    {
        let _ = writeln!(text, "a further user: {:.1} KB", each / 1_000.0);
    }
    text
}

/// Bytes that a further user costs, by the middle values of two rows whose names begin with their numbers of users.
fn few_to_many(few: &Row, many: &Row) -> Option<f64> {
    let users = |row: &Row| row.name.split_whitespace().next()?.parse::<f64>().ok();
    let peak = |row: &Row| Some(row.spread(|run| run.peak_memory.map(|bytes| bytes as f64))?.median);
    Some((peak(many)? - peak(few)?) / (users(many)? - users(few)?))
}

fn verdicts(row: &Row) -> String {
    let verdicts: Vec<_> =
        row.runs.iter().flatten().filter_map(|run| run.details["verdict"].as_str()).collect();
    verdicts.join(" ")
}

fn middle(row: &Row, figure: impl Fn(&Run) -> Option<f64>, show: impl Fn(f64) -> String) -> String {
    row.spread(figure).map_or_else(|| "–".to_owned(), |spread| show(spread.median))
}

fn sum(row: &Row, count: impl Fn(&Run) -> u64) -> u64 {
    row.runs.iter().flatten().map(count).sum()
}

fn worst_others(row: &Row) -> String {
    row.spread(|run| Some(run.others)).map_or_else(|| "–".to_owned(), |of| format!("{:.0} %", 100.0 * of.max))
}

/// The largest share of a core that others used in any run.
pub(super) fn others(rows: &[Row]) -> f64 {
    rows.iter().filter_map(|row| row.spread(|run| Some(run.others))).fold(0.0, |most, of| most.max(of.max))
}

fn micros(value: f64) -> String {
    match value {
        value if value < 1_000.0 => format!("{value:.1} µs"),
        value if value < 1e6 => format!("{:.2} ms", value / 1e3),
        value => format!("{:.2} s", value / 1e6),
    }
}

/// A ratio: of one far below the other something is left to read.
pub(super) fn times(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

/// Everything, for machines.
pub(super) fn json(case: Case, rows: &[Row]) -> Value {
    let reference = rows.iter().find(|row| row.name == case.reference().name());
    let rows: Vec<_> = rows.iter().map(|row| row_json(row, reference)).collect();
    json!(rows)
}

fn row_json(row: &Row, reference: Option<&Row>) -> Value {
    let costs: Vec<_> = row
        .bases()
        .into_iter()
        .map(|basis| {
            let ratio = reference.and_then(|to| row.ratio(to, |run| per_cpu(run, basis), first_per_cpu));
            json!({
                "cpu_time_of": basis,
                "requests_per_cpu_second": Spread::json(row.spread(|run| per_cpu(run, basis))),
                "ratio_to_reference": Spread::json(ratio),
            })
        })
        .collect();
    let lag = reference.and_then(|to| row.ratio(to, lag_p99, lag_p99));
    let runs: Vec<_> = row.runs.iter().map(|run| run.as_ref().map_or(Value::Null, run_json)).collect();
    json!({
        "client": row.name,
        "costs": costs,
        "send_lag_p99_ratio_to_reference": Spread::json(lag),
        "requests_per_second": Spread::json(row.spread(|run| Some(run.said.requests_per_second))),
        "p50_us": Spread::json(row.spread(|run| run.said.p50_us)),
        "p99_us": Spread::json(row.spread(|run| run.said.p99_us)),
        "peak_memory_bytes": Spread::json(row.spread(|run| run.peak_memory.map(|bytes| bytes as f64))),
        "rounds": runs,
        "failures": row.failures,
    })
}

fn run_json(run: &Run) -> Value {
    let pace = run.said.pace.as_ref().map(|pace| {
        json!({
            "wanted": pace.wanted,
            "sent": pace.sent,
            "dropped": pace.dropped,
            "send_lag_p50_us": pace.lag_p50_us,
            "send_lag_p99_us": pace.lag_p99_us,
            "send_lag_max_us": pace.lag_max_us,
        })
    });
    let cpu: serde_json::Map<_, _> =
        run.cpu.iter().map(|(basis, seconds)| ((*basis).to_owned(), json!(seconds))).collect();
    json!({
        "requests": run.said.requests,
        "errors": run.said.errors,
        "requests_per_second": run.said.requests_per_second,
        "p50_us": run.said.p50_us,
        "p99_us": run.said.p99_us,
        "pace": pace,
        "cpu_seconds": cpu,
        "wall_seconds": run.wall,
        "peak_memory_bytes": run.peak_memory,
        "cpu_of_others_share_of_a_core": run.others,
        "details": run.details,
    })
}

#[cfg(test)]
mod tests {
    use super::super::clients::Pace;
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        let spread = Spread::of([4.0, 1.0, f64::NAN, 3.0, 2.0]);
        assert_eq!(spread, Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of([7.0]), Some(Spread { min: 7.0, median: 7.0, max: 7.0 }));
        assert_eq!(Spread::of([]), None);
    }

    fn run(said: Said, details: Value) -> Option<Run> {
        let cpu = vec![("process", 1.0)];
        Some(Run { said, cpu, wall: 1.0, peak_memory: None, others: 0.0, details })
    }

    fn row(client: Client, runs: Vec<Option<Run>>) -> Row {
        Row { client, name: client.name().to_owned(), runs, failures: vec![] }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let run = |requests| run(Said { requests, ..Said::default() }, Value::Null);
        let wrk = row(Client::Wrk, vec![run(100), run(50), None]);
        let ours = row(Client::GauntletStatus, vec![run(150), run(50), run(900)]);
        let ratio = ours.ratio(&wrk, first_per_cpu, first_per_cpu);
        assert_eq!(ratio, Some(Spread { min: 1.0, median: 1.25, max: 1.5 }));
        let text = table(Case::Closed, &[wrk, ours]);
        assert!(text.contains("1.25 (1.00–1.50)"), "{text}");
    }

    #[test]
    fn a_schedule_has_its_errors_shown_and_an_invalid_verdict_its_reasons() {
        let run = |dropped, errors, details| {
            let pace = Pace {
                wanted: 1_000,
                sent: 1_000 - dropped,
                dropped,
                lag_p50_us: 1.0,
                lag_p99_us: 10.0,
                lag_max_us: 100.0,
            };
            run(Said { requests: 1_000 - errors, errors, pace: Some(pace), ..Said::default() }, details)
        };
        let raw = row(Client::Raw, vec![run(0, 0, Value::Null), run(0, 0, Value::Null)]);
        let reason = "phase heavy: load thread busy: over 90 % for 12 s; 9/s would take 2 load threads";
        let invalid = json!({ "verdict": "invalid", "reasons": [reason] });
        let passed = json!({ "verdict": "passed", "reasons": [] });
        let ours = row(Client::GauntletStatus, vec![run(0, 3, passed), run(10, 14, invalid)]);
        let text = table(Case::Paced, &[raw, ours]);
        let cells = |line: usize| -> Vec<&str> {
            text.lines().nth(line).unwrap_or_default().split_whitespace().take(6).collect()
        };
        assert_eq!(cells(0), ["client", "sent", "of", "wanted", "dropped", "errors"], "{text}");
        assert_eq!(cells(1), ["raw", "2000", "100.00", "%", "0", "0"], "{text}");
        assert_eq!(cells(2), ["gauntlet-status", "1990", "99.50", "%", "10", "17"], "{text}");
        let told = text.lines().filter(|line| line.contains("round"));
        assert_eq!(told.collect::<Vec<_>>(), [format!("gauntlet-status: round 2: invalid: {reason}")]);
    }
}

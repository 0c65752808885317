//! The section "Faults and recovery": what was broken, what that did to the load, what was found and how it came back.

use serde::Serialize;

use super::timeline::Timeline;
use crate::faults::{Fate, FaultSummary, IncidentSummary, Stretch};
use crate::figures::{length, micros, percent, rate, round_length, round_percent};
use crate::phases::real;
use crate::summary::Summary;

/// What the section shows.
#[derive(Serialize)]
pub(super) struct Section {
    told: String,
    /// Faults that are not known to be undone.
    lasting: Vec<NotRun>,
    /// Faults that were not injected.
    not_run: Vec<NotRun>,
    score: String,
    mood: &'static str,
    coverage: String,
    formula: String,
    /// When steady state holds.
    steady: String,
    rows: Vec<Row>,
    incidents: Vec<Incident>,
    budgets: [String; 3],
    able: String,
    unable: Vec<String>,
    close_up: Option<Timeline>,
    /// Kinds of faults that were there, for the legend.
    kinds: Vec<&'static str>,
}

#[derive(Serialize)]
struct NotRun {
    fault: String,
    does: String,
    why: String,
}

#[derive(Serialize)]
struct Row {
    number: usize,
    fault: String,
    kind: String,
    does: String,
    place: String,
    when: Vec<String>,
    stretches: [Cell; 3],
    /// What recovery made of it.
    found: Vec<String>,
    undone: String,
    undone_well: bool,
    /// Name, result and what was seen, of each probe.
    probes: Vec<(String, String, String)>,
    points: String,
    /// Why points were lost, and whether the probe failed or could not be told.
    lost: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Cell {
    label: &'static str,
    /// Goodput as a share; absent when that cannot be told.
    share: Option<String>,
    /// `good`, `bad`, `unknown`.
    mood: &'static str,
    lines: Vec<String>,
    /// Why steady state cannot be told.
    why: Option<String>,
}

#[derive(Serialize)]
struct Incident {
    incident: String,
    what: String,
    seen: String,
    cause: String,
    /// Detection, recovery, validation: figure, and whether it is within its budget.
    figures: [(String, &'static str); 3],
    deeds: Vec<(String, bool)>,
    how: String,
    over: Vec<String>,
}

/// The section; none when nothing was planned, done or found.
pub(super) fn section(summary: &Summary, close_up: Option<Timeline>) -> Option<Section> {
    if summary.faults.is_empty() && summary.incidents.is_empty() && summary.capabilities.is_empty() {
        return None;
    }
    let numbered = || (1_usize..).zip(&summary.faults);
    let gone = |fault: &FaultSummary| matches!(fault.fate, Fate::Ended | Fate::Skipped | Fate::Planned);
    let told = |fault: &FaultSummary| NotRun {
        fault: fault.fault.clone(),
        does: fault.does.clone(),
        why: why(fault),
    };
    let budgets = summary.budgets;
    let resilience = &summary.resilience;
    let (able, unable): (Vec<_>, Vec<_>) =
        summary.capabilities.iter().partition(|capability| capability.available);
    let able: Vec<String> = able.iter().map(|able| format!("{} ({})", able.recipe, able.backend)).collect();
    let kinds = ["process", "network", "host"];
    Some(Section {
        told: told_in_short(summary),
        lasting: summary.faults.iter().filter(|fault| !gone(fault)).map(told).collect(),
        not_run: summary.faults.iter().filter(|fault| gone(fault) && !fault.ran()).map(told).collect(),
        score: score(summary),
        mood: mood(summary),
        coverage: coverage(summary),
        formula: resilience.formula.clone(),
        steady: summary
            .faults
            .iter()
            .find_map(|fault| fault.probes.first())
            .map_or_else(String::new, |probe| probe.expected.clone()),
        rows: numbered()
            .filter(|(_, fault)| fault.ran())
            .map(|(number, f)| row(number, f, summary))
            .collect(),
        incidents: summary.incidents.iter().map(|one| incident(one, summary)).collect(),
        budgets: [budgets.detection_ms, budgets.recovery_ms, budgets.validation_ms].map(round_length),
        able: able.join(", "),
        unable: unable.iter().map(|unable| format!("{}: {}", unable.recipe, unable.reason)).collect(),
        close_up,
        kinds: kinds
            .into_iter()
            .filter(|kind| summary.faults.iter().any(|fault| fault.ran() && fault.kind == *kind))
            .collect(),
    })
}

/// `87 of 100`, or that there is none.
pub(super) fn score(summary: &Summary) -> String {
    summary.resilience.score.map_or_else(|| "no score".to_owned(), |score| format!("{score} of 100"))
}

/// Good when everything that was planned was injected and borne.
pub(super) fn mood(summary: &Summary) -> &'static str {
    let lasting = |fault: &FaultSummary| fault.fate == Fate::Unrecovered;
    match (summary.resilience.score, summary.resilience.coverage) {
        _ if summary.faults.iter().any(lasting) => "bad",
        (Some(100), Some(1.0)) => "good",
        (None, _) => "plain",
        _ => "warn",
    }
}

/// What the score covers, or why there is none.
pub(super) fn coverage(summary: &Summary) -> String {
    let resilience = &summary.resilience;
    let covered = format!("{} of {} planned faults injected", resilience.run, resilience.planned);
    match &resilience.reason {
        Some(reason) => reason.clone(),
        None => covered,
    }
}

fn why(fault: &FaultSummary) -> String {
    match fault.fate {
        Fate::Skipped | Fate::Unrecovered => fault.detail.clone(),
        Fate::Planned => "the run ended before its time came".to_owned(),
        Fate::Ended => format!("it was ended before it was there: {}", fault.how),
        Fate::Beginning => "it began, and the history has no end of it".to_owned(),
        Fate::Injected => "it was there, and the history has no end of it".to_owned(),
    }
}

/// All of it in one sentence; empty when there is nothing to tell.
pub(super) fn told_in_short(summary: &Summary) -> String {
    let faults = &summary.faults;
    if faults.is_empty() && summary.incidents.is_empty() {
        return String::new();
    }
    let mut text = format!("{}; {}.", told_of_faults(faults), told_of_incidents(summary));
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

fn told_of_faults(faults: &[FaultSummary]) -> String {
    let run: Vec<&FaultSummary> = faults.iter().filter(|fault| fault.ran()).collect();
    let undone = run.iter().filter(|fault| fault.fate == Fate::Ended).count();
    let not_run = faults.len() - run.len();
    let mut text = match run.len() {
        0 if not_run == 1 => "the one fault was not injected".to_owned(),
        0 if not_run > 1 => format!("none of {not_run} faults was injected"),
        0 => "no fault was injected".to_owned(),
        1 => "1 fault was injected".to_owned(),
        many => format!("{many} faults were injected"),
    };
    text = match (run.len(), run.len() - undone) {
        (0, _) => text,
        (1, 0) => format!("{text}, undone and read back"),
        (_, 0) => format!("{text}, all undone and read back"),
        (_, 1) => format!("{text}, 1 is not known to be undone"),
        (_, lasting) => format!("{text}, {lasting} are not known to be undone"),
    };
    if not_run > 0 && !run.is_empty() {
        text.push_str(&format!(
            " ({not_run} more {} not injected)",
            if not_run == 1 { "was" } else { "were" }
        ));
    }
    text
}

fn told_of_incidents(summary: &Summary) -> String {
    let incidents = &summary.incidents;
    let (count, open) = (incidents.len(), incidents.iter().filter(|one| one.closed_ms.is_none()).count());
    if count == 0 {
        return "no incident was found".to_owned();
    }
    let slowest = |times: &dyn Fn(&IncidentSummary) -> Option<u64>, budget: u64| {
        let label = if count == 1 { "" } else { "slowest " };
        incidents.iter().filter_map(times).max().map_or_else(String::new, |slowest| {
            format!(" ({label}after {} of {})", length(slowest), round_length(budget))
        })
    };
    let found = slowest(&|one| one.detected_after_ms, summary.budgets.detection_ms);
    let healthy = slowest(&|one| one.recovered_after_ms, summary.budgets.recovery_ms);
    let closed = match (count, count - open) {
        (1, 1) => "recovered".to_owned(),
        (2, 2) => "both recovered".to_owned(),
        (count, closed) if closed == count => "all recovered".to_owned(),
        (_, 0) => "none recovered".to_owned(),
        (_, closed) => format!("{closed} recovered"),
    };
    let open = if open == 0 { String::new() } else { format!(", {open} still open at the end") };
    format!("{count} incident{} found{found}, {closed}{healthy}{open}", if count == 1 { "" } else { "s" })
}

/// Offsets as the charts' axis has them.
fn at(ms: u64) -> String {
    format!("{:.1} s", real(ms) / 1e3)
}

fn row(number: usize, fault: &FaultSummary, summary: &Summary) -> Row {
    let phase = summary.phases.iter().find(|phase| Some(phase.index) == fault.phase_index);
    let begun = fault.begun_ms.or(fault.injected_ms).unwrap_or(0);
    let mut when = vec![at(begun)];
    if let Some(phase) = phase {
        when.push(format!("{} into {}", at(begun.saturating_sub(phase.start_ms)), phase.name));
    }
    match fault.held_ms {
        Some(held) => {
            when.push(format!("held {} of {}", length(held), length(fault.planned_duration_ms)));
        }
        None => when.push(format!("asked for {}", length(fault.planned_duration_ms))),
    }
    if !fault.how.is_empty() {
        when.push(fault.how.clone());
    }
    let own = summary.incidents.iter().filter(|incident| fault.incidents.contains(&incident.incident));
    let mut found: Vec<String> = own.map(found_words).collect();
    if found.is_empty() {
        found.push(match fault.during.steady {
            Some(true) => "borne without harm; no incident".to_owned(),
            Some(false) => "harm, but no incident names it".to_owned(),
            None => "no incident; whether there was harm cannot be told".to_owned(),
        });
    }
    let lost = fault.probes.iter().filter(|probe| probe.result != "pass").map(|probe| {
        let text = match &probe.reason {
            Some(reason) => format!("{}: not evaluable: {reason}", probe.name),
            None => format!("{}: {}", probe.name, probe.seen),
        };
        (text, probe.result.clone())
    });
    let by = if fault.scheduled { String::new() } else { format!(", by hand ({}), not scored", fault.by) };
    let undone = match (fault.fate, fault.undo_ms) {
        (Fate::Ended, Some(ms)) => format!("in {}: {}", length(ms), fault.verified),
        (Fate::Ended, None) => format!("{}: {}", fault.how, fault.verified),
        (Fate::Unrecovered, _) => "could not be undone".to_owned(),
        _ => why(fault),
    };
    Row {
        number,
        fault: fault.fault.clone(),
        kind: fault.kind.clone(),
        does: fault.does.clone(),
        place: format!("{} fault{by}", fault.kind),
        when,
        stretches: [
            cell("Before", &fault.before),
            cell("During", &fault.during),
            cell("After", &fault.after),
        ],
        found,
        undone,
        undone_well: fault.fate == Fate::Ended,
        probes: fault.probes.iter().map(probe_words).collect(),
        points: fault.points.map_or_else(|| "–".to_owned(), round_percent),
        lost: lost.collect(),
    }
}

fn probe_words(probe: &crate::summary::Check) -> (String, String, String) {
    let seen = probe.reason.clone().unwrap_or_else(|| probe.seen.clone());
    (probe.name.clone(), probe.result.clone(), seen)
}

fn found_words(incident: &IncidentSummary) -> String {
    let found = incident
        .detected_after_ms
        .map_or_else(|| "found".to_owned(), |ms| format!("found after {}", length(ms)));
    let healthy = incident
        .recovered_after_ms
        .map_or_else(|| "still open at the end".to_owned(), |ms| format!("healthy {} later", length(ms)));
    format!("{} {found}, {healthy}", incident.incident)
}

fn cell(label: &'static str, stretch: &Stretch) -> Cell {
    let mood = match stretch.steady {
        Some(true) => "good",
        Some(false) => "bad",
        None => "unknown",
    };
    let mut lines = Vec::new();
    if let (Some(goodput), Some(wanted)) = (stretch.goodput, stretch.wanted_rate) {
        lines.push(format!("{} of {} /s", rate(goodput), rate(wanted)));
        lines.push(
            stretch
                .error_rate
                .map_or_else(|| "nothing ended".to_owned(), |errors| format!("errors {}", percent(errors))),
        );
        lines.push(stretch.p95.map_or_else(
            || "p95: nothing was answered".to_owned(),
            |p95| {
                let (lowest, highest) = (micros(real(p95.lowest_us)), micros(real(p95.highest_us)));
                if lowest == highest {
                    format!("p95 {lowest}")
                } else {
                    format!("p95 {lowest} – {highest}")
                }
            },
        ));
        lines.push(format!("over {}", length(stretch.length_ms)));
    }
    let why = stretch.not_evaluable.as_ref().map(|reason| format!("not evaluable: {reason}"));
    Cell { label, share: stretch.goodput_share.map(percent), mood, lines, why }
}

fn incident(one: &IncidentSummary, summary: &Summary) -> Incident {
    let figure = |took: Option<u64>, budget: u64, none: &str| match took {
        Some(took) => (length(took), if took < budget { "pass" } else { "fail" }),
        None => (none.to_owned(), "not-evaluable"),
    };
    let budgets = summary.budgets;
    let cause = match one.fault.as_ref().map(|id| summary.faults.iter().position(|fault| fault.fault == *id))
    {
        Some(Some(place)) => format!("{} {}", place + 1, summary.faults[place].fault),
        Some(None) => one.fault.clone().unwrap_or_default(),
        None => "no fault explains it".to_owned(),
    };
    let place = one.instance.as_ref().map_or_else(|| one.target.clone(), |i| format!("{} ({i})", one.target));
    let deeds = one.actions.iter().map(|deed| {
        let text = format!("{} {} in {}: {}", deed.action, deed.outcome, length(deed.took_ms), deed.detail);
        (text, deed.outcome == "done")
    });
    Incident {
        incident: one.incident.clone(),
        what: format!("{} of {place}", one.issue),
        seen: format!("{}: {}", at(one.opened_ms), one.seen),
        cause,
        figures: [
            figure(one.detected_after_ms, budgets.detection_ms, "no fault to measure from"),
            figure(one.recovered_after_ms, budgets.recovery_ms, "still open"),
            figure(one.validated_after_ms, budgets.validation_ms, "still open"),
        ],
        deeds: deeds.collect(),
        how: one.how.clone(),
        over: one.over_budget.clone(),
    }
}

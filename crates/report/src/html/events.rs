//! The history as a list of sentences.

use protocol::event::Event;
use serde::Serialize;

use super::chaos_events;
use crate::RunData;
use crate::figures;
use crate::summary::ms_between;

/// One line of the list.
#[derive(Serialize)]
pub(super) struct Listed {
    /// Offset from the run's start.
    at: String,
    /// The service that saw it.
    producer: String,
    text: String,
    /// `plain`, `good`, `warn`, `bad`, `phase`.
    mood: &'static str,
}

/// Everything but the checks that passed without saying anything new.
pub(super) fn listed(data: &RunData) -> Vec<Listed> {
    let start = data.history.first().map_or(0, |entry| entry.at_unix_ns);
    data.history
        .iter()
        .filter_map(|entry| {
            let (text, mood) = sentence(&entry.event)?;
            let at = figures::length(ms_between(start, entry.at_unix_ns));
            Some(Listed { at, producer: entry.producer.clone(), text, mood })
        })
        .collect()
}

fn sentence(event: &Event) -> Option<(String, &'static str)> {
    Some(match event {
        Event::RunCreated { .. } => ("run created".to_owned(), "plain"),
        Event::ProcessStarted { process, pid, ready_after_ms } => (
            format!(
                "process {process} started (pid {pid}), ready after {}",
                figures::length(*ready_after_ms)
            ),
            "plain",
        ),
        Event::ProcessExited { process, status } => (format!("process {process} ended: {status}"), "bad"),
        Event::WorkersReady { workers, load_threads, .. } => {
            (format!("{workers} worker(s) ready with {load_threads} load thread(s)"), "plain")
        }
        Event::PrePhaseCheck { check, passed: false, seen, mend, .. } => {
            (format!("pre-phase check failed: {check}: {seen}; {mend}"), "bad")
        }
        // What they announce is shown by the entries around them.
        Event::PrePhaseCheck { .. }
        | Event::PhaseTimed { .. }
        | Event::ChangeTold { .. }
        | Event::Unknown => return None,
        Event::LoadDivided { shares, .. } => (crate::workers::divided(shares)?, "plain"),
        Event::RunResumed { scheduler } => {
            (format!("the scheduler was started anew ({scheduler}) and goes on with the run"), "bad")
        }
        Event::PhaseStarted { name, duration_ms, rate, connections, users, .. } => {
            let load = match (rate, users) {
                (Some(rate), _) => format!("to {} requests a second", figures::rate(*rate)),
                (None, Some(users)) => format!("{users} users"),
                (None, None) => "no load".to_owned(),
            };
            let length = figures::length(*duration_ms);
            (format!("phase {name}: {load}, {connections} connections, {length}"), "phase")
        }
        Event::LoadChanged { change, by, .. } => (format!("{change} (by {by})"), "plain"),
        Event::ThresholdChanged { threshold, holds, seen, abort, .. } => {
            let state = if *holds { "holds again" } else { "broken" };
            let end = if *abort && !holds { ", which ends the run" } else { "" };
            (format!("threshold {threshold} {state}: {seen}{end}"), if *holds { "good" } else { "bad" })
        }
        Event::GuestFaulted { guest, fault, message, operations_cancelled, .. } => (
            format!("guest {guest}: {fault}: {message}; {operations_cancelled} operation(s) cancelled"),
            "bad",
        ),
        Event::EndpointChanged { target, endpoint, worker, out, cause, detail, .. } => {
            let state = if *out { "out of use" } else { "in use again" };
            let class = if *out { "bad" } else { "good" };
            (format!("target {target}: {endpoint} is {state} at worker {worker}: {cause}: {detail}"), class)
        }
        Event::TargetHealth { target, healthy, seen } => {
            let state = if *healthy { "healthy" } else { "unhealthy" };
            (format!("target {target} is {state}: {seen}"), if *healthy { "good" } else { "bad" })
        }
        Event::WorkerChanged { worker, change, detail, .. } => {
            (format!("worker {worker} {change}: {detail}"), if change == "lost" { "bad" } else { "plain" })
        }
        Event::PhaseEnded { name, lasted_ms, decision, reason, .. } => {
            let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            (format!("phase {name} ended after {}: {decision}{why}", figures::length(*lasted_ms)), "phase")
        }
        Event::FaultsPlanned { .. }
        | Event::FaultSkipped { .. }
        | Event::FaultBeginning { .. }
        | Event::FaultInjected { .. }
        | Event::FaultEnded { .. }
        | Event::FaultUnrecovered { .. }
        | Event::IncidentOpened { .. }
        | Event::RecoveryActed { .. }
        | Event::IncidentClosed { .. } => return chaos_events::sentence(event),
        Event::StopRequested { by, .. } => (format!("stop asked for by {by}"), "bad"),
        Event::Notice { message } => (message.clone(), "plain"),
        Event::RunEnded { exit_code, reasons, .. } => {
            let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
            (
                format!("run ended with exit code {exit_code}{why}"),
                if *exit_code == 0 { "good" } else { "bad" },
            )
        }
    })
}

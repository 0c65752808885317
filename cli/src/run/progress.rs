//! What the terminal shows while a run is under way: a few redrawn lines, or plain lines without a terminal.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plan::Plan;
use protocol::event::{Event, Outcome, OutcomeResult};
use protocol::v1;
use report::figures::{count, length, rate};

use super::live::Live;
use crate::output;

/// Without a terminal a line appears this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The view of a run.
pub(crate) struct Progress {
    view: View,
    /// Of a stage of a search, which tells itself what happens; `None` = a run's, told in lines that stay.
    title: Option<String>,
    phases: Vec<Planned>,
    running: Option<Running>,
    live: Option<Live>,
}

enum View {
    Silent,
    /// Only what is noted.
    Notes,
    Lines {
        last: Instant,
    },
    Redrawn(ProgressBar),
}

/// A phase as planned.
struct Planned {
    name: &'static str,
    duration: Duration,
    log_level: &'static str,
}

/// The phase that runs.
struct Running {
    index: usize,
    started: Instant,
    duration: Duration,
}

impl Progress {
    pub(crate) fn new(plan: &Plan, silent: bool) -> Self {
        let lines = View::Lines { last: Instant::now() };
        Self::with(plan, if silent { View::Silent } else { redrawn().unwrap_or(lines) }, None)
    }

    /// The view of a stage of a search: figures while it runs, where there is a terminal.
    pub(crate) fn of_stage(plan: &Plan, title: String, silent: bool) -> Self {
        let view = if silent { View::Silent } else { redrawn().unwrap_or(View::Notes) };
        Self::with(plan, view, Some(title))
    }

    fn with(plan: &Plan, view: View, title: Option<String>) -> Self {
        let phases = plan
            .scaled()
            .iter()
            .map(|phase| Planned {
                name: phase.name.name(),
                duration: phase.duration,
                log_level: phase.log_level.name(),
            })
            .collect();
        Self { view, title, phases, running: None, live: None }
    }

    /// The level that the plan gives to a phase.
    pub(crate) fn log_level(&self, phase: u32) -> &'static str {
        usize::try_from(phase)
            .ok()
            .and_then(|index| self.phases.get(index))
            .map_or("info", |phase| phase.log_level)
    }

    /// The run directory and the API are there.
    pub(crate) fn began(&self, dir: &Path, url: &str) {
        if self.title.is_none() {
            self.note(&format!("run {}  ·  control and live history: {url}", dir.display()));
        }
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        match &self.view {
            View::Silent => {}
            View::Notes | View::Lines { .. } => output::note(text),
            View::Redrawn(bar) => bar.suspend(|| output::note(text)),
        }
    }

    /// Something happened.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::PhaseStarted { phase, duration_ms, .. } => {
                let index = usize::try_from(*phase).unwrap_or(usize::MAX);
                let duration = Duration::from_millis(*duration_ms);
                self.running = Some(Running { index, started: Instant::now(), duration });
                self.live = None;
                if let View::Redrawn(bar) = &self.view {
                    bar.set_length(*duration_ms);
                    bar.set_position(0);
                }
            }
            Event::PhaseEnded { .. } | Event::RunEnded { .. } => self.running = None,
            _ => {}
        }
        if self.title.is_none()
            && let Some(text) = worded(event, self.phases.len())
        {
            self.note(&text);
        }
        self.draw();
    }

    /// The figures of the last second.
    pub(crate) fn live(&mut self, aggregate: &v1::Aggregate) {
        self.live = Live::read(aggregate);
        self.draw();
    }

    /// Time went by.
    pub(crate) fn tick(&mut self) {
        let due = matches!(&self.view, View::Lines { last } if last.elapsed() >= LINE_EVERY);
        if due {
            if let (Some(running), Some(live)) = (&self.running, &self.live) {
                output::note(&format!("  {} · {}", self.time(running), live.line()));
            }
            self.view = View::Lines { last: Instant::now() };
        }
        self.draw();
    }

    /// Takes the redrawn lines away.
    pub(crate) fn clear(&self) {
        if let View::Redrawn(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    fn draw(&self) {
        let View::Redrawn(bar) = &self.view else { return };
        let Some(running) = &self.running else {
            bar.set_prefix("");
            bar.set_message("");
            return;
        };
        let elapsed = running.started.elapsed();
        bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        bar.set_prefix(self.title(running));
        let figures = self.live.as_ref().map(Live::lines).unwrap_or_default();
        bar.set_message(format!("{}{figures}", self.time(running)));
    }

    fn title(&self, running: &Running) -> String {
        if let Some(title) = &self.title {
            return title.clone();
        }
        let name = self.phases.get(running.index).map_or("", |phase| phase.name);
        format!("{}/{} {name}", running.index + 1, self.phases.len())
    }

    /// `3.2 s of 9 s, whole run 1 min 12 s to go`.
    fn time(&self, running: &Running) -> String {
        let elapsed = running.started.elapsed();
        if self.title.is_some() {
            return format!("{} of {}", tenths(elapsed), tenths(running.duration));
        }
        let later: Duration = self.phases.iter().skip(running.index + 1).map(|phase| phase.duration).sum();
        let left = running.duration.saturating_sub(elapsed) + later;
        format!("{} of {}, whole run {} to go", tenths(elapsed), tenths(running.duration), tenths(left))
    }
}

/// The lines that are redrawn, where there is a terminal.
fn redrawn() -> Option<View> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{prefix:.bold} {bar:24} {msg}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    Some(View::Redrawn(bar))
}

/// To the tenth of a second below a minute.
fn tenths(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    length(if ms < 60_000 { ms / 100 * 100 } else { ms })
}

/// An event as a line, if it is worth one.
fn worded(event: &Event, phases: usize) -> Option<String> {
    Some(match event {
        Event::ProcessStarted { process, pid, ready_after_ms } => {
            format!("process {process} is ready after {} (pid {pid})", length(*ready_after_ms))
        }
        Event::ProcessExited { process, status } => format!("process {process} ended: {status}"),
        Event::PrePhaseCheck { check, passed: false, seen, mend, .. } => {
            format!("check failed: {check}: {seen}; {mend}")
        }
        Event::PhaseStarted { phase, name, duration_ms, rate: wanted, connections, users } => {
            let load = match (wanted, users) {
                (_, Some(users)) => format!("{} users", count(u64::from(*users))),
                (Some(wanted), None) if *wanted > 0.0 => {
                    format!("{} req/s over {} connections", rate(*wanted), count(u64::from(*connections)))
                }
                _ => "no load".to_owned(),
            };
            format!("phase {}/{phases} {name}: {} · {load}", phase + 1, length(*duration_ms))
        }
        Event::LoadChanged { change, by, .. } => format!("  load: {change}, asked by {by}"),
        Event::ThresholdChanged { threshold, holds, seen, .. } => {
            format!("  threshold {threshold} {}: {seen}", if *holds { "holds again" } else { "is broken" })
        }
        Event::GuestFaulted { guest, fault, message, .. } => format!("  guest {guest}: {fault}: {message}"),
        Event::EndpointChanged { target, endpoint, out, cause, detail, .. } => {
            let state = if *out { "out of use" } else { "in use again" };
            format!("  target {target}: {endpoint} is {state}: {cause}: {detail}")
        }
        Event::TargetHealth { target, healthy, seen } => {
            format!("  target {target} is {}: {seen}", if *healthy { "healthy" } else { "not healthy" })
        }
        Event::WorkerChanged { worker, change, detail, .. } if change == "lost" => {
            format!("  worker {worker} {change}: {detail}")
        }
        Event::PhaseEnded { name, objectives, decision, reason, .. } => {
            let marks: String = objectives.iter().map(mark).collect();
            let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            format!("  {name} ended: objectives {marks} → {decision}{why}")
        }
        Event::RunResumed { .. } => "  the scheduler was started anew and goes on with the run".to_owned(),
        Event::StopRequested { by, .. } => format!("stop requested by {by}"),
        Event::Notice { message } => format!("  {message}"),
        Event::LoadDivided { from_ns: 0, shares, .. } => format!("  {}", report::workers::divided(shares)?),
        other => return super::broken::worded(other),
    })
}

/// ✓ pass, ✗ fail, – not evaluable.
fn mark(outcome: &Outcome) -> char {
    match outcome.result {
        OutcomeResult::Pass => '✓',
        OutcomeResult::Fail => '✗',
        OutcomeResult::NotEvaluable { .. } => '–',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_reads_as_a_line() {
        let started = |rate, users| Event::PhaseStarted {
            phase: 1,
            name: "baseline".to_owned(),
            duration_ms: 9_000,
            rate,
            connections: 3,
            users,
        };
        let line = |event: &Event| worded(event, 7).unwrap();
        assert_eq!(
            line(&started(Some(5.0), None)),
            "phase 2/7 baseline: 9 s · 5.00 req/s over 3 connections"
        );
        assert_eq!(line(&started(None, Some(20))), "phase 2/7 baseline: 9 s · 20 users");
        assert_eq!(line(&started(Some(0.0), None)), "phase 2/7 baseline: 9 s · no load");
        let passed = Event::PrePhaseCheck {
            phase: 0,
            check: "target ready".to_owned(),
            passed: true,
            seen: String::new(),
            mend: String::new(),
        };
        assert_eq!(worded(&passed, 7), None, "what is as it should be is no news");
    }

    #[test]
    fn lengths_do_not_flicker() {
        assert_eq!(tenths(Duration::from_millis(3_278)), "3.2 s");
        assert_eq!(tenths(Duration::from_secs(75)), "1 min 15 s");
    }
}

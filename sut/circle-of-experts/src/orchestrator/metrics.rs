//! Counters and the Prometheus text.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use consensus::Outcome;
use expert_apis::Cause;

use super::app::App;
use super::circle::Circle;
use crate::clock;
use serving::breaker::Shared;

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Winner,
    Tie,
    NoConsensus,
    NoQuorum,
    /// Too many at a time.
    Refused,
    /// The error knob.
    Failed,
    /// Who asked went before it was decided.
    Cancelled,
}

impl Decision {
    const ALL: [Self; 7] = [
        Self::Winner,
        Self::Tie,
        Self::NoConsensus,
        Self::NoQuorum,
        Self::Refused,
        Self::Failed,
        Self::Cancelled,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Winner => "winner",
            Self::Tie => "tie",
            Self::NoConsensus => "no_consensus",
            Self::NoQuorum => "no_quorum",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<Outcome> for Decision {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Winner(_) => Self::Winner,
            Outcome::Tie => Self::Tie,
            Outcome::NoConsensus => Self::NoConsensus,
            Outcome::NoQuorum => Self::NoQuorum,
        }
    }
}

/// What an expert's part in a question came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Voted,
    /// The outcome stood before it had spoken.
    NotNeeded,
    /// Its bulkhead had no place for it.
    Bulkhead,
    /// It abstained.
    Because(Cause),
}

impl End {
    const COUNT: usize = 3 + Cause::ALL.len();

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Voted => "voted",
            Self::NotNeeded => "not needed",
            Self::Bulkhead => "bulkhead full",
            Self::Because(cause) => cause.name(),
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Voted => 0,
            Self::NotNeeded => 1,
            Self::Bulkhead => 2,
            Self::Because(cause) => 3 + cause as usize,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        [Self::Voted, Self::NotNeeded, Self::Bulkhead].into_iter().chain(Cause::ALL.map(Self::Because))
    }
}

/// Of one expert.
#[derive(Debug, Default)]
pub(super) struct OfExpert {
    calls: [AtomicU64; End::COUNT],
    attempts: AtomicU64,
    failures: [AtomicU64; Cause::ALL.len()],
}

impl OfExpert {
    pub(super) fn call(&self, end: End) {
        self.calls[end.place()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempt_failed(&self, cause: Cause) {
        self.failures[cause as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Upper ends of the histogram's buckets, seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Of all questions.
#[derive(Debug, Default)]
pub(super) struct Counters {
    decisions: [AtomicU64; Decision::ALL.len()],
    /// Questions that took at most as long as the bucket's end and longer than the one before; the last: longer than all.
    took: [AtomicU64; BUCKETS.len() + 1],
    took_us: AtomicU64,
    pub(super) lists_failed: AtomicU64,
}

impl Counters {
    pub(super) fn decided(&self, decision: Decision, took: Duration) {
        self.decisions[decision as usize].fetch_add(1, Ordering::Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS.len());
        self.took[bucket].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// The text of `GET /metrics`.
pub(super) fn render(app: &App) -> String {
    let mut text = String::with_capacity(8_192);
    process(&mut text);
    questions(&mut text, app);
    let circle = app.circle();
    availability(&mut text, &circle);
    guards(&mut text, &circle);
    app.traces.render(&mut text);
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn process(text: &mut String) {
    let cpu = clock::process_cpu_ns() as f64 / 1e9;
    single(text, "process_cpu_seconds_total", "counter", "CPU time of the process.", cpu);
    let resident = clock::resident_bytes();
    single(text, "process_resident_memory_bytes", "gauge", "Resident memory.", resident);
}

fn single(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    head(text, name, kind, help);
    let _ = writeln!(text, "{name} {value}");
}

fn questions(text: &mut String, app: &App) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let name = "orchestrator_questions_total";
    head(text, name, "counter", "Questions by what came of them.");
    for (decision, counter) in Decision::ALL.iter().zip(&app.counters.decisions) {
        let _ = writeln!(text, "{name}{{outcome=\"{}\"}} {}", decision.name(), load(counter));
    }
    let name = "orchestrator_question_seconds";
    head(text, name, "histogram", "Time of questions, whatever came of them.");
    let mut below = 0;
    for (end, counter) in BUCKETS.iter().zip(&app.counters.took) {
        below += load(counter);
        let _ = writeln!(text, "{name}_bucket{{le=\"{end}\"}} {below}");
    }
    below += app.counters.took.last().map_or(0, load);
    let sum = load(&app.counters.took_us) as f64 / 1e6;
    let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {below}\n{name}_sum {sum}\n{name}_count {below}");
    let name = "orchestrator_questions_in_progress";
    single(text, name, "gauge", "Questions without their answer yet.", app.in_progress());
    let name = "orchestrator_lists_failed_total";
    let help = "Attempts to read a list of experts that failed.";
    single(text, name, "counter", help, load(&app.counters.lists_failed));
}

/// Labels of an expert.
fn labels(place: usize, circle: &Circle) -> String {
    let kind = circle.experts.get(place).map_or("", |expert| expert.member.kind.name());
    format!("expert=\"{place}\",type=\"{kind}\"")
}

fn availability(text: &mut String, circle: &Circle) {
    let name = "orchestrator_expert_calls_total";
    head(text, name, "counter", "Parts of experts in questions, by how they ended.");
    for (place, expert) in circle.experts.iter().enumerate() {
        for end in End::all() {
            let value = expert.counters.calls[end.place()].load(Ordering::Relaxed);
            // The first always stands there, so that a series exists before its first call.
            if value > 0 || end == End::Voted {
                let _ = writeln!(text, "{name}{{{},end=\"{}\"}} {value}", labels(place, circle), end.name());
            }
        }
    }
    let name = "orchestrator_attempts_total";
    head(text, name, "counter", "Requests sent to experts, retries among them.");
    for (place, expert) in circle.experts.iter().enumerate() {
        let value = expert.counters.attempts.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}{{{}}} {value}", labels(place, circle));
    }
    let name = "orchestrator_attempt_failures_total";
    head(text, name, "counter", "Requests that brought no answer, by cause.");
    for (place, expert) in circle.experts.iter().enumerate() {
        for (cause, counter) in Cause::ALL.iter().zip(&expert.counters.failures) {
            let value = counter.load(Ordering::Relaxed);
            if value > 0 {
                let labels = labels(place, circle);
                let _ = writeln!(text, "{name}{{{labels},cause=\"{}\"}} {value}", cause.name());
            }
        }
    }
}

fn guards(text: &mut String, circle: &Circle) {
    let name = "retry_budget_refused_total";
    single(text, name, "counter", "Retries that were not to be made.", circle.retries_refused());
    let breakers = || {
        let experts = circle.experts.iter().enumerate();
        experts.filter_map(|(place, expert)| Some((place, expert.breaker.as_deref()?)))
    };
    let mut breaker = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Shared) -> u64| {
        head(text, name, kind, help);
        for (place, breaker) in breakers() {
            let _ = writeln!(text, "{name}{{{}}} {}", labels(place, circle), value(breaker));
        }
    };
    breaker("circuit_breaker_state", "gauge", "0 closed, 1 open, 2 half open.", &|breaker| {
        breaker.state().into()
    });
    breaker("circuit_breaker_opened_total", "counter", "Times it opened.", &|breaker| {
        breaker.counts().opened
    });
    breaker("circuit_breaker_closed_total", "counter", "Times it closed again.", &|breaker| {
        breaker.counts().closed
    });
    breaker("circuit_breaker_refused_total", "counter", "Attempts refused.", &|breaker| {
        breaker.counts().rejected
    });
    let mut bulkhead = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> usize| {
        head(text, name, kind, help);
        for place in 0..circle.experts.len() {
            let _ = writeln!(text, "{name}{{{}}} {}", labels(place, circle), value(place));
        }
    };
    let of = |place: usize| &circle.experts[place].bulkhead;
    bulkhead("bulkhead_in_progress", "gauge", "Attempts in progress.", &|place| of(place).in_progress());
    bulkhead("bulkhead_waiting", "gauge", "Attempts that wait for a place.", &|place| of(place).waiting());
    bulkhead("bulkhead_refused_total", "counter", "Attempts refused.", &|place| of(place).refused());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_and_decision_has_a_place_of_its_own() {
        assert!(End::all().enumerate().all(|(place, end)| end.place() == place));
        assert!(Decision::ALL.iter().enumerate().all(|(place, decision)| *decision as usize == place));
    }

    #[test]
    fn a_time_is_counted_in_the_bucket_that_it_does_not_exceed() {
        let counters = Counters::default();
        for ms in [5, 6, 40_000] {
            counters.decided(Decision::Winner, Duration::from_millis(ms));
        }
        let took: Vec<u64> = counters.took.iter().map(|counter| counter.load(Ordering::Relaxed)).collect();
        assert_eq!((took[0], took[1], took[BUCKETS.len()]), (1, 1, 1));
    }
}

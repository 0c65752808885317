//! Counters and the Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::app::App;
use crate::clock;
use crate::shape::Shape;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Refusal,
    Overloaded,
    RateLimited,
    Internal,
    Unauthorized,
    Truncated,
    Within,
    Silent,
    BadRequest,
    /// The client went before the end.
    Cancelled,
}

/// In the order of [`Outcome`].
const OUTCOMES: [&str; 11] = [
    "answered",
    "refusal",
    "overloaded",
    "rate_limited",
    "internal",
    "unauthorized",
    "truncated",
    "within",
    "silent",
    "bad_request",
    "cancelled",
];

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        OUTCOMES.get(self as usize).copied().unwrap_or_default()
    }
}

/// Of one expert.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    outcomes: [AtomicU64; OUTCOMES.len()],
    pub(crate) tokens: AtomicU64,
    in_progress: AtomicI64,
}

impl Counters {
    pub(crate) fn begin(&self) {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        self.in_progress.fetch_sub(1, Ordering::Relaxed);
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The text of `GET /metrics`.
pub(crate) fn render(app: &App) -> String {
    let mut text = String::with_capacity(4_096);
    let experts = || (0_u32..).zip(&app.experts);
    let name = "experts_requests_total";
    let _ = writeln!(text, "# HELP {name} Requests by what became of them.\n# TYPE {name} counter");
    for (number, expert) in experts() {
        let kind = Shape::of(number).expert();
        for (outcome, counter) in OUTCOMES.iter().zip(&expert.counters.outcomes) {
            let value = counter.load(Ordering::Relaxed);
            // The first always stands there, so that a series exists before its first request.
            if value > 0 || *outcome == OUTCOMES[0] {
                let labels = format!("expert=\"{number}\",type=\"{kind}\",outcome=\"{outcome}\"");
                let _ = writeln!(text, "{name}{{{labels}}} {value}");
            }
        }
    }
    let name = "experts_output_tokens_total";
    let _ = writeln!(text, "# HELP {name} Tokens said.\n# TYPE {name} counter");
    for (number, expert) in experts() {
        let _ = writeln!(
            text,
            "{name}{{expert=\"{number}\"}} {}",
            expert.counters.tokens.load(Ordering::Relaxed)
        );
    }
    let name = "experts_requests_in_progress";
    let _ = writeln!(text, "# HELP {name} Requests without the end of their answer.\n# TYPE {name} gauge");
    for (number, expert) in experts() {
        let in_progress = expert.counters.in_progress.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}{{expert=\"{number}\"}} {in_progress}");
    }
    let name = "process_resident_memory_bytes";
    let _ = writeln!(
        text,
        "# HELP {name} Resident memory.\n# TYPE {name} gauge\n{name} {}",
        clock::resident_bytes()
    );
    let lost = app.log.as_ref().map_or(0, crate::write_log::WriteLog::lost);
    let name = "write_log_lost_lines_total";
    let _ = writeln!(
        text,
        "# HELP {name} Lines that could not be written.\n# TYPE {name} counter\n{name} {lost}"
    );
    app.traces.render(&mut text);
    text
}

//! The page of a search for the knee: what was found first, then rate against latency, then every stage.

mod chart;

use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Serialize;

use crate::figures;
use crate::run_dir::WriteError;

/// What the page shows. All sentences are those of the terminal.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The plan's name.
    pub name: String,
    /// Version of Gauntlet that searched.
    pub gauntlet: String,
    /// The phase that stages are made from.
    pub phase: String,
    /// Connections in every stage.
    pub connections: u32,
    /// What a stage has to keep.
    pub thresholds: Vec<String>,
    /// Limits of the p99 among them, microseconds: lines in the chart.
    pub limits_us: Vec<f64>,
    /// Length of a stage and of a confirming one, milliseconds.
    pub stage_ms: u64,
    /// The same of a confirming one.
    pub confirm_ms: u64,
    /// The gap that was to be reached, as a share of the knee.
    pub precision: f64,
    /// The share of its arrivals that a stage has to send in time.
    pub least_sent: f64,
    /// From the first stage's begin to the last one's end, milliseconds.
    pub lasted_ms: u64,
    /// What came of it in a sentence.
    pub headline: String,
    /// How good that is.
    pub mood: Mood,
    /// What there is to say beside, each with a word before it: `kept`, `failed`, `trust`, ….
    pub details: Vec<(&'static str, String)>,
    /// Exit code of the command; `None` while the search is under way, and when it was killed.
    pub exit_code: Option<u8>,
    /// The confirmed knee, requests per second.
    pub knee_per_second: Option<f64>,
    /// `high`, `medium`, `low`; `None` without a knee.
    pub confidence: Option<&'static str>,
    /// The highest rate that was kept, requests per second.
    pub kept_per_second: Option<f64>,
    /// The lowest above it that was not, requests per second.
    pub failed_per_second: Option<f64>,
    /// The stages, in the order in which they ran.
    pub stages: Vec<Stage>,
}

/// How good a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mood {
    /// There is a knee, or all was kept.
    Good,
    /// Nothing is known of the target.
    Warn,
    /// The target keeps nothing.
    Bad,
    /// The search has no end.
    Plain,
}

/// How a stage came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every threshold held.
    Kept,
    /// The target did not keep it.
    Broken,
    /// The generator was the limit: nothing is known of the target.
    Generator,
}

/// A stage.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// `rise`, `narrow`, `again`, `confirm`.
    pub purpose: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// Why it was not kept.
    pub why: Vec<String>,
    /// The wanted rate, per second.
    pub rate: f64,
    /// Operations started, per second.
    pub achieved: f64,
    /// Latency from when due, microseconds; `None` = nothing was answered.
    pub p50_us: Option<f64>,
    /// The 95th percentile.
    pub p95_us: Option<f64>,
    /// The 99th.
    pub p99_us: Option<f64>,
    /// The 99th from the actual send.
    pub service_p99_us: Option<f64>,
    /// The 99th of waiting for a user and a connection.
    pub queue_p99_us: Option<f64>,
    /// The 99th of the generator's own lateness.
    pub send_lag_p99_us: Option<f64>,
    /// Share of arrivals that were dropped, failed or answered with an error.
    pub error_share: f64,
    /// How long the target took to get well afterwards, milliseconds; `None` where nobody looked.
    pub cool_down_ms: Option<u64>,
    /// Where its own report is, from the page.
    pub report: String,
}

/// The page as HTML, which loads nothing from elsewhere.
///
/// # Errors
/// [`WriteError::Render`]: a defect of this crate.
pub fn render(page: &Page) -> Result<String, WriteError> {
    let fail = |error: minijinja::Error| WriteError::Render(format!("the page of the search: {error:#}"));
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("us", |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figures::micros));
    environment.add_filter("rate", |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figures::rate));
    environment.add_filter("count", figures::count);
    environment.add_filter("count_of", |list: Vec<minijinja::Value>| list.len());
    environment.add_filter("percent", figures::percent);
    environment.add_filter("round_percent", figures::round_percent);
    environment.add_filter("length", figures::length);
    environment.add_filter("round_length", figures::round_length);
    environment.add_template("knee.html", include_str!("../assets/knee.html.jinja")).map_err(fail)?;
    let shown = context! {
        k => Serde(page),
        chart => Serde(chart::of(page)),
        style => include_str!("../assets/report.css"),
    };
    environment.get_template("knee.html").and_then(|template| template.render(shown)).map_err(fail)
}

#[cfg(test)]
mod tests;

//! `report.html`: one self-contained page: verdict first, then one timeline, then the tables.

mod availability;
mod chaos_events;
mod events;
mod faults;
mod lag;
mod lanes;
mod timeline;

use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Serialize;

use crate::figures;
use crate::run_dir::WriteError;
use crate::summary::{Check, Percentiles, PhaseSummary, Summary};
use crate::{RunData, charts};

const TEMPLATES: [(&str, &str); 4] = [
    ("report.html", include_str!("../assets/report.html.jinja")),
    ("timeline.html", include_str!("../assets/timeline.html.jinja")),
    ("faults.html", include_str!("../assets/faults.html.jinja")),
    ("availability.html", include_str!("../assets/availability.html.jinja")),
];

/// The page.
pub(crate) fn render(data: &RunData, summary: &Summary) -> Result<String, WriteError> {
    let fail = |error: minijinja::Error| WriteError::Render(format!("report.html: {error:#}"));
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("us", |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figures::micros));
    environment
        .add_filter("lost_us", |value: Option<f64>| value.map_or_else(|| "∞".to_owned(), figures::micros));
    environment
        .add_filter("number", |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figures::rate));
    environment.add_filter("count", figures::count);
    environment.add_filter("rate", figures::rate);
    environment.add_filter("percent", figures::percent);
    environment.add_filter("length", figures::length);
    environment.add_filter("bytes", figures::bytes);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).map_err(fail)?;
    }
    let timeline = timeline::build(data, summary)?;
    let faults = faults::section(summary, timeline::close_up(data, summary)?);
    let page = context! {
        s => Serde(summary),
        headline => headline(summary),
        story => story(summary),
        cards => Serde(cards(summary)),
        timeline => Serde(timeline),
        faults => Serde(faults),
        // Percentages of a chart's width at which the plot begins and ends.
        plot_left => charts::LEFT / charts::WIDTH * 100.0,
        plot_width => (charts::WIDTH - charts::LEFT - charts::RIGHT) / charts::WIDTH * 100.0,
        events => Serde(events::listed(data)),
        availability => Serde(availability::matrices(summary)),
        slowest => Serde(slowest(data, summary)),
        lags => Serde(lag::lags(summary)),
        lag_rule => crate::lag::rule(summary),
        plan_toml => data.plan.to_toml(),
        style => include_str!("../assets/report.css"),
        script => include_str!("../assets/report.js"),
    };
    environment.get_template("report.html").and_then(|template| template.render(page)).map_err(fail)
}

/// The verdict in one sentence.
fn headline(summary: &Summary) -> String {
    match summary.verdict.as_deref() {
        // Whatever else came of the run, this is to be acted on.
        Some(_) if summary.exit_code == Some(97) => {
            "A fault could not be undone: what is left to do is said under “Faults and recovery”.".to_owned()
        }
        Some("passed") => "Passed: everything that the plan asks for held.".to_owned(),
        Some("failed") => "Failed: the target did not hold what the plan asks for.".to_owned(),
        Some("invalid") => {
            "Invalid: the generator was the bottleneck, so the figures say nothing of the target.".to_owned()
        }
        Some("aborted") => "Aborted: the run was ended before its time.".to_owned(),
        _ => "No verdict: the history has no end.".to_owned(),
    }
}

/// What happened, in plain sentences, for somebody who has read nothing.
fn story(summary: &Summary) -> String {
    let answered: u64 = summary.phases.iter().map(|phase| phase.arrivals.answered).sum();
    let lost: u64 = summary.phases.iter().map(|p| p.arrivals.dropped + p.arrivals.failed).sum();
    let urls: Vec<&str> = summary.targets.iter().flat_map(|t| t.urls.iter().map(String::as_str)).collect();
    let mut story = format!(
        "{} phase{} in {} against {}. {} requests were answered{}.",
        summary.phases.len(),
        if summary.phases.len() == 1 { "" } else { "s" },
        figures::length(summary.lasted_ms),
        urls.join(", "),
        figures::count(answered),
        if lost == 0 {
            ", none was lost".to_owned()
        } else {
            format!(", {} were lost", figures::count(lost))
        },
    );
    if let Some(top) = busiest(summary) {
        story.push_str(&format!(
            " At the highest rate ({}: {} a second) 99 of 100 answers came within {} of when they were due.",
            top.name,
            figures::rate(top.achieved_rate),
            top.latency.p99.map_or_else(|| "–".to_owned(), figures::micros),
        ));
    }
    let broken = faults::told_in_short(summary);
    if !broken.is_empty() {
        story.push_str(&format!(" {broken}"));
    }
    story
}

fn busiest(summary: &Summary) -> Option<&PhaseSummary> {
    summary
        .phases
        .iter()
        .filter(|phase| phase.arrivals.answered > 0)
        .max_by(|a, b| a.achieved_rate.total_cmp(&b.achieved_rate))
}

#[derive(Serialize)]
struct Card {
    label: &'static str,
    value: String,
    note: String,
    /// `good`, `warn`, `bad`, `plain`.
    mood: &'static str,
}

fn cards(summary: &Summary) -> Vec<Card> {
    let arrivals: u64 = summary.phases.iter().map(|p| p.arrivals.scheduled - p.arrivals.waiting).sum();
    let bad: f64 = summary
        .phases
        .iter()
        .map(|p| p.error_share * crate::phases::real(p.arrivals.scheduled - p.arrivals.waiting))
        .sum();
    let errors = if arrivals == 0 { 0.0 } else { bad / crate::phases::real(arrivals) };
    let dropped: u64 = summary.phases.iter().map(|p| p.arrivals.dropped).sum();
    let counts = summary.objectives;
    let broken: Vec<&Check> =
        summary.phases.iter().flat_map(|p| &p.validity).filter(|c| c.result == "fail").collect();
    let mood = |good: bool| if good { "good" } else { "bad" };
    let mut cards = Vec::new();
    if let Some(top) = busiest(summary) {
        cards.push(Card {
            label: "Highest rate",
            value: format!("{} /s", figures::rate(top.achieved_rate)),
            note: format!("in {}, wanted {}", top.name, figures::rate(top.wanted_rate)),
            mood: "plain",
        });
        cards.push(Card {
            label: "p99 at that rate",
            value: top.latency.p99.map_or_else(|| "–".to_owned(), figures::micros),
            note: format!("median {}", top.latency.p50.map_or_else(|| "–".to_owned(), figures::micros)),
            mood: "plain",
        });
    }
    cards.push(Card {
        label: "Errors",
        value: figures::percent(errors),
        note: format!("of {} arrivals, {} dropped", figures::count(arrivals), figures::count(dropped)),
        mood: mood(errors == 0.0),
    });
    cards.push(Card {
        label: "Objectives",
        value: format!("{} of {}", counts.passed, counts.passed + counts.failed),
        note: format!("{} missed, {} not evaluable", counts.failed, counts.not_evaluable),
        mood: if counts.failed == 0 { "good" } else { "warn" },
    });
    if !summary.faults.is_empty() {
        cards.push(Card {
            label: "Resilience",
            value: faults::score(summary),
            note: faults::coverage(summary),
            mood: faults::mood(summary),
        });
    }
    cards.push(Card {
        label: "Measurement",
        value: if broken.is_empty() { "valid" } else { "invalid" }.to_owned(),
        note: broken.first().map_or_else(|| "the generator kept up".to_owned(), |check| check.name.clone()),
        mood: mood(broken.is_empty()),
    });
    cards
}

#[derive(Serialize)]
struct SlowStep<'a> {
    phase: &'a str,
    scenario: &'a str,
    step: &'a str,
    target: &'a str,
    started: u64,
    latency: &'a Percentiles,
    service: &'a Percentiles,
    /// Width of the bar, per cent of the slowest.
    bar: f64,
}

fn slowest<'a>(data: &RunData, summary: &'a Summary) -> Vec<SlowStep<'a>> {
    let mut steps: Vec<SlowStep<'a>> = summary
        .phases
        .iter()
        .flat_map(|phase| {
            phase.steps.iter().map(|step| SlowStep {
                phase: &phase.name,
                scenario: &step.scenario,
                step: &step.step,
                target: &step.target,
                started: step.started,
                latency: &step.latency,
                service: &step.service,
                bar: 0.0,
            })
        })
        .collect();
    let p99 = |step: &SlowStep<'_>| step.latency.p99.unwrap_or(0.0);
    steps.sort_by(|a, b| p99(b).total_cmp(&p99(a)));
    steps.truncate(usize::try_from(data.plan.report.slowest).unwrap_or(usize::MAX));
    let top = steps.first().map_or(1.0, p99).max(1.0);
    for step in &mut steps {
        step.bar = p99(step) / top * 100.0;
    }
    steps
}

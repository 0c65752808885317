//! Gauntlet as its users run it: `gauntlet run` on a plan, with the http guest.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::cases::{Case, STREAMS};
use super::clients::{Ask, Client, Pace, Said};
use super::process::Finished;
use crate::paths::target;

/// Rows of the feeder.
const ROWS: u32 = 10_000;

/// The field that is compared, in the bare server's JSON answer.
pub(super) const PRICE: f64 = 12.5;

/// Pause of each user in [`Case::Memory`]: it is about users who are there, not about requests.
const THINK: &str = "1s";

/// Names of the threads that send.
pub(super) fn load_threads(threads: u32) -> Vec<String> {
    (0..threads).map(|index| format!("load-{index}")).collect()
}

/// Writes the plan and its feeder, and the command that runs it.
pub(super) fn command(client: Client, ask: &Ask, dir: &Path) -> anyhow::Result<Command> {
    let file = dir.join("plan.toml");
    std::fs::write(&file, plan(client, ask))?;
    let mut rows = String::from("id\n");
    for row in 0..ROWS {
        // Not in a row, so that ids are of various lengths.
        writeln!(rows, "{}", row * 7 + 1)?;
    }
    std::fs::write(dir.join("items.csv"), rows)?;
    let runs = dir.join("runs");
    if runs.exists() {
        std::fs::remove_dir_all(&runs).with_context(|| format!("remove {}", runs.display()))?;
    }
    let target = target()?;
    let mut command = Command::new(target.join("release/gauntlet"));
    command.arg("run").arg(file).arg("--report-dir").arg(runs);
    command.env("GAUNTLET_GUESTS", target.join("guests"));
    Ok(command)
}

/// Two steps by weight, each for an item drawn per arrival, and a header that differs by user.
fn plan(client: Client, ask: &Ask) -> String {
    let extra = match client {
        Client::GauntletStatus => ", check = { status = 200 }".to_owned(),
        Client::GauntletBody => format!(", check = {{ status = 200, json = {{ \"$.price\" = {PRICE:?} }} }}"),
        Client::GauntletUsers => {
            ", check = { status = 200 }, extract = { name = { json = \"$.name\" } }".to_owned()
        }
        _ => String::new(),
    };
    let base = match client {
        Client::GauntletBody | Client::GauntletUsers => "/json/{id}",
        _ => "/items/{id}",
    };
    let feed = "feed = \"items.csv\", feed-order = \"random\"";
    let mut target = format!("url = \"{}\"\n", ask.base);
    if let Some(ca) = &ask.ca {
        target += &format!("tls = {{ ca = {:?} }}\n", ca.display().to_string());
    }
    let (mut connections, mut users) = (ask.connections, ask.users);
    if ask.case == Case::Http2 {
        target += &format!("http = \"2\"\nstreams = {STREAMS}\n");
        connections = ask.connections;
        users = ask.connections * STREAMS;
    }
    let load = match ask.rate {
        Some(rate) => format!("rate = {rate}"),
        None if ask.case == Case::Memory => format!("users = {users}\nthink = \"{THINK}\""),
        None => format!("users = {users}"),
    };
    connections = connections.max(1);
    // A closed model makes the generator as busy as it can be: that is what is measured, and no fault of the run. On a
    // schedule the rules on the generator are part of what is wanted.
    let judge = ask.rate.is_some();
    let (seconds, threads) = (ask.seconds, ask.threads);
    format!(
        r#"name = "bench {name}"
seed = 7
run-phases = ["heavy"]

[targets.server]
{target}
[[scenarios]]
name = "items"
guest = "http"
target = "server"

[scenarios.config]
headers = {{ x-user = "{{user}}" }}
steps = [
    {{ name = "item", weight = 3, get = "{base}", {feed}{extra} }},
    {{ name = "related", weight = 1, get = "{base}/related", {feed}{extra} }},
]

[phases.heavy]
{load}
connections = {connections}
duration = "{seconds}s"

[load]
threads = {threads}

[validity]
judge = {judge}
"#,
        name = client.name(),
    )
}

/// What a run's files say, and when its phase began and ended, in Unix seconds.
pub(super) struct Read {
    pub(super) said: Said,
    pub(super) phase: (f64, f64),
    /// The phase as in `summary.json`, without what no reader of a benchmark looks for.
    pub(super) details: Value,
}

/// Reads the one run in the directory.
pub(super) fn read(client: Client, ask: &Ask, finished: &Finished, dir: &Path) -> anyhow::Result<Read> {
    let run = run_dir(dir).with_context(|| {
        format!("{} ended with {}: {}{}", client.name(), finished.status, finished.stdout, finished.stderr)
    })?;
    let summary: Value = serde_json::from_slice(&std::fs::read(run.join("summary.json"))?)?;
    let history = std::fs::read_to_string(run.join("history.ndjson"))?;
    let phase = &summary["phases"][0];
    let why = || format!("{} measured nothing: {}{}", client.name(), finished.stdout, finished.stderr);
    let said = said(phase, ask).filter(|said| said.requests > 0).with_context(why)?;
    let window = phase_times(&history).with_context(why)?;
    let generator = &phase["generator"];
    let details = serde_json::json!({
        "verdict": summary["verdict"],
        "reasons": summary["reasons"],
        "arrivals": phase["arrivals"],
        "failures": phase["failures"],
        "statuses": phase["statuses"],
        "checks": phase["checks"],
        "latency": phase["latency"],
        "service": phase["service"],
        "generator": generator,
        "validity": phase["validity"],
    });
    Ok(Read { said, phase: window, details })
}

fn run_dir(dir: &Path) -> Option<PathBuf> {
    let runs = std::fs::read_dir(dir.join("runs")).ok()?.flatten().map(|entry| entry.path());
    runs.into_iter().find(|run| run.join("summary.json").is_file())
}

fn said(phase: &Value, ask: &Ask) -> Option<Said> {
    let arrivals = |name: &str| phase["arrivals"][name].as_u64();
    let answered = arrivals("answered")?;
    let counts = |list: &Value, counts: &dyn Fn(&Value) -> u64| -> u64 {
        list.as_array().into_iter().flatten().map(counts).sum()
    };
    let other = counts(&phase["statuses"], &|status| {
        let good = status["name"].as_str().is_some_and(|name| name.starts_with('2'));
        if good { 0 } else { status["count"].as_u64().unwrap_or(0) }
    });
    let broken = counts(&phase["checks"], &|check| check["failed"].as_u64().unwrap_or(0));
    let (dropped, failed, started) = (arrivals("dropped")?, arrivals("failed")?, arrivals("started")?);
    let generator = &phase["generator"];
    // By our own sum where there is a schedule: what it counts as scheduled is a part of what is looked at. What still waits
    // when a schedule ends is given up like what was dropped, as the raw loop counts it.
    let (wanted, dropped, without_answer) = match ask.rate {
        None => (arrivals("scheduled")?, dropped, dropped + failed),
        Some(rate) => {
            let wanted = (rate * f64::from(ask.seconds)) as u64;
            (wanted, wanted.saturating_sub(started), wanted.saturating_sub(answered))
        }
    };
    let pace = Pace {
        wanted,
        sent: started,
        dropped,
        lag_p50_us: generator["send_lag_p50_us"].as_f64()?,
        lag_p99_us: generator["send_lag_p99_us"].as_f64()?,
        lag_max_us: generator["send_lag_max_us"].as_f64()?,
    };
    Some(Said {
        requests: answered,
        errors: without_answer + other.max(broken),
        requests_per_second: phase["throughput"].as_f64()?,
        // From the actual send, as the others measure it.
        p50_us: phase["service"]["p50"].as_f64(),
        p99_us: phase["service"]["p99"].as_f64(),
        pace: Some(pace),
        loop_cpu: None,
    })
}

/// When the phase began and ended, by the history.
fn phase_times(history: &str) -> Option<(f64, f64)> {
    let entries = history.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let (mut begin, mut end) = (None, None);
    for entry in entries {
        let seconds = |value: &Value| Some(value.as_f64()? / 1e9);
        match entry["event"]["kind"].as_str() {
            Some("phase-started") => begin = seconds(&entry["at_unix_ns"]),
            Some("phase-timed") => begin = seconds(&entry["event"]["t0_unix_ns"]),
            Some("phase-ended") => end = seconds(&entry["at_unix_ns"]),
            _ => {}
        }
    }
    Some((begin?, end?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_is_found_in_the_history() {
        let history = "{\"at_unix_ns\":1000000000,\"event\":{\"kind\":\"phase-started\"}}\n\
                       {\"at_unix_ns\":6500000000,\"event\":{\"kind\":\"phase-ended\"}}\n";
        assert_eq!(phase_times(history), Some((1.0, 6.5)));
    }

    #[test]
    fn on_a_schedule_all_that_was_wanted_and_has_no_answer_is_an_error() {
        let phase = serde_json::json!({
            "arrivals": { "scheduled": 990, "dropped": 10, "waiting": 80, "started": 900, "answered": 890, "failed": 4 },
            "statuses": [{ "name": "200", "count": 883 }, { "name": "503", "count": 7 }],
            "checks": [{ "passed": 885, "failed": 5 }],
            "generator": { "send_lag_p50_us": 1.0, "send_lag_p99_us": 2.0, "send_lag_max_us": 3.0 },
            "throughput": 89.0,
        });
        let ask = |rate| Ask {
            case: Case::Paced,
            base: String::new(),
            path: "/",
            connections: 1,
            seconds: 10,
            threads: 1,
            rate,
            ca: None,
            users: 1,
        };
        let paced = said(&phase, &ask(Some(100.0))).expect("a phase");
        let pace = paced.pace.expect("a schedule");
        assert_eq!((pace.wanted, pace.sent, pace.dropped, paced.errors), (1_000, 900, 100, 117));
        let closed = said(&phase, &ask(None)).expect("a phase");
        assert_eq!((closed.requests, closed.errors), (890, 21));
    }
}

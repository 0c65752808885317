//! The clients: how each is started, and what it says of its run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::cases::{Case, STREAMS};
use super::process::Finished;
use crate::tools::load_generators as tools;

/// A load generator, and what it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Raw,
    Wrk,
    Oha,
    Hey,
    K6,
    H2load,
    /// The http guest, which hears nothing of its answers.
    GauntletNone,
    /// The status of each answer is checked.
    GauntletStatus,
    /// The guest parses each answer and compares a field.
    GauntletBody,
    /// Users who keep a value of an answer.
    GauntletUsers,
}

/// What is asked of a client.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) case: Case,
    /// `http://127.0.0.1:8080`, without a slash at its end.
    pub(super) base: String,
    /// What all but Gauntlet ask for.
    pub(super) path: &'static str,
    pub(super) connections: u32,
    pub(super) seconds: u32,
    /// Threads that a client sends with, where it lets itself be told; the raw loop has one.
    pub(super) threads: u32,
    /// Requests a second, where there is a schedule.
    pub(super) rate: Option<f64>,
    /// The server's certificate, where it has one.
    pub(super) ca: Option<PathBuf>,
    /// Users that a closed model of Gauntlet has.
    pub(super) users: u32,
}

/// What a client said of its run.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Answers of the kind that was wanted.
    pub(super) requests: u64,
    /// Requests that got none or another.
    pub(super) errors: u64,
    pub(super) requests_per_second: f64,
    /// Microseconds; absent where the client does not measure it.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) pace: Option<Pace>,
    /// CPU seconds of its loop alone, connections already made, where it tells them.
    pub(super) loop_cpu: Option<f64>,
}

/// How well a schedule was kept.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Requests that the schedule wanted.
    pub(super) wanted: u64,
    /// Those that were sent in time.
    pub(super) sent: u64,
    /// Those that were not, given up or still waiting at its end.
    pub(super) dropped: u64,
    /// From when a request was due to when it was sent, microseconds.
    pub(super) lag_p50_us: f64,
    pub(super) lag_p99_us: f64,
    pub(super) lag_max_us: f64,
}

impl Client {
    const ALL: [Self; 10] = [
        Self::Raw,
        Self::Wrk,
        Self::Oha,
        Self::Hey,
        Self::K6,
        Self::H2load,
        Self::GauntletNone,
        Self::GauntletStatus,
        Self::GauntletBody,
        Self::GauntletUsers,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Wrk => "wrk",
            Self::Oha => "oha",
            Self::Hey => "hey",
            Self::K6 => "k6",
            Self::H2load => "h2load",
            Self::GauntletNone => "gauntlet-none",
            Self::GauntletStatus => "gauntlet-status",
            Self::GauntletBody => "gauntlet-body",
            Self::GauntletUsers => "gauntlet-users",
        }
    }

    pub(super) fn named(name: &str, case: Case) -> anyhow::Result<Self> {
        let known = Self::ALL.into_iter().filter(|client| client.can(case));
        known.clone().find(|client| client.name() == name).with_context(|| {
            let names: Vec<_> = known.map(Self::name).collect();
            format!("--only {name}: case {} knows {}", case.name(), names.join(", "))
        })
    }

    /// Whether it can do what the case asks for, in a way that can be compared.
    const fn can(self, case: Case) -> bool {
        match case {
            Case::Paced | Case::PacedHard => {
                matches!(self, Self::Raw | Self::GauntletNone | Self::GauntletStatus)
            }
            Case::Http2 => {
                matches!(self, Self::H2load | Self::Oha | Self::GauntletNone | Self::GauntletStatus)
            }
            Case::Memory => matches!(self, Self::GauntletUsers),
            Case::Tls => !matches!(self, Self::Raw | Self::GauntletBody | Self::GauntletUsers),
            Case::Json => !matches!(self, Self::GauntletUsers),
            Case::Closed | Case::Connections => !matches!(self, Self::GauntletUsers),
        }
    }

    pub(super) const fn is_gauntlet(self) -> bool {
        matches!(self, Self::GauntletNone | Self::GauntletStatus | Self::GauntletBody | Self::GauntletUsers)
    }

    /// Installs it where it is missing.
    pub(super) fn install(self) -> anyhow::Result<()> {
        match self {
            Self::Wrk => tools::wrk().map(|_| ()),
            Self::Oha => tools::oha().map(|_| ()),
            Self::Hey => tools::hey().map(|_| ()),
            Self::K6 => tools::k6().map(|_| ()),
            Self::H2load => tools::h2load().map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The command of a client that is not Gauntlet, in a directory of its own.
    pub(super) fn command(self, ask: &Ask, programs: &Path, dir: &Path) -> anyhow::Result<Command> {
        let url = format!("{}{}", ask.base, ask.path);
        let (connections, seconds) = (ask.connections.to_string(), ask.seconds.to_string());
        let (over, threads) = (format!("{seconds}s"), ask.threads.to_string());
        let mut command;
        match self {
            Self::Raw => {
                command = Command::new(programs.join("raw-client"));
                command.arg(ask.base.trim_start_matches("http://"));
                command.args(["--connections", &connections, "--seconds", &seconds, "--path", ask.path]);
                if let Some(rate) = ask.rate {
                    command.arg("--rate").arg(rate.to_string());
                }
            }
            Self::Wrk => {
                command = Command::new(tools::wrk()?);
                command.args(["-t", &threads, "--latency", "-c", &connections, "-d", &over, &url]);
            }
            Self::Oha => {
                // It has as many threads as there are cores that it may use.
                command = Command::new(tools::oha()?);
                command.args(["--no-tui", "--insecure", "--output-format", "json", "-z", &over]);
                command.args(["-c", &connections]);
                if ask.case == Case::Http2 {
                    command.args(["--http2", "-p", &STREAMS.to_string()]);
                }
                command.arg(&url);
            }
            Self::Hey => {
                command = Command::new(tools::hey()?);
                command.args(["-cpus", &threads, "-z", &over, "-c", &connections, &url]);
            }
            Self::K6 => {
                let script = dir.join("script.js");
                std::fs::write(&script, k6_script(ask, &url))?;
                command = Command::new(tools::k6()?);
                command.env("GOMAXPROCS", &threads);
                command.args(["run", "--quiet", "--no-usage-report", "--insecure-skip-tls-verify"]);
                command.args(["--vus", &connections, "--duration", &over]);
                command.args(["--summary-trend-stats", "med,p(99)", "--summary-export"]);
                command.arg(dir.join("summary.json")).arg(&script);
            }
            Self::H2load => {
                command = Command::new(tools::h2load()?);
                command.args(["-t", &threads, "-c", &connections, "-m", &STREAMS.to_string()]);
                command.args(["-D", &seconds, &url]);
            }
            Self::GauntletNone | Self::GauntletStatus | Self::GauntletBody | Self::GauntletUsers => {
                anyhow::bail!("Gauntlet is started by its plan")
            }
        }
        Ok(command)
    }

    /// Reads what such a client printed or wrote.
    pub(super) fn read(self, finished: &Finished, dir: &Path) -> anyhow::Result<Said> {
        anyhow::ensure!(
            finished.status.success(),
            "{} ended with {}: {}{}",
            self.name(),
            finished.status,
            finished.stdout,
            finished.stderr
        );
        let text = finished.stdout.as_str();
        let said = match self {
            Self::Raw => raw(text),
            Self::Wrk => wrk(text),
            Self::Oha => oha(text),
            Self::Hey => hey(text),
            Self::K6 => k6(&std::fs::read_to_string(dir.join("summary.json"))?),
            Self::H2load => h2load(text),
            Self::GauntletNone | Self::GauntletStatus | Self::GauntletBody | Self::GauntletUsers => None,
        };
        said.with_context(|| format!("cannot read what {} printed: {text}{}", self.name(), finished.stderr))
    }
}

fn k6_script(ask: &Ask, url: &str) -> String {
    if ask.case == Case::Json {
        return format!(
            "import http from 'k6/http';\n\
             export default function () {{\n  \
               if (JSON.parse(http.get('{url}').body).price !== {:?}) throw new Error('another price');\n}}\n",
            super::gauntlet::PRICE
        );
    }
    format!(
        "import http from 'k6/http';\n\
         export const options = {{ discardResponseBodies: true }};\n\
         export default function () {{\n  http.get('{url}');\n}}\n"
    )
}

fn raw(text: &str) -> Option<Said> {
    let value: Value = serde_json::from_str(text).ok()?;
    let pace = match value.get("sent").and_then(Value::as_u64) {
        None => None,
        Some(sent) => {
            let wanted = value["wanted"].as_u64()?;
            let lag = &value["send_lag_us"];
            Some(Pace {
                wanted,
                sent,
                dropped: wanted.checked_sub(sent)?,
                lag_p50_us: lag["p50"].as_f64()?,
                lag_p99_us: lag["p99"].as_f64()?,
                lag_max_us: lag["max"].as_f64()?,
            })
        }
    };
    let requests = value["requests"].as_u64().or_else(|| value["answered"].as_u64())?;
    Some(Said {
        requests,
        // On a schedule, those that were not sent in time and those whose answer did not come; a closed loop ends with its
        // first error.
        errors: pace.as_ref().map_or(0, |pace| pace.wanted.saturating_sub(requests)),
        requests_per_second: value["requests_per_second"].as_f64()?,
        p50_us: value["service_us"]["p50"].as_f64(),
        p99_us: value["service_us"]["p99"].as_f64(),
        pace,
        loop_cpu: Some(value["cpu_seconds"].as_f64()?),
    })
}

fn wrk(text: &str) -> Option<Said> {
    let line = |start: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(start));
    let requests = text.lines().find(|line| line.contains(" requests in "))?;
    let requests: u64 = requests.split_whitespace().next()?.parse().ok()?;
    let socket = line("Socket errors:").map_or(0, |errors| {
        errors.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum()
    });
    let status = line("Non-2xx or 3xx responses:").map_or(Some(0), |n| n.trim().parse().ok())?;
    Some(Said {
        requests: requests.checked_sub(status)?,
        errors: socket + status,
        requests_per_second: line("Requests/sec:")?.trim().parse().ok()?,
        p50_us: wrk_time(line("50%")?),
        p99_us: wrk_time(line("99%")?),
        ..Said::default()
    })
}

/// `512.00us`, `1.02ms`, `1.50s`, `1.00m`.
fn wrk_time(text: &str) -> Option<f64> {
    let text = text.trim();
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

fn oha(text: &str) -> Option<Said> {
    let value: Value = serde_json::from_str(text).ok()?;
    let count = |object: &Value, counts: &dyn Fn(&str) -> bool| -> Option<u64> {
        let entries = object.as_object()?.iter();
        Some(entries.filter(|(name, _)| counts(name)).filter_map(|(_, n)| n.as_u64()).sum())
    };
    let good = count(&value["statusCodeDistribution"], &|status| status.starts_with('2'))?;
    let bad = count(&value["statusCodeDistribution"], &|status| !status.starts_with('2'))?;
    // Those that are under way when the time is over are no errors.
    let failed = count(&value["errorDistribution"], &|error| !error.contains("deadline"))?;
    let micros = |quantile: &str| Some(value["latencyPercentiles"][quantile].as_f64()? * 1e6);
    Some(Said {
        requests: good,
        errors: bad + failed,
        requests_per_second: value["summary"]["requestsPerSec"].as_f64()?,
        p50_us: micros("p50"),
        p99_us: micros("p99"),
        ..Said::default()
    })
}

fn hey(text: &str) -> Option<Said> {
    let lines = || text.lines().map(str::trim);
    let rate = lines().find_map(|line| line.strip_prefix("Requests/sec:"))?;
    let micros = |quantile: &str| {
        let line = lines().find(|line| line.starts_with(quantile) && line.ends_with("secs"))?;
        Some(line.split_whitespace().nth(2)?.parse::<f64>().ok()? * 1e6)
    };
    let (mut requests, mut errors) = (0, 0);
    for line in lines() {
        let Some((status, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else {
            continue;
        };
        let count: u64 = match rest.trim().strip_suffix("responses") {
            Some(count) => count.trim().parse().ok()?,
            // `[12]  Get "http://…": connection refused`: the count comes first.
            None => {
                errors += status.trim().parse::<u64>().ok()?;
                continue;
            }
        };
        if status.starts_with('2') { requests += count } else { errors += count }
    }
    Some(Said {
        requests,
        errors,
        requests_per_second: rate.trim().parse().ok()?,
        p50_us: micros("50%"),
        p99_us: micros("99%"),
        ..Said::default()
    })
}

fn k6(summary: &str) -> Option<Said> {
    let value: Value = serde_json::from_str(summary).ok()?;
    let metrics = &value["metrics"];
    let all = metrics["http_reqs"]["count"].as_u64()?;
    // A rate's passes are the values that are true: here, requests that failed.
    let failed = metrics["http_req_failed"]["passes"].as_u64()?;
    let micros = |stat: &str| Some(metrics["http_req_duration"][stat].as_f64()? * 1e3);
    Some(Said {
        requests: all.checked_sub(failed)?,
        errors: failed,
        requests_per_second: metrics["http_reqs"]["rate"].as_f64()?,
        p50_us: micros("med"),
        p99_us: micros("p(99)"),
        ..Said::default()
    })
}

/// It prints no percentiles.
fn h2load(text: &str) -> Option<Said> {
    let finished = text.lines().find(|line| line.starts_with("finished in"))?;
    let rate = finished.split(", ").find_map(|part| part.strip_suffix(" req/s"))?;
    let counts = text.lines().find_map(|line| line.strip_prefix("requests:"))?;
    let count = |name: &str| {
        let part = counts.split(", ").find_map(|part| part.trim().strip_suffix(name))?;
        part.trim().parse::<u64>().ok()
    };
    Some(Said {
        requests: count("succeeded")?,
        errors: count("failed")? + count("timeout")?,
        requests_per_second: rate.parse().ok()?,
        ..Said::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_read() {
        let text = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     0.85ms    1.01ms  25.60ms   99.10%\n    Req/Sec    75.91k     5.48k   82.62k    85.00%\n  Latency Distribution\n     50%  767.00us\n     75%  840.00us\n     90%    1.01ms\n     99%    1.57ms\n  151042 requests in 2.00s, 11.09MB read\n  Socket errors: connect 1, read 0, write 2, timeout 0\n  Non-2xx or 3xx responses: 42\nRequests/sec:  75462.73\nTransfer/sec:      5.54MB\n";
        let said = wrk(text).expect("wrk's report");
        assert_eq!((said.requests, said.errors), (151_000, 45));
        assert_eq!((said.p50_us, said.p99_us), (Some(767.0), Some(1_570.0)));
        assert_eq!(said.requests_per_second, 75_462.73);
    }

    #[test]
    fn hey_is_read_with_errors_and_without() {
        let text = "\nSummary:\n  Total:\t2.0010 secs\n  Requests/sec:\t23564.7018\n\nLatency distribution:\n  10%% in 0.0009 secs\n  50%% in 0.0024 secs\n  99%% in 0.0077 secs\n\nStatus code distribution:\n  [200]\t47000 responses\n  [500]\t3 responses\n\nError distribution:\n  [7]\tGet \"http://127.0.0.1:1/\": connection refused\n";
        let said = hey(text).expect("hey's report");
        assert_eq!((said.requests, said.errors), (47_000, 10));
        assert_eq!((said.p50_us, said.p99_us), (Some(2_400.0), Some(7_700.0)));
    }

    #[test]
    fn the_raw_loops_are_read() {
        let said = raw(r#"{"requests":1000,"requests_per_second":500.0,"cpu_seconds":0.5}"#).expect("closed");
        assert_eq!((said.requests, said.errors, said.loop_cpu), (1_000, 0, Some(0.5)));
        let said = raw(r#"{"wanted":1000,"sent":990,"answered":985,"requests_per_second":99.0,"cpu_seconds":0.5,"send_lag_us":{"p50":1.0,"p99":2.0,"max":3.0},"service_us":{"p50":10.0,"p99":20.0}}"#).expect("paced");
        let pace = said.pace.expect("a schedule");
        assert_eq!((said.requests, said.errors, pace.sent, pace.dropped), (985, 15, 990, 10));
    }

    #[test]
    fn h2load_is_read() {
        let text = "finished in 5.00s, 120345.60 req/s, 4.01MB/s\nrequests: 601728 total, 601984 started, 601728 done, 601720 succeeded, 8 failed, 8 errored, 0 timeout\n";
        let said = h2load(text).expect("h2load's report");
        assert_eq!((said.requests, said.errors, said.requests_per_second), (601_720, 8, 120_345.6));
    }

    #[test]
    fn oha_and_k6_are_read() {
        let said = oha(r#"{"summary":{"requestsPerSec":10.5},"latencyPercentiles":{"p50":0.001,"p99":0.002},"statusCodeDistribution":{"200":20,"503":1},"errorDistribution":{"aborted due to deadline":64,"refused":2}}"#).expect("oha's report");
        assert_eq!((said.requests, said.errors, said.p99_us), (20, 3, Some(2_000.0)));
        let said = k6(r#"{"metrics":{"http_reqs":{"count":100,"rate":50.0},"http_req_failed":{"value":0.02,"passes":2,"fails":98},"http_req_duration":{"med":1.5,"p(99)":3}}}"#).expect("k6's report");
        assert_eq!((said.requests, said.errors, said.p50_us), (98, 2, Some(1_500.0)));
    }
}

//! Metrics endpoints of targets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use prober::Client;

use super::record::{ProbeId, Record};
use super::text::{Sample, parse, sums};
use super::usage::share;
use super::{Context, Now};

const CPU_SECONDS: &str = "process_cpu_seconds_total";
const MEMORY_BYTES: &str = "process_resident_memory_bytes";
/// What tells the size of a machine that is not ours.
const MACHINE_CORES: &str = "machine_cpu_cores";
const MACHINE_MEMORY: [&str; 2] = ["machine_memory_bytes", "node_memory_MemTotal_bytes"];

/// What is read from one URL.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// CPU and memory, with the ids of both probes.
    pub(super) resources: Option<[ProbeId; 2]>,
    /// The plan's metrics.
    pub(super) custom: Option<ProbeId>,
    /// Our name → its name there.
    pub(super) names: BTreeMap<String, String>,
}

/// Reads one metrics endpoint.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) target: u32,
    pub(super) url: String,
    pub(super) wanted: Wanted,
    pub(super) interval: Duration,
}

/// CPU seconds of each instance at the last reading.
type Before = BTreeMap<String, (f64, Now)>;

impl Scrape {
    pub(super) async fn run(self, mut client: Client, context: Context) -> Result<(), Infallible> {
        let mut rounds = context.rounds(self.interval);
        let mut before = Before::new();
        let local = is_loopback(client.host());
        while rounds.next().await {
            let Some(result) = context.attempt(client.get()).await else { break };
            let now = Now::read();
            let mut record = context.record();
            let body = result.and_then(|answer| match answer.status {
                200..300 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
                status => Err(format!("{} answered {status}, expected 200", self.url)),
            });
            let samples = body
                .as_deref()
                .map_err(Clone::clone)
                .and_then(|body| parse(body).map_err(|error| format!("{}: {error}", self.url)));
            match samples {
                Ok(samples) => {
                    let machine = Machine::of(&samples, context.machine.filter(|_| local));
                    self.resources(&samples, machine, &mut before, now, &mut record);
                    self.custom(&samples, now, &mut record);
                }
                Err(error) => {
                    let ids = self.wanted.resources.iter().flatten().chain(&self.wanted.custom);
                    ids.for_each(|id| record.failed(*id, &error));
                    before.clear();
                }
            }
        }
        Ok(())
    }

    fn resources(
        &self,
        samples: &[Sample<'_>],
        machine: Machine,
        before: &mut Before,
        now: Now,
        record: &mut Record,
    ) {
        let Some([cpu, memory]) = self.wanted.resources else { return };
        let seconds = sums(samples, CPU_SECONDS);
        match machine.cores {
            _ if seconds.is_empty() => self.lacks(cpu, "cpu", CPU_SECONDS, record),
            None => self.elsewhere(cpu, "cpu", MACHINE_CORES, record),
            Some(cores) => {
                record.good(cpu, now);
                for (instance, seconds) in seconds {
                    let last = before.insert(instance.clone(), (seconds, now));
                    let share = last.and_then(|(last, then)| share(seconds - last, then, now, cores));
                    if let Some(share) = share {
                        record.point(self.target, "cpu", &instance, now, share);
                    }
                }
            }
        }
        let bytes = sums(samples, MEMORY_BYTES);
        match machine.memory {
            _ if bytes.is_empty() => self.lacks(memory, "memory", MEMORY_BYTES, record),
            None => self.elsewhere(memory, "memory", MACHINE_MEMORY[0], record),
            Some(machine) => {
                record.good(memory, now);
                for (instance, bytes) in bytes {
                    record.point(self.target, "memory", &instance, now, bytes / machine);
                }
            }
        }
    }

    fn custom(&self, samples: &[Sample<'_>], now: Now, record: &mut Record) {
        let Some(id) = self.wanted.custom else { return };
        record.good(id, now);
        for (ours, theirs) in &self.wanted.names {
            let values = sums(samples, theirs);
            if values.is_empty() {
                record.absent(self.target, ours, &format!("{} exposes no {theirs}", self.url));
            }
            for (instance, value) in values {
                record.point(self.target, ours, &instance, now, value);
            }
        }
    }

    fn lacks(&self, id: ProbeId, metric: &str, theirs: &str, record: &mut Record) {
        let reason = format!("{} exposes no {theirs}", self.url);
        record.failed(id, &reason);
        record.absent(self.target, metric, &reason);
    }

    fn elsewhere(&self, id: ProbeId, metric: &str, theirs: &str, record: &mut Record) {
        let reason = format!(
            "{} is on another machine and exposes no {theirs}, so that no share of it is known",
            self.url
        );
        record.failed(id, &reason);
        record.absent(self.target, metric, &reason);
    }
}

/// What shares are shares of: what the endpoint says, else our own machine if it is on it.
#[derive(Clone, Copy, Debug)]
struct Machine {
    cores: Option<f64>,
    memory: Option<f64>,
}

impl Machine {
    fn of(samples: &[Sample<'_>], ours: Option<platform::usage::Machine>) -> Self {
        let said = |name: &str| samples.iter().find(|sample| sample.name == name && sample.value > 0.0);
        let cores = said(MACHINE_CORES).map(|sample| sample.value);
        let memory = MACHINE_MEMORY.iter().find_map(|name| said(name)).map(|sample| sample.value);
        Self {
            cores: cores.or_else(|| ours.map(|ours| f64::from(ours.cores))),
            memory: memory.or_else(|| ours.map(|ours| ours.memory_bytes as f64)),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

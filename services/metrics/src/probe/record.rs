//! What probes have seen.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::v1;

use super::Now;

/// Points kept for one metric of one instance: two a second for more than a day.
const MAX_POINTS: usize = 200_000;
/// Instances kept for one metric of one target; more are counted in the metric's reason of absence.
const MAX_INSTANCES: usize = 256;

/// One probe in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProbeId(usize);

#[derive(Debug)]
struct Probe {
    target: u32,
    name: String,
    interval: Duration,
    last_good: Option<Now>,
    samples: u64,
    error: String,
    healthy: bool,
}

#[derive(Debug, Default)]
struct Metric {
    points: Vec<v1::MetricPoint>,
    /// How many of them are in the store.
    stored: usize,
}

#[derive(Debug, Default)]
struct Target {
    /// By name and instance.
    metrics: BTreeMap<(String, String), Metric>,
    /// Why a metric is absent, by name.
    absent: BTreeMap<String, String>,
    /// Health probes made and those that did not find the target healthy, by phase.
    checks: BTreeMap<u32, (u64, u64)>,
    stored_checks: BTreeMap<u32, (u64, u64)>,
}

/// Everything that the probes of a run have seen.
#[derive(Debug, Default)]
pub(crate) struct Record {
    probes: Vec<Probe>,
    targets: BTreeMap<u32, Target>,
    phase: u32,
}

impl Record {
    /// Enters a probe; the same one again after a restart of the probes keeps its place and begins anew.
    pub(crate) fn probe(&mut self, target: u32, name: String, interval: Duration) -> ProbeId {
        let probe = Probe {
            target,
            name,
            interval,
            last_good: None,
            samples: 0,
            error: String::new(),
            healthy: false,
        };
        self.probes.push(probe);
        ProbeId(self.probes.len() - 1)
    }

    /// Forgets the probes themselves; what they have seen stays.
    pub(crate) fn clear_probes(&mut self) {
        self.probes.clear();
    }

    /// A phase begins: health probes count for it from here on.
    pub(crate) fn begin_phase(&mut self, phase: u32) {
        self.phase = phase;
    }

    /// A reading was good.
    pub(crate) fn good(&mut self, id: ProbeId, now: Now) {
        if let Some(probe) = self.probes.get_mut(id.0) {
            probe.last_good = Some(now);
            probe.samples += 1;
            probe.error.clear();
            probe.healthy = true;
        }
    }

    /// A reading failed.
    pub(crate) fn failed(&mut self, id: ProbeId, error: &str) {
        if let Some(probe) = self.probes.get_mut(id.0) {
            error.clone_into(&mut probe.error);
            probe.healthy = false;
        }
    }

    /// The target answered, and says that it is not well: a good sample of a bad state.
    pub(crate) fn unhealthy(&mut self, id: ProbeId, now: Now, seen: &str) {
        self.good(id, now);
        self.failed(id, seen);
    }

    /// A health probe was made.
    pub(crate) fn checked(&mut self, id: ProbeId, healthy: bool) {
        if let Some(target) = self.probes.get(id.0).map(|probe| probe.target) {
            let counts = self.targets.entry(target).or_default().checks.entry(self.phase).or_default();
            counts.0 += 1;
            counts.1 += u64::from(!healthy);
        }
    }

    /// A value of a metric.
    pub(crate) fn point(&mut self, target: u32, name: &str, instance: &str, now: Now, value: f64) {
        if !value.is_finite() {
            return;
        }
        let target = self.targets.entry(target).or_default();
        let instances =
            target.metrics.range((name.to_owned(), String::new())..).take_while(|(key, _)| key.0 == name);
        let key = (name.to_owned(), instance.to_owned());
        if !target.metrics.contains_key(&key) && instances.count() >= MAX_INSTANCES {
            let reason = format!("more than {MAX_INSTANCES} instances: the others are left out");
            target.absent.insert(name.to_owned(), reason);
            return;
        }
        let metric = target.metrics.entry(key).or_default();
        if metric.points.len() >= MAX_POINTS {
            let reason = format!("more than {MAX_POINTS} values: later ones are left out");
            target.absent.insert(name.to_owned(), reason);
            return;
        }
        metric.points.push(v1::MetricPoint { at_unix_ns: now.unix_ns, value });
        target.absent.remove(name);
    }

    /// A metric has no value, and why.
    pub(crate) fn absent(&mut self, target: u32, name: &str, reason: &str) {
        self.targets.entry(target).or_default().absent.insert(name.to_owned(), reason.to_owned());
    }

    /// The probes' states.
    pub(crate) fn states(&self, now: Now) -> Vec<v1::ProbeState> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.probes
            .iter()
            .map(|probe| v1::ProbeState {
                target: probe.target,
                probe: probe.name.clone(),
                interval_ns: nanos(probe.interval),
                age_ns: probe
                    .last_good
                    .map(|good| nanos(now.monotonic.saturating_duration_since(good.monotonic))),
                samples: probe.samples,
                error: probe.error.clone(),
                healthy: probe.healthy,
            })
            .collect()
    }

    /// What was seen in a phase: points from `bounds.0` up to and without `bounds.1` (Unix ns).
    pub(crate) fn samples(&self, phase: u32, bounds: (i64, i64)) -> Vec<v1::TargetSamples> {
        self.targets
            .iter()
            .map(|(index, target)| {
                let (probes, probe_failures) = target.checks.get(&phase).copied().unwrap_or_default();
                let metrics = target.metrics.iter().filter_map(|((name, instance), metric)| {
                    let from = metric.points.partition_point(|point| point.at_unix_ns < bounds.0);
                    let to = metric.points.partition_point(|point| point.at_unix_ns < bounds.1);
                    let points = metric.points.get(from..to).filter(|points| !points.is_empty())?.to_vec();
                    Some(v1::TargetMetric { name: name.clone(), instance: instance.clone(), points })
                });
                let mut absent = target.absent.clone();
                for probe in self.probes.iter().filter(|probe| probe.target == *index) {
                    let known = target.metrics.range((probe.name.clone(), String::new())..).next();
                    if ["cpu", "memory"].contains(&probe.name.as_str())
                        && known.is_none_or(|(key, _)| key.0 != probe.name)
                        && !absent.contains_key(&probe.name)
                    {
                        let reason = match (probe.samples, probe.error.as_str()) {
                            (1.., "") => "two readings are needed, and only one was made".to_owned(),
                            (_, error) => format!("no reading succeeded: {error}"),
                        };
                        absent.insert(probe.name.clone(), reason);
                    }
                }
                v1::TargetSamples {
                    target: *index,
                    metrics: metrics.collect(),
                    absent: absent.into_iter().map(|(name, reason)| format!("{name}: {reason}")).collect(),
                    probes,
                    probe_failures,
                }
            })
            .collect()
    }

    /// The newest value of a metric: target, instance, value.
    pub(crate) fn newest(&self, name: &str) -> Vec<(u32, String, f64)> {
        let newest = |(index, target): (&u32, &Target)| {
            let of_name = target.metrics.iter().filter(|((metric, _), _)| metric == name);
            of_name
                .filter_map(|((_, instance), metric)| {
                    Some((*index, instance.clone(), metric.points.last()?.value))
                })
                .collect::<Vec<_>>()
        };
        self.targets.iter().flat_map(newest).collect()
    }

    /// Health of each target that is probed.
    pub(crate) fn health(&self) -> impl Iterator<Item = (u32, bool)> {
        let health = self.probes.iter().filter(|probe| probe.name.starts_with("health "));
        health.map(|probe| (probe.target, probe.healthy))
    }

    /// What is not in the store yet, by phase; it is taken as stored.
    pub(crate) fn take_new(&mut self) -> Vec<(u32, Vec<v1::TargetSamples>)> {
        let mut new: BTreeMap<u32, Vec<v1::TargetSamples>> = BTreeMap::new();
        for (index, target) in &mut self.targets {
            let mut metrics = Vec::new();
            for ((name, instance), metric) in &mut target.metrics {
                let points = metric.points.get(metric.stored..).unwrap_or_default().to_vec();
                metric.stored = metric.points.len();
                if !points.is_empty() {
                    metrics.push(v1::TargetMetric { name: name.clone(), instance: instance.clone(), points });
                }
            }
            for (phase, counts) in &target.checks {
                let before = target.stored_checks.insert(*phase, *counts).unwrap_or_default();
                if before != *counts {
                    new.entry(*phase).or_default().push(v1::TargetSamples {
                        target: *index,
                        probes: counts.0 - before.0,
                        probe_failures: counts.1 - before.1,
                        ..Default::default()
                    });
                }
            }
            if !metrics.is_empty() {
                let samples = v1::TargetSamples { target: *index, metrics, ..Default::default() };
                new.entry(self.phase).or_default().push(samples);
            }
        }
        new.into_iter().collect()
    }

    /// Takes back what was stored, after a restart.
    pub(crate) fn restore(&mut self, phase: u32, samples: Vec<v1::TargetSamples>) {
        for sample in samples {
            let target = self.targets.entry(sample.target).or_default();
            for counts in [&mut target.checks, &mut target.stored_checks] {
                let counts = counts.entry(phase).or_default();
                counts.0 += sample.probes;
                counts.1 += sample.probe_failures;
            }
            for restored in sample.metrics {
                let metric = target.metrics.entry((restored.name, restored.instance)).or_default();
                metric.points.extend(restored.points);
                metric.stored = metric.points.len();
            }
        }
    }
}

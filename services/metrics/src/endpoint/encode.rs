//! The newest run in the words of [`crate::metric_definitions`].

use std::fmt;
use std::sync::Arc;

use plan::Plan;
use plan::model::PhaseName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use protocol::v1;

use crate::exposed::{Buckets, Exposed, Shown};
use crate::metric_definitions::{self as define, Definition};
use crate::probe;
use crate::service_state::Runs;
use crate::state::{Filter, SeriesKey};

type Labels = Vec<(&'static str, String)>;

/// A copy of what a scrape shows: small, so that the runs are not locked while it is written.
#[derive(Debug)]
pub(super) struct View {
    run: String,
    plan: Arc<Plan>,
    steps: Vec<v1::ScenarioSteps>,
    exposed: Exposed,
    phase: Option<u32>,
    /// The newest second.
    second: Option<v1::Aggregate>,
    cpu: Vec<(u32, String, f64)>,
    memory: Vec<(u32, String, f64)>,
    health: Vec<(u32, bool)>,
}

impl View {
    /// Of the newest run; `None` before the first.
    pub(super) fn of(runs: &Runs) -> Option<Self> {
        let (run, known) = runs.newest()?;
        let watch = known.watch.as_ref()?;
        let current = known.run.current();
        let all = Filter::default();
        let second = current
            .and_then(|(_, phase)| Some(phase.figures(phase.newest_row()?).into_proto(&[], &all, None)));
        let record = probe::lock(&known.record);
        Some(Self {
            run: run.to_string(),
            plan: Arc::clone(&watch.plan),
            steps: watch.message.scenarios.clone(),
            exposed: known.exposed.clone(),
            phase: current.map(|(index, _)| index),
            second,
            cpu: record.newest("cpu"),
            memory: record.newest("memory"),
            health: record.health().collect(),
        })
    }

    fn target(&self, index: u32) -> String {
        let target = usize::try_from(index).ok().and_then(|index| self.plan.targets.get(index));
        target.map_or_else(|| index.to_string(), |target| target.name.clone())
    }

    fn scenario(&self, index: u32) -> String {
        let scenario = usize::try_from(index).ok().and_then(|index| self.plan.scenarios.get(index));
        scenario.map_or_else(|| index.to_string(), |scenario| scenario.name.clone())
    }

    fn labels(&self, key: SeriesKey) -> Labels {
        let index = |index: u32| usize::try_from(index).ok();
        let steps = index(key.scenario).and_then(|scenario| self.steps.get(scenario));
        let step = steps.and_then(|steps| steps.steps.get(index(key.step)?));
        vec![
            ("scenario", self.scenario(key.scenario)),
            ("step", step.cloned().unwrap_or_else(|| key.step.to_string())),
            ("target", self.target(key.target)),
        ]
    }

    /// One counter for each series.
    fn counts(&self, to: &mut Encoder<'_>, what: &Definition, of: fn(&Shown) -> u64) -> fmt::Result {
        let values = self.exposed.series.iter().map(|(key, shown)| (self.labels(*key), of(shown)));
        to.counters(what, values)
    }

    /// Several counters for each series, told apart by one more label.
    fn counts_by(
        &self,
        to: &mut Encoder<'_>,
        what: &Definition,
        label: &'static str,
        of: fn(&Shown) -> Vec<(String, u64)>,
    ) -> fmt::Result {
        let values = self.exposed.series.iter().flat_map(|(key, shown)| {
            of(shown).into_iter().map(|(name, count)| {
                let mut labels = self.labels(*key);
                labels.push((label, name));
                (labels, count)
            })
        });
        to.counters(what, values)
    }

    fn times(&self, to: &mut Encoder<'_>, what: &Definition, of: fn(&Shown) -> &Buckets) -> fmt::Result {
        let values = self.exposed.series.iter().map(|(key, shown)| (self.labels(*key), of(shown)));
        to.histograms(what, values)
    }

    fn load(&self, to: &mut Encoder<'_>) -> fmt::Result {
        self.counts(to, &define::REQUESTS, |shown| shown.counts.requests)?;
        self.counts_by(to, &define::OPERATIONS, "outcome", |shown| {
            let counts = &shown.counts;
            let outcomes =
                [("answered", counts.answered), ("failed", counts.failed), ("cancelled", counts.cancelled)];
            outcomes.map(|(name, count)| (name.to_owned(), count)).to_vec()
        })?;
        self.counts(to, &define::GOOD, |shown| shown.counts.good)?;
        self.counts_by(to, &define::FAILURES, "class", |shown| {
            shown.failures.iter().map(|(class, count)| (class.clone(), *count)).collect()
        })?;
        self.counts_by(to, &define::RESPONSES, "status", |shown| {
            shown.statuses.iter().map(|(digit, count)| (format!("{digit}xx"), *count)).collect()
        })?;
        self.counts_by(to, &define::CHECKS, "result", |shown| {
            vec![("passed".to_owned(), shown.checks_passed), ("failed".to_owned(), shown.checks_failed)]
        })?;
        self.counts(to, &define::SENT, |shown| shown.counts.bytes_sent)?;
        self.counts(to, &define::RECEIVED, |shown| shown.counts.bytes_received)?;
        self.times(to, &define::LATENCY, |shown| &shown.latency)?;
        self.times(to, &define::SERVICE, |shown| &shown.service)?;
        self.times(to, &define::QUEUE, |shown| &shown.queue)
    }

    fn generator(&self, to: &mut Encoder<'_>) -> fmt::Result {
        to.counter(&define::DROPPED, self.exposed.dropped)?;
        to.counter(&define::BATCHES, self.exposed.batches)?;
        let (sum, count, buckets) = self.exposed.send_lag.shown();
        to.describe(&define::SEND_LAG)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        let faults = self.exposed.faults.iter().map(|((scenario, kind), count)| {
            (vec![("scenario", self.scenario(*scenario)), ("kind", kind.clone())], *count)
        });
        to.counters(&define::GUEST_FAULTS, faults)?;
        let Some(second) = &self.second else { return Ok(()) };
        let arrivals = second.arrivals.unwrap_or_default();
        let seconds = series::seconds(second);
        let achieved = if seconds > 0.0 { arrivals.started as f64 / seconds } else { 0.0 };
        to.gauge(&define::WANTED, second.wanted_rate)?;
        to.gauge(&define::ACHIEVED, achieved)?;
        to.gauge(&define::IN_FLIGHT, arrivals.in_flight as f64)?;
        to.gauge(&define::WAITING, arrivals.waiting as f64)?;
        to.gauge(&define::BUSY, second.busy_max)?;
        to.gauge(&define::CONNECTIONS, f64::from(second.connections_open))
    }

    fn targets(&self, to: &mut Encoder<'_>) -> fmt::Result {
        for (what, values) in [(&define::TARGET_CPU, &self.cpu), (&define::TARGET_MEMORY, &self.memory)] {
            let values = values.iter().map(|(target, instance, value)| {
                (vec![("target", self.target(*target)), ("instance", instance.clone())], *value)
            });
            to.gauges(what, values)?;
        }
        let health = self.health.iter().map(|(target, healthy)| {
            (vec![("target", self.target(*target))], if *healthy { 1.0 } else { 0.0 })
        });
        to.gauges(&define::TARGET_HEALTHY, health)
    }

    /// Position of the present phase among the seven.
    fn progression(&self) -> Option<usize> {
        let phase = self.plan.phases.get(usize::try_from(self.phase?).ok()?)?;
        PhaseName::ALL.iter().position(|name| *name == phase.name)
    }
}

impl Collector for View {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Encoder(encoder);
        let info = vec![("run", self.run.clone()), ("plan", self.plan.name.clone())];
        to.gauges(&define::RUN, [(info, 1.0)])?;
        if let Some(progression) = self.progression() {
            to.gauge(&define::PHASE, progression as f64)?;
        }
        self.load(&mut to)?;
        self.generator(&mut to)?;
        self.targets(&mut to)
    }
}

/// Writes metrics that have a definition.
struct Encoder<'a>(DescriptorEncoder<'a>);

impl Encoder<'_> {
    fn describe(&mut self, what: &Definition) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(what.name, what.help, None, what.kind)
    }

    fn counters(
        &mut self,
        what: &Definition,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut metric = self.describe(what)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges(&mut self, what: &Definition, values: impl IntoIterator<Item = (Labels, f64)>) -> fmt::Result {
        let mut metric = self.describe(what)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn gauge(&mut self, what: &Definition, value: f64) -> fmt::Result {
        self.describe(what)?.encode_gauge(&value)
    }

    fn counter(&mut self, what: &Definition, value: u64) -> fmt::Result {
        self.describe(what)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn histograms<'b>(
        &mut self,
        what: &Definition,
        values: impl IntoIterator<Item = (Labels, &'b Buckets)>,
    ) -> fmt::Result {
        let mut metric = self.describe(what)?;
        for (labels, value) in values {
            let (sum, count, buckets) = value.shown();
            let mut family = metric.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

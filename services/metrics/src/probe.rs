//! Probes of targets: health, CPU and memory, their own metrics.
//!
//! Each probe is a task of its own: a target that hangs delays nobody else. Every attempt has the plan's
//! `probe-timeout` and is also made when a phase begins; health is asked each `probe-interval`, processes are read at least each 500 ms, metrics
//! endpoints at least six times in the shortest phase (but not more often than each 250 ms nor less often than
//! each `probe-interval`).

mod health;
mod record;
mod scrape;
pub(crate) mod text;
mod usage;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use plan::Plan;
use plan::model::{Resources, Target};
use prober::{Client, Connector, Expects};
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use tokio::sync::watch;

pub(crate) use record::Record;

/// Longest time between two readings of a process.
const USAGE_PERIOD: Duration = Duration::from_millis(500);
/// Shortest time between two readings of a metrics endpoint.
const SCRAPE_FLOOR: Duration = Duration::from_millis(250);
/// So many readings of a metrics endpoint in the shortest phase.
const SCRAPES_A_PHASE: u32 = 6;
/// How long probes in the middle of an attempt may take to notice that they are not wanted any more.
const STOP: Duration = Duration::from_secs(1);

/// What probes write to and queries read.
pub(crate) type Shared = Arc<Mutex<Record>>;

/// The probes of one run while they go on.
#[derive(Debug)]
pub(crate) struct Probes {
    stop: Shutdown,
    tasks: Tasks,
    /// Tells when a phase begins, Unix nanoseconds.
    begun: watch::Sender<i64>,
}

/// What every probe task has.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    record: Shared,
    stop: Shutdown,
    timeout: Duration,
    machine: Option<platform::usage::Machine>,
    begun: watch::Receiver<i64>,
}

impl Probes {
    /// Starts the probes of all targets of a plan; each makes its first attempt at once.
    pub(crate) fn start(
        plan: &Plan,
        base_dir: &Path,
        watched: &v1::WatchRun,
        record: &Shared,
        parent: &Shutdown,
    ) -> Self {
        let stop = parent.child();
        let tasks = Tasks::new(stop.clone());
        let machine = platform::usage::machine()
            .inspect_err(|error| tracing::warn!(%error, "the machine's cores and memory are not known"))
            .ok();
        let (begun, heard) = watch::channel(0);
        let context = Context {
            record: Arc::clone(record),
            stop: stop.clone(),
            timeout: plan.control.probe_timeout,
            machine,
            begun: heard,
        };
        for (index, target) in (0..).zip(&plan.targets) {
            let started =
                Starter { plan, base_dir, watch: watched, context: &context, tasks: &tasks, index, target };
            started.start();
        }
        Self { stop, tasks, begun }
    }

    /// A phase begins: each probe makes a round then.
    pub(crate) fn begin_phase(&self, t0_unix_ns: i64) {
        self.begun.send_replace(t0_unix_ns);
    }

    /// Stops them; nothing is written to the record afterwards.
    pub(crate) async fn stop(self) {
        self.stop.trigger("the run is not watched any more");
        self.tasks.finish(STOP).await;
    }
}

/// What the tasks of one target are made from.
struct Starter<'a> {
    plan: &'a Plan,
    base_dir: &'a Path,
    watch: &'a v1::WatchRun,
    context: &'a Context,
    tasks: &'a Tasks,
    index: u32,
    target: &'a Target,
}

impl Starter<'_> {
    fn start(&self) {
        // Only https URLs need it; when it cannot be made, they will say so, each in its probe's state.
        let connector = if self.uses_tls() {
            prober::connector(&self.target.tls, self.base_dir).unwrap_or_else(Connector::Broken)
        } else {
            Connector::Broken("no URL of the target uses TLS".into())
        };
        self.health(&connector);
        self.resources();
        self.scrapes(&connector);
    }

    fn uses_tls(&self) -> bool {
        let target = self.target;
        let resources = match &target.resources {
            Resources::Prometheus(url) => Some(url),
            _ => None,
        };
        let urls = target.urls.first().into_iter().chain(&target.health).chain(&target.metrics_url);
        urls.chain(resources).any(|url| url.starts_with("https:"))
    }

    /// A client that goes the target's own way.
    fn client(&self, url: &str, connector: &Connector) -> Client {
        let client = Client::new(url, connector);
        match self.target.way_to(url) {
            Some(way) => client.by(&way),
            None => client,
        }
    }

    fn health(&self, connector: &Connector) {
        let first = self.target.urls.first().map_or("", String::as_str);
        let url = self.target.health.as_deref().unwrap_or(first);
        let on_base = self.target.health.is_none() || self.target.health.as_deref() == Some(first);
        let expects = if on_base { Expects::Alive } else { Expects::Success };
        let interval = self.plan.control.probe_interval;
        let id = self.probe(format!("health {url}"), interval);
        let probe = health::Health { id, expects, interval };
        let client = self.client(url, connector);
        self.tasks.spawn("health probe", OnError::Log, probe.run(client, self.context.clone()));
    }

    fn resources(&self) {
        let interval = self.plan.control.probe_interval.min(USAGE_PERIOD);
        match &self.target.resources {
            Resources::Processes(names) => {
                let mut found = false;
                for process in self.watch.processes.iter().filter(|process| process.target == self.index) {
                    found = true;
                    let state_dir = Some(&process.state_dir).filter(|dir| !dir.is_empty()).map(PathBuf::from);
                    self.process(process.pid, &process.instance, state_dir, interval);
                }
                if !found {
                    self.absent_resources(&format!(
                        "of the plan's processes {} none is running",
                        names.join(", ")
                    ));
                }
            }
            Resources::Pid(pid) => self.process(*pid, "", None, interval),
            // Read with the target's own metrics.
            Resources::Prometheus(_) => {}
            Resources::Absent => {
                self.absent_resources("the plan declares no resources for this target");
            }
        }
    }

    fn process(&self, pid: u32, instance: &str, state_dir: Option<PathBuf>, interval: Duration) {
        let ids = [self.probe("cpu".into(), interval), self.probe("memory".into(), interval)];
        let instance = instance.to_owned();
        let probe = usage::Usage { ids, target: self.index, pid, instance, state_dir, interval };
        self.tasks.spawn("process probe", OnError::Log, probe.run(self.context.clone()));
    }

    fn absent_resources(&self, reason: &str) {
        let mut record = lock(&self.context.record);
        for metric in ["cpu", "memory"] {
            record.absent(self.index, metric, reason);
        }
    }

    fn scrapes(&self, connector: &Connector) {
        let interval = self.scrape_interval();
        // One reading serves both, where both are read from one URL.
        let mut sources: BTreeMap<&str, scrape::Wanted> = BTreeMap::new();
        if let Resources::Prometheus(url) = &self.target.resources {
            let ids = [self.probe("cpu".into(), interval), self.probe("memory".into(), interval)];
            sources.entry(url).or_default().resources = Some(ids);
        }
        if let Some(url) = &self.target.metrics_url {
            let id = self.probe(format!("metrics {url}"), interval);
            let wanted = sources.entry(url).or_default();
            wanted.custom = Some(id);
            wanted.names = self.target.metrics.clone();
        }
        for (url, wanted) in sources {
            let probe = scrape::Scrape { target: self.index, url: url.to_owned(), wanted, interval };
            let client = self.client(url, connector);
            self.tasks.spawn("metrics probe", OnError::Log, probe.run(client, self.context.clone()));
        }
    }

    fn scrape_interval(&self) -> Duration {
        let shortest = self.plan.scaled().iter().map(|phase| phase.duration).min();
        let interval = self.plan.control.probe_interval;
        let period = shortest.map_or(interval, |shortest| shortest / SCRAPES_A_PHASE);
        period.max(SCRAPE_FLOOR).min(interval)
    }

    fn probe(&self, name: String, interval: Duration) -> record::ProbeId {
        lock(&self.context.record).probe(self.index, name, interval)
    }
}

impl Context {
    /// Rounds of a probe, each `interval` and at the begin of each phase.
    fn rounds(&self, interval: Duration) -> Rounds {
        let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Rounds { ticks, begun: self.begun.clone(), stop: self.stop.clone() }
    }

    /// Makes an attempt within the deadline; `None` = the probe is not wanted any more.
    async fn attempt<T, E: Display>(
        &self,
        attempt: impl Future<Output = Result<T, E>>,
    ) -> Option<Result<T, String>> {
        let timed = async {
            match tokio::time::timeout(self.timeout, attempt).await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {:?}", self.timeout)),
            }
        };
        tokio::select! {
            biased;
            () = self.stop.triggered() => None,
            result = timed => Some(result),
        }
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

/// The record of a run's probes.
pub(crate) fn lock(record: &Shared) -> std::sync::MutexGuard<'_, Record> {
    // It is a list of readings, valid between any two statements.
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rounds of a probe: the first at once, then each interval and whenever a phase begins, so that no phase is too short for
/// a reading; rounds that were missed are left out.
struct Rounds {
    ticks: tokio::time::Interval,
    begun: watch::Receiver<i64>,
    stop: Shutdown,
}

impl Rounds {
    /// Waits for the next round; `false` = the probe is not wanted any more.
    async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.triggered() => return false,
            _ = self.ticks.tick() => return true,
            changed = self.begun.changed() => if changed.is_err() { return false },
        }
        // The scheduler tells of a phase shortly before it begins; a reading before would be the last phase's.
        let t0 = *self.begun.borrow_and_update();
        let ahead = u64::try_from(t0.saturating_sub(Now::read().unix_ns)).unwrap_or(0);
        let ahead = Duration::from_nanos(ahead).min(self.ticks.period());
        self.ticks.reset_after(self.ticks.period() + ahead);
        tokio::select! {
            biased;
            () = self.stop.triggered() => false,
            () = tokio::time::sleep(ahead) => true,
        }
    }
}

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) monotonic: Instant,
    pub(crate) unix_ns: i64,
}

impl Now {
    pub(crate) fn read() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { monotonic: Instant::now(), unix_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX) }
    }
}

/// Reads a URL once.
#[cfg(test)]
pub(crate) async fn fetch(url: &str) -> Result<String, String> {
    let answer = Client::new(url, &Connector::Broken(String::new())).get().await;
    let answer = answer.map_err(|failure| failure.to_string())?;
    String::from_utf8(answer.body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;

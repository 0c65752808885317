//! The plan after parsing: every default filled in, nothing scaled yet ([`crate::scale`] does that).

mod balancing;
mod control;
mod fault;
pub(crate) mod recipe;
mod recovery;
mod tls;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use self::balancing::{Balance, Balancing, HealthCheck, OutlierDetection};
pub use self::control::{Control, SchedulerRestart};
pub use self::fault::{Fault, Mode, Most, Stop};
pub use self::recipe::{Cores, Direction, DiskFill, Recipe, RecipeKind};
pub use self::recovery::{Backup, Budgets, Recovery, Strategy};
pub use self::tls::{Tls, TlsVersion};
use crate::threshold::Threshold;

/// A whole plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Shown in reports and lists.
    pub name: String,
    /// All draws of the run follow from it.
    pub seed: u64,
    /// Factor on phase lengths, ramps and alert windows; over 0, at most 1 000.
    pub time_scale: f64,
    /// Factor on rates and connections, which stay at least 1 where they were; over 0, at most 1 000.
    pub load_scale: f64,
    /// The preset that chose phases and sizes.
    pub tier: Option<Tier>,
    /// The phases in the order in which they run; never empty.
    pub phases: Vec<Phase>,
    /// Processes that we start, in order of name.
    pub processes: BTreeMap<String, Process>,
    /// What is stressed; index = order of appearance in the plan. Never empty.
    pub targets: Vec<Target>,
    /// The mix of what users do; index = order of appearance. Never empty.
    pub scenarios: Vec<Scenario>,
    /// Thresholds over the whole run. A phase's own are in [`Phase::thresholds`].
    pub thresholds: Vec<Threshold>,
    /// What is broken while it runs; index = order in the plan.
    pub chaos: Vec<Fault>,
    /// How targets are brought back, by target.
    pub recovery: BTreeMap<String, Recovery>,
    /// How long that may take.
    pub budgets: Budgets,
    /// Load generation outside phases.
    pub load: Load,
    /// Rules on the generator (requirement R9.4).
    pub validity: Validity,
    /// Pre-phase checks, decisions and shutdown.
    pub control: Control,
    /// The report.
    pub report: Report,
}

/// The seven phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the documentation; requirement R1 describes each")]
pub enum PhaseName {
    Idle,
    Baseline,
    Light,
    Medium,
    Heavy,
    Extreme,
    Chaos,
}

impl PhaseName {
    /// All seven, in order.
    pub const ALL: [Self; 7] =
        [Self::Idle, Self::Baseline, Self::Light, Self::Medium, Self::Heavy, Self::Extreme, Self::Chaos];

    /// As the plan writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Baseline => "baseline",
            Self::Light => "light",
            Self::Medium => "medium",
            Self::Heavy => "heavy",
            Self::Extreme => "extreme",
            Self::Chaos => "chaos",
        }
    }
}

/// Tiers (requirement R3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the documentation; requirement R3 describes each")]
pub enum Tier {
    Base,
    Stress,
    Chaos,
    Ultimate,
}

/// One phase, unscaled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// Which of the seven.
    pub name: PhaseName,
    /// Length before `time-scale`.
    pub duration: Duration,
    /// How load arrives.
    pub model: LoadModel,
    /// Transports held open through the phase, before `load-scale`. 0 only in idle.
    /// In the chaos phase's walk: the present rate / 5, at most this.
    pub connections: u32,
    /// Operations in progress at most; default = `connections` (closed models: their users).
    pub max_users: u32,
    /// Arrivals waiting for a user or connection at most; default = rate × 10 s.
    pub max_waiting: u64,
    /// Expected CPU of the target, shares 0 to 1.
    pub cpu: Option<Range>,
    /// Expected memory of the target, shares 0 to 1.
    pub memory: Option<Range>,
    /// Share of traces kept, 0 to 1.
    pub trace_sampling: f64,
    /// Log level of our services and of the reference target.
    pub log_level: LogLevel,
    /// Thresholds over this phase.
    pub thresholds: Vec<Threshold>,
    /// Overrides of scenarios' `config`, by scenario name, merged key by key.
    pub scenario_config: BTreeMap<String, serde_json::Value>,
    /// The parameters of the phase's three objectives (requirement R1.1), by key, e.g. `cache-hit-ratio`.
    pub objectives: BTreeMap<String, f64>,
    /// What happens when an objective fails at the phase's end.
    pub on_objective_failure: OnFailure,
}

/// What the decision engine does at a phase's end when an objective fails.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum OnFailure {
    /// Report it and go on.
    Continue,
    /// Keep the phase's rate until it passes, at most this long; then go on.
    Hold {
        /// Real time, not scaled.
        max: Duration,
    },
    /// End the run.
    Abort,
}

/// A closed range of shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// Lower end.
    pub min: f64,
    /// Upper end.
    pub max: f64,
}

/// Log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How load arrives.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "model", rename_all = "kebab-case")]
pub enum LoadModel {
    /// Nothing is sent.
    None,
    /// Open: arrivals by a schedule, whatever the target does.
    Open {
        /// Requests per second at the start, before `load-scale`; equal to `rate` when constant.
        start_rate: f64,
        /// Requests per second at the end of `ramp`, and from then on.
        rate: f64,
        /// Length of the linear ramp from `start_rate`, before `time-scale`; zero = constant.
        ramp: Duration,
        /// When within the rate arrivals come.
        arrivals: Arrivals,
    },
    /// Open: a seeded random walk of the rate (requirement R1.4). Its step n, from 0, has the rate
    /// `floor + x(n) × (ceiling − floor)` from its begin to its end. x(0) = u(0), and x(n) = x(n − 1) + (u(n) − 0.5) / 2 reflected
    /// at 0 and at 1, so that a step moves by a quarter of the span at most. u(n) is the n-th draw of the phase's walk; crate
    /// `draws` says how it follows from the seed.
    Walk {
        /// Lowest rate, requests per second, before `load-scale`.
        floor: f64,
        /// Highest rate.
        ceiling: f64,
        /// Length of a step; real time, not scaled.
        step: Duration,
        /// When within the rate arrivals come.
        arrivals: Arrivals,
    },
    /// Closed: users who wait for their answer, think, and go again.
    Closed {
        /// Users at the start, before `load-scale`.
        start_users: u32,
        /// Users at the end of `ramp`, and from then on.
        users: u32,
        /// Length of the linear ramp, before `time-scale`; zero = constant.
        ramp: Duration,
        /// Pause after each turn, beside what the guest asks for.
        think: Duration,
    },
}

/// Arrival shapes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "shape", rename_all = "kebab-case")]
pub enum Arrivals {
    /// Evenly spaced (also `sequential`, `sustained`).
    Even,
    /// Independent arrivals: exponential gaps.
    Poisson,
    /// `size` arrivals at one instant, evenly spaced bursts (`parallel-burst`).
    Burst {
        /// Arrivals a burst.
        size: u32,
    },
    /// Gaps drawn from a heavy-tailed distribution, so that lulls and crowds alternate (`chaotic`).
    Chaotic,
}

/// A process that we start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Process {
    /// Program and arguments; a relative program is found from the plan's directory, else in PATH.
    pub command: Vec<String>,
    /// URL that answers 2xx, or `tcp://host:port` that accepts, when it is ready. Absent = ready at once.
    pub ready: Option<String>,
    /// How long until ready at most.
    pub ready_timeout: Duration,
    /// Environment beside ours.
    pub env: BTreeMap<String, String>,
    /// Working directory; default = the plan's.
    pub dir: Option<PathBuf>,
    /// How long it may take to end after SIGTERM before SIGKILL.
    pub stop_timeout: Duration,
}

/// A system under test or a component of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Its name in the plan.
    pub name: String,
    /// Base URLs of its endpoints: `http://` or `https://`. Never empty.
    pub urls: Vec<String>,
    /// Which of several endpoints a request goes to.
    pub balancing: Balancing,
    /// The Unix socket that its one endpoint listens on, absolute, on the host of who asks; Host header and path are the
    /// URL's.
    pub socket: Option<PathBuf>,
    /// The HTTP proxy through which load and probes reach it: `http://host:port`, or `http://user:password@host:port`
    /// ([`crate::Proxy`] reads it). Requests to `https` URLs go through a tunnel (CONNECT), others name the whole URL.
    pub proxy: Option<String>,
    /// How it is started and stopped.
    pub platform: Option<PlatformRef>,
    /// How many of its instances faults may take away at once; `None` = no fault may hit it.
    pub chaos: Option<Most>,
    /// Where its CPU and memory are read.
    pub resources: Resources,
    /// URL of its own Prometheus metrics, read for counts and custom metrics.
    pub metrics_url: Option<String>,
    /// Our name of a metric → its Prometheus name, for the objectives: `requests`, `cache-hits`, `cache-misses`,
    /// `breaker-opened`, `breaker-closed`.
    pub metrics: BTreeMap<String, String>,
    /// URL for health checks; default = the first base URL.
    pub health: Option<String>,
    /// Certificates.
    pub tls: Tls,
    /// The protocol that load speaks.
    pub http: Http,
    /// `false` = each request of the load has a connection of its own, which is closed after the answer, whatever the
    /// guest asks for.
    pub keep_alive: bool,
}

/// The version of HTTP that load speaks to a target. Probes of targets speak HTTP/1.1 whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Http {
    /// HTTP/1.1: a request on a connection at a time.
    #[default]
    One,
    /// HTTP/2: with `https://` agreed on by ALPN, with `http://` by prior knowledge (h2c).
    Two {
        /// Requests on a connection at a time at most, 1 to 10 000; fewer where the server allows fewer.
        streams: u32,
    },
}

impl Target {
    /// Where to connect to for a URL of the target when that is not the URL's own host: `unix:` and the path of its
    /// socket, or `proxy:` and what [`crate::Proxy::of`] reads. `None`: the URL's host, also for URLs of another host than the target's.
    #[must_use]
    pub fn way_to(&self, url: &str) -> Option<String> {
        let base = |url: &str| {
            let after = url.find("://").map_or(0, |at| at + 3);
            let rest = url.get(after..).unwrap_or("");
            let end = rest.find(['/', '?', '#']).map_or(url.len(), |at| after + at);
            url.get(..end).unwrap_or(url).to_owned()
        };
        if !self.urls.iter().any(|own| base(own) == base(url)) {
            return None;
        }
        let socket = self.socket.as_ref().map(|path| format!("unix:{}", path.display()));
        let proxy = || self.proxy.as_ref().map(|url| format!("proxy:{}", url.trim_start_matches("http://")));
        socket.or_else(proxy)
    }

    /// Why load for it cannot be led through the fault proxy, which is for targets on a port of their own.
    #[must_use]
    pub fn off_port(&self) -> Option<&'static str> {
        match (&self.socket, &self.proxy) {
            (Some(_), _) => Some("listens on a Unix socket"),
            (None, Some(_)) => Some("is reached through a proxy"),
            (None, None) => None,
        }
    }

    /// The processes of the plan that run its instances, in the order of its URLs; empty where we do not run it.
    #[must_use]
    pub fn instances(&self) -> &[String] {
        match &self.platform {
            Some(PlatformRef::Processes(names)) => names,
            None => &[],
        }
    }
}

/// The driver that runs a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformRef {
    /// Processes of the plan, each an instance: one per URL, in their order, each once.
    Processes(Vec<String>),
}

/// Where CPU and memory of a target are read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resources {
    /// Processes of the plan, by name; an instance each.
    Processes(Vec<String>),
    /// Any process, by id.
    Pid(u32),
    /// `process_cpu_seconds_total` and `process_resident_memory_bytes` of a Prometheus endpoint.
    Prometheus(String),
    /// Not known: CPU and memory are not evaluable, and the report says so.
    Absent,
}

/// What users do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Its name; default = the guest's.
    pub name: String,
    /// The guest.
    pub guest: GuestRef,
    /// Names of the targets that it addresses, by the guest's endpoint index. Never empty.
    pub targets: Vec<String>,
    /// Share of arrivals, relative to the other scenarios'. Over 0.
    pub weight: f64,
    /// The guest's own configuration, handed in as JSON.
    pub config: serde_json::Value,
    /// Deadline of a request without its own.
    pub timeout: Duration,
    /// Deadline of an answer's first byte, from when the request is written; `None` = the request's own alone.
    pub response_timeout: Option<Duration>,
    /// Play one turn before the load, if its guest says what that would show of a wrong plan; only with
    /// [`Control::validate`].
    pub trial: bool,
}

/// How a plan names a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestRef {
    /// One that ships with Gauntlet or was installed, with or without a version: `http`, `http@0.1.0`.
    Name {
        /// Its name.
        name: String,
        /// Its exact version.
        version: Option<String>,
    },
    /// `sha256:…`.
    Digest(String),
    /// A `.wasm` file, relative to the plan; with `#sha256:…` appended, of just that digest.
    Path {
        /// The file.
        path: PathBuf,
        /// What its bytes must hash to.
        digest: Option<String>,
    },
}

/// Load generation outside phases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Load threads; `None` = cores − 1, at least 1.
    pub threads: Option<u32>,
    /// Starts handed to a guest at once at most.
    pub batch: u32,
    /// Deadline for reaching a target: over TCP and through a proxy, all addresses of its name together.
    pub connect_timeout: Duration,
    /// Deadline for the TLS handshake and HTTP/2's greeting, from when the target is reached.
    pub handshake_timeout: Duration,
    /// Connections that a load thread begins to hold in reserve a second at most, 1 to 1 000 000.
    pub connect_rate: u32,
    /// Length of the intervals that samples are cut in.
    pub interval: Duration,
    /// How long operations in progress may finish at a phase's end.
    pub grace: Duration,
    /// Limits of the sandbox.
    pub guest: GuestLimits,
    /// Largest answer head that is read.
    pub max_head: u32,
    /// Largest answer body that is read.
    pub max_body: u64,
    /// Largest server-sent event that is read.
    pub max_event: u32,
    /// Requests of one turn of a load thread are written together, where a worker's host has io_uring.
    pub io_uring: bool,
}

/// Limits on each guest instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuestLimits {
    /// Longest single call.
    pub call_deadline: Duration,
    /// Linear memory, bytes, beside `memory_per_user`.
    pub memory: u64,
    /// Linear memory per user, bytes.
    pub memory_per_user: u64,
    /// Bytes that one call may return.
    pub output: u64,
    /// Log lines per second.
    pub log_lines: u32,
}

/// When the generator was the bottleneck (requirement R9.4).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Validity {
    /// Send lag p99 at most this …
    pub send_lag: Duration,
    /// … or this share of the service p99, whichever is more.
    pub send_lag_share: f64,
    /// A second counts as short when less than this share of the wanted rate was sent …
    pub achieved: f64,
    /// … and more than this share of the seconds may not be short.
    pub short_seconds: f64,
    /// Share of arrivals dropped by the generator's own fault at most.
    pub drops: f64,
    /// A load thread may not be busier than this share …
    pub busy: f64,
    /// … for this long.
    pub busy_for: Duration,
    /// Traps a minute at most.
    pub traps_per_minute: u32,
    /// `false` = report, but do not judge.
    pub judge: bool,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Where run directories are made, relative to the working directory.
    pub dir: PathBuf,
    /// Slowest steps shown.
    pub slowest: u32,
}

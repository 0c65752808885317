//! Every key of a plan, in one tree: what the parser knows, what errors suggest and what the JSON Schema says.
//!
//! A new key is added here and read in `parse`; a test fails when only one of the two was done.

mod balancing;
mod chaos;

pub(crate) use balancing::*;
pub(crate) use chaos::*;

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    Bool,
    /// From, to.
    Integer(i64, i64),
    /// A number, from, to.
    Number(f64, f64),
    /// `300ms`, `1m30s`.
    Duration,
    /// `50%` or 0.5.
    Share,
    /// `500`, `"30/m"`.
    Rate,
    /// `64MiB` or bytes.
    Size,
    /// Whatever the guest understands.
    Any,
    List(&'static Kind),
    /// Keys that we name.
    Table(&'static [Key]),
    /// Keys that the user names.
    Named(&'static Kind),
    OneOf(&'static [Kind]),
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// What it means, with its default.
    pub(crate) doc: &'static str,
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: false, doc }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: true, doc }
}

use Kind::{Any, Bool, Duration, Integer, List, Named, Number, OneOf, Rate, Share, Size, Table, Text, Words};

/// Most of anything that is counted: connections, users, arrivals that wait.
pub(crate) const MANY: i64 = 1_000_000_000;
/// Most connections or users.
pub(crate) const MOST_USERS: i64 = 10_000_000;
/// Highest rate, requests per second.
pub(crate) const HIGHEST_RATE: f64 = 1e8;

pub(crate) const PHASES: &[&str] = &["idle", "baseline", "light", "medium", "heavy", "extreme", "chaos"];
pub(crate) const TIERS: &[&str] = &["base", "stress", "chaos", "ultimate"];
pub(crate) const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];
pub(crate) const ARRIVALS: &[&str] =
    &["even", "sequential", "sustained", "poisson", "parallel-burst", "chaotic"];
pub(crate) const SCHEDULER_RESTARTS: &[&str] = &["resume", "close"];
pub(crate) const METRICS: &[&str] =
    &["requests", "cache-hits", "cache-misses", "breaker-opened", "breaker-closed"];

const TEXT_OR_TEXTS: Kind = OneOf(&[Text, List(&Text)]);
const SCALE: Kind = Number(0.0, 1000.0);

pub(crate) const ROOT: &[Key] = &[
    key("name", Text, "Shown in reports and lists. Default: the file's name."),
    key("seed", Integer(0, i64::MAX), "All draws of the run follow from it. Default 1."),
    key("time-scale", SCALE, "Factor on phase lengths and ramps. Default 1."),
    key("load-scale", SCALE, "Factor on rates, connections and users. Default 1."),
    key("tier", Words(TIERS), "Preset of phases and rates. Default: none, which is all seven phases."),
    key(
        "run-phases",
        List(&Words(PHASES)),
        "The phases to run. Default: the tier's and those named under `phases`; without a tier all seven.",
    ),
    key("processes", Named(&Table(PROCESS)), "Processes that we start before the run and stop after it."),
    required("targets", Named(&Table(TARGET)), "What is stressed."),
    required("scenarios", List(&Table(SCENARIO)), "What users do, in a mix by weight."),
    key("phases", Table(PHASE_TABLES), "Changes to the presets of phases."),
    key("thresholds", Table(THRESHOLD_LISTS), "Conditions that the run or a phase has to meet."),
    key("chaos", List(&Table(FAULT)), "What is broken while the run goes on: [[chaos]] tables."),
    key("recovery", RECOVERIES, "How targets are watched and brought back, by target."),
    key("recovery-budgets", Table(BUDGETS), "How long recovery may take."),
    key("load", Table(LOAD), "Load generation outside phases."),
    key("validity", Table(VALIDITY), "When the load generator itself was the bottleneck."),
    key("control", Table(CONTROL), "Pre-phase checks, decisions and shutdown."),
    key("report", Table(REPORT), "The report."),
];

pub(crate) const PROCESS: &[Key] = &[
    required(
        "command",
        List(&Text),
        "Program and arguments; a relative program is found from the plan's directory, else in PATH.",
    ),
    key(
        "ready",
        Text,
        "URL that answers 2xx, or tcp://host:port that accepts, once it is ready. Default: ready at once.",
    ),
    key("ready-timeout", Duration, "How long until ready at most. Default 30s."),
    key("env", Named(&Text), "Environment beside ours."),
    key("dir", Text, "Working directory. Default: the plan's."),
    key("stop-timeout", Duration, "How long it may take to end after SIGTERM before SIGKILL. Default 10s."),
];

pub(crate) const TARGET: &[Key] = &[
    required("url", TEXT_OR_TEXTS, "Base URL, or a list of them, its endpoints."),
    key(
        "balance",
        Words(BALANCES),
        "Which of several endpoints a request goes to. random and power-of-two are drawn from the seed; what is in use is counted by each load thread for itself. Default round-robin.",
    ),
    key(
        "health-check",
        Table(HEALTH_CHECK),
        "Each worker checks each of several endpoints; load goes to those that are healthy, or to all when none is. Default: none, so that load shows what a sick endpoint does.",
    ),
    key(
        "outlier-detection",
        Table(OUTLIER_DETECTION),
        "A load thread keeps away for a time from one of several endpoints that failed it. Default: none, so that load shows what a sick endpoint does.",
    ),
    key(
        "socket",
        Text,
        "Path of the Unix socket that it listens on, on the hosts of all who ask; `url` then gives Host and path.",
    ),
    key(
        "proxy",
        Text,
        "HTTP proxy on the way to it: http://host:port, or http://user:password@host:port, which the run directory's copy of the plan shows. Default: none.",
    ),
    key("platform", Table(PLATFORM), "How it is started and stopped. Default: not ours to touch."),
    key(
        "chaos",
        OneOf(&[Bool, Table(OPT_IN)]),
        "Faults may hit it; { most = 1 } or { most = \"50%\" } = they may take away so many of its instances at once. Default false.",
    ),
    key(
        "resources",
        OneOf(&[Table(RESOURCES), Words(&["absent"])]),
        "Where its CPU and memory are read. Default: the process of `platform`, else \"absent\".",
    ),
    key("metrics-url", Text, "URL of its own Prometheus metrics."),
    key("metrics", Table(METRIC_NAMES), "Prometheus names of the metrics that the objectives need."),
    key("health", Text, "URL for health checks. Default: the first base URL."),
    key("tls", Table(TLS), "Certificates, versions and sessions of TLS."),
    key(
        "http",
        Words(HTTP_VERSIONS),
        "Version of HTTP that load speaks: \"1.1\" (default), or \"2\" by ALPN with https and by prior knowledge with http.",
    ),
    key(
        "streams",
        Integer(1, MAX_STREAMS),
        "With http = \"2\": requests on a connection at a time at most; fewer where the server allows fewer. Default 100.",
    ),
    key(
        "keep-alive",
        Bool,
        "false: each request of the load has a connection of its own, whatever the guest asks for; with https a handshake, too. Default true.",
    ),
];

/// What `http` of a target may be.
pub(crate) const HTTP_VERSIONS: &[&str] = &["1.1", "2"];

/// The largest `streams` of a target.
pub(crate) const MAX_STREAMS: i64 = 10_000;

/// `streams` of a target that says nothing of it.
pub(crate) const STREAMS: u32 = 100;

pub(crate) const PLATFORM: &[Key] = &[required(
    "process",
    TEXT_OR_TEXTS,
    "The process of the plan that serves its URL; a list for several URLs, in their order.",
)];

pub(crate) const OPT_IN: &[Key] = &[required(
    "most",
    OneOf(&[Integer(1, MANY), Text]),
    "Instances that faults may take away at once, or a percentage of them (rounded down, at least 1).",
)];

pub(crate) const RESOURCES: &[Key] = &[
    key("process", TEXT_OR_TEXTS, "A process of the plan, by name, or a list of them."),
    key("pid", Integer(1, u32::MAX as i64), "Any process of this host, by id."),
    key("prometheus", Text, "Endpoint with process_cpu_seconds_total and process_resident_memory_bytes."),
];

pub(crate) const METRIC_NAMES: &[Key] = &[
    key("requests", Text, "Counter of requests received."),
    key("cache-hits", Text, "Counter of cache hits."),
    key("cache-misses", Text, "Counter of cache misses."),
    key("breaker-opened", Text, "Counter of circuit breakers opened."),
    key("breaker-closed", Text, "Counter of circuit breakers closed again."),
];

pub(crate) const TLS: &[Key] = &[
    key("ca", Text, "PEM file with the certificates to trust instead of the system's."),
    key("client-cert", Text, "PEM file with our certificate; needs client-key."),
    key("client-key", Text, "PEM file with our key; needs client-cert."),
    key("insecure", Bool, "Do not verify the peer. Default false."),
    key("server-name", Text, "Server name to ask for instead of the URL's host."),
    key("min-version", Words(TLS_VERSIONS), "Lowest version that is spoken. Default \"1.2\"."),
    key("max-version", Words(TLS_VERSIONS), "Highest version that is spoken. Default \"1.3\"."),
    key(
        "resumption",
        Bool,
        "New connections resume a session where the target lets them; false: each handshake is a full one. Default true.",
    ),
];

/// What `min-version` and `max-version` of `tls` may be, in the order of [`crate::model::TlsVersion::ALL`].
pub(crate) const TLS_VERSIONS: &[&str] = &["1.2", "1.3"];

pub(crate) const SCENARIO: &[Key] = &[
    required(
        "guest",
        Text,
        "Name with or without @version, sha256: digest, or path of a .wasm with or without #sha256: digest.",
    ),
    key("name", Text, "Its name. Default: the guest's."),
    key(
        "target",
        TEXT_OR_TEXTS,
        "The target, or targets by the guest's endpoint index. Default: the only one.",
    ),
    key("weight", Number(0.0, 1e9), "Share of arrivals relative to the other scenarios'. Default 1."),
    key(
        "config",
        Named(&Any),
        "The guest's own configuration; { from-environment = \"NAME\" } in it is a text of the load-worker's environment.",
    ),
    key("timeout", Duration, "Deadline of a request without its own. Default 30s."),
    key(
        "response-timeout",
        Duration,
        "Deadline of an answer's first byte, from when the request is written. Default: none but the request's own.",
    ),
    key(
        "trial",
        Bool,
        "Play one turn before the load, and refuse a plan that is seen to be wrong: a token that is not taken, a path where \
         nothing is. Only with a guest that says how that shows, and with control.validate. Default true.",
    ),
];

pub(crate) const PHASE_TABLES: &[Key] = &[
    key("idle", Table(PHASE), "5m without load."),
    key("baseline", Table(PHASE), "15m at 100 req/s over 50 connections."),
    key("light", Table(PHASE), "20m at 1 000 req/s over 500 connections."),
    key("medium", Table(PHASE), "30m at 5 000 req/s over 2 500 connections."),
    key("heavy", Table(PHASE), "30m at 10 000 req/s over 5 000 connections."),
    key("extreme", Table(PHASE), "20m at 50 000 req/s over 10 000 connections."),
    key("chaos", Table(PHASE), "20m of a random walk between 0 and 100 000 req/s."),
];

pub(crate) const PHASE: &[Key] = &[
    key("duration", Duration, "Length before time-scale."),
    key("rate", Rate, "Open model: requests per second before load-scale."),
    key("start-rate", Rate, "Open model: rate at the start of the ramp. Default 0 when `ramp` is given."),
    key(
        "ramp",
        Duration,
        "Length of the linear ramp to `rate` or `users`. Default: the phase, when there is a start.",
    ),
    key(
        "arrivals",
        OneOf(&[Words(ARRIVALS), Table(BURST)]),
        "When within the rate arrivals come. even, sequential and sustained are evenly spaced; parallel-burst is { burst = 10 }. Default even.",
    ),
    key(
        "users",
        Integer(1, MOST_USERS),
        "Closed model: virtual users, who wait for their answer and go again.",
    ),
    key(
        "start-users",
        Integer(0, MOST_USERS),
        "Closed model: users at the start of the ramp. Default 1 when `ramp` is given.",
    ),
    key("think", Duration, "Closed model: pause after each turn. Default 0s."),
    key("floor", Rate, "Random walk (chaos): lowest rate. Default 0."),
    key("ceiling", Rate, "Random walk (chaos): highest rate. Default 100 000."),
    key("step", Duration, "Random walk (chaos): length of a step, real time. Default 10s."),
    key(
        "connections",
        Integer(0, MOST_USERS),
        "Transports held open. Default: the preset's; closed: users; walk: ceiling / 5.",
    ),
    key(
        "max-users",
        Integer(0, MOST_USERS),
        "Operations in progress at most. Default: connections; closed: users.",
    ),
    key("max-waiting", Integer(0, MANY), "Arrivals waiting at most. Default: rate × 10 s; closed: users."),
    key("cpu", OneOf(&[List(&Share), Words(&["any"])]), "Expected CPU of the target, [min, max] or \"any\"."),
    key(
        "memory",
        OneOf(&[List(&Share), Words(&["any"])]),
        "Expected memory of the target, [min, max] or \"any\".",
    ),
    key("trace-sampling", Share, "Share of traces kept."),
    key("log-level", Words(LEVELS), "Log level of our services and of the reference target."),
    key("thresholds", List(&THRESHOLD_FORM), "Conditions over this phase, beside those under `thresholds`."),
    key(
        "scenarios",
        Named(&Named(&Any)),
        "Changes to the `config` of scenarios in this phase, by scenario name.",
    ),
    key("objectives", Named(&Number(0.0, 1e9)), "Parameters of the phase's three objectives."),
    key(
        "on-objective-failure",
        OneOf(&[Words(&["continue", "abort"]), Table(HOLD)]),
        "What happens when an objective fails at the phase's end. Default continue.",
    ),
];

pub(crate) const BURST: &[Key] = &[required("burst", Integer(1, MOST_USERS), "Arrivals at one instant.")];
pub(crate) const HOLD: &[Key] =
    &[required("hold", Duration, "Keep the rate until the objective passes, at most this long, real time.")];

pub(crate) const THRESHOLD_LISTS: &[Key] = &[
    key("run", List(&THRESHOLD_FORM), "Over the whole run."),
    key("idle", List(&THRESHOLD_FORM), "Over the idle phase."),
    key("baseline", List(&THRESHOLD_FORM), "Over the baseline phase."),
    key("light", List(&THRESHOLD_FORM), "Over the light phase."),
    key("medium", List(&THRESHOLD_FORM), "Over the medium phase."),
    key("heavy", List(&THRESHOLD_FORM), "Over the heavy phase."),
    key("extreme", List(&THRESHOLD_FORM), "Over the extreme phase."),
    key("chaos", List(&THRESHOLD_FORM), "Over the chaos phase."),
];

const THRESHOLD_FORM: Kind = OneOf(&[Text, Table(THRESHOLD)]);

pub(crate) const THRESHOLD: &[Key] = &[
    required("check", Text, "`p(99) < 300ms`, `error_rate < 1%`, `goodput >= 500`, …"),
    key("over", Duration, "Sliding window. Default: the whole phase or run."),
    key("abort", Bool, "Breaking it ends the run at once. Default false."),
    key("delay", Duration, "No evaluation before this long after the start. Default 0s."),
    key("scenario", Text, "Only this scenario."),
    key("step", Text, "Only this step."),
    key("target", Text, "Only this target."),
];

pub(crate) const LOAD: &[Key] = &[
    key("threads", Integer(1, 1024), "Load threads. Default: cores − 1, at least 1."),
    key("batch", Integer(1, 65_536), "Starts handed to a guest at once at most. Default 64."),
    key(
        "connect-timeout",
        Duration,
        "Deadline for reaching a target, over TCP and through a proxy; all addresses of its name share it. Default 5s.",
    ),
    key(
        "handshake-timeout",
        Duration,
        "Deadline for the TLS handshake and HTTP/2's greeting, once the target is reached. Default 5s.",
    ),
    key(
        "connect-rate",
        Integer(1, 1_000_000),
        "Connections that a load thread begins to make a second at most, beside those that a request asks for itself. Default 10000.",
    ),
    key("interval", Duration, "Length of the intervals that samples are cut in. Default 1s."),
    key("grace", Duration, "How long operations in progress may finish at a phase's end. Default 5s."),
    key("guest", Table(GUEST), "Limits on each guest instance."),
    key("max-head", Size, "Largest answer head that is read. Default 64KiB."),
    key("max-body", Size, "Largest answer body that is read. Default 64MiB."),
    key("max-event", Size, "Largest server-sent event that is read. Default 1MiB."),
    key("io-uring", Bool, "Write requests together by io_uring, where a worker's host has it. Default true."),
];

pub(crate) const GUEST: &[Key] = &[
    key("call-deadline", Duration, "Longest single call, CPU time. Default 50ms."),
    key("memory", Size, "Linear memory beside memory-per-user. Default 64MiB."),
    key("memory-per-user", Size, "Linear memory per user. Default 4KiB."),
    key("output", Size, "Bytes that one call may return. Default 8MiB."),
    key("log-lines", Integer(0, MANY), "Log lines per second. Default 100."),
];

pub(crate) const VALIDITY: &[Key] = &[
    key("send-lag", Duration, "Send lag p99 at most this, or … Default 5ms."),
    key("send-lag-share", Share, "… this share of the service p99, whichever is more. Default 10%."),
    key(
        "achieved",
        Share,
        "A second is short when less than this share of the wanted rate was sent. Default 99%.",
    ),
    key("short-seconds", Share, "Share of seconds that may be short at most. Default 5%."),
    key(
        "drops",
        Share,
        "Share of arrivals at most that were dropped by the generator's own fault, or failed for want of a local port or descriptor. Default 0.1%.",
    ),
    key("busy", Share, "A load thread may not be busier than this … Default 90%."),
    key("busy-for", Duration, "… for this long. Default 10s."),
    key("traps-per-minute", Integer(0, MANY), "Traps of a guest at most. Default 5."),
    key("judge", Bool, "false = report, but do not judge. Default true."),
];

pub(crate) const CONTROL: &[Key] = &[
    key(
        "validate",
        Bool,
        "Check target, resources, monitoring and workers before each phase, and play the scenarios' trials before the first. Default true.",
    ),
    key("validate-timeout", Duration, "How long a pre-phase check may take to pass. Default 10s."),
    key("ramp-down", Duration, "How long the load takes to zero on a graceful stop. Default 5s."),
    key("probe-interval", Duration, "Interval of health and resource probes. Default 5s."),
    key("probe-timeout", Duration, "Deadline of a probe. Default 5s."),
    key(
        "api",
        Text,
        "Loopback address and port of the HTTP API; port 0 = any free one. Default 127.0.0.1:0.",
    ),
    key(
        "worker-timeout",
        Duration,
        "A worker silent for this long is lost; cut off from the bus for as long, it sends nothing. Default 2s.",
    ),
    key(
        "controller-lease",
        Duration,
        "How long deployed workers and faults go on without hearing of the scheduler; then workers ramp down, and faults end. Default 15s.",
    ),
    key(
        "scheduler-restart",
        Words(SCHEDULER_RESTARTS),
        "What a scheduler that was started anew does with its run on deployed workers: \"resume\" = go on, \"close\" = end it as aborted. Default \"resume\".",
    ),
];

pub(crate) const REPORT: &[Key] = &[
    key("dir", Text, "Where run directories are made, relative to the working directory. Default runs."),
    key("slowest", Integer(0, 1000), "Slowest steps shown. Default 10."),
];

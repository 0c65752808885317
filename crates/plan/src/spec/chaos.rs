//! The keys of `[[chaos]]`, `[recovery.*]` and `[recovery-budgets]`, and which recipe takes which of them.

use super::Kind::{Duration, Integer, List, OneOf, Share, Size, Table, Text, Words};
use super::{Key, Kind, MANY, PHASES, key, required};

/// Most times that a fault comes in its phase.
pub(crate) const MOST_TIMES: i64 = 1000;
/// Most connections that a fault holds.
pub(crate) const MOST_HELD: i64 = 1_000_000;

pub(crate) const RECIPES: &[&str] = &[
    "kill",
    "pause",
    "restart",
    "clock-skew",
    "cpu",
    "memory",
    "connections",
    "disk-full",
    "latency",
    "bandwidth",
    "partition",
    "refuse",
    "reset",
    "slow-close",
    "slicer",
    "limit-data",
    "packet-loss",
    "http-abort",
    "http-delay",
    "http-status",
    "http-header",
    "http-body",
];

pub(crate) const DIRECTIONS: &[&str] = &["both", "to", "from"];
pub(crate) const STRATEGIES: &[&str] = &["restart", "failover", "shed-load"];

pub(crate) const FAULT: &[Key] = &[
    required("recipe", Words(RECIPES), "What is done."),
    required("target", Text, "The target that is hit; its `chaos` has to allow it."),
    required("duration", Duration, "How long it lasts, real time."),
    required(
        "stop",
        Text,
        "What ends it before that, such as \"error_rate > 50%\"; \"none\" where nothing does.",
    ),
    key("name", Text, "Its name, of its own. Default: the recipe's, with -2, -3, … where there are several."),
    key("phase", Words(PHASES), "The phase in which it comes. Default chaos."),
    key(
        "mode",
        OneOf(&[Text, Table(MODE)]),
        "Instances that it hits: \"one\", \"all\", { fixed = 2 }, { percent = 50 } (rounded up) or \"50%\". Default one.",
    ),
    key("stop-over", Duration, "Sliding window of `stop`, real time. Default 5s."),
    key("at", Duration, "When it comes, from the phase's start, real time. Default: drawn from the seed."),
    key("times", Integer(1, MOST_TIMES), "How often it comes in the phase; not beside `at`. Default 1."),
    key("offset", Text, "clock-skew: how far the clock is ahead, such as \"+30s\" or \"-5m\"."),
    key(
        "cores",
        OneOf(&[Integer(1, 1024), Share]),
        "cpu: how many processors are kept busy, or which share of the machine's, such as \"50%\".",
    ),
    key(
        "size",
        Size,
        "memory: how much is taken. disk-full: the same. slicer: mean size of a piece, which is sent by itself.",
    ),
    key("connections", Integer(1, MOST_HELD), "connections: how many are held open."),
    key("path", Text, "disk-full: directory on the file system that is filled."),
    key("leave", Size, "disk-full: how much is left free, in the place of `size`."),
    key("latency", Duration, "latency: how late data is."),
    key("jitter", Duration, "latency: more or less by at most this. Default 0s."),
    key("rate", Size, "bandwidth: bytes a second."),
    key("after", Duration, "reset: how long after the first data. Default 0s."),
    key("delay", Duration, "slow-close, http-delay: how long. slicer: pause after each piece, default 0s."),
    key("variation", Size, "slicer: sizes differ from `size` by at most this. Default: not at all."),
    key("bytes", Size, "limit-data: after how much data the connection is closed."),
    key("loss", Share, "packet-loss: share of pieces that is lost."),
    key("correlation", Share, "packet-loss: how much a draw follows the one before it. Default 0."),
    key(
        "share",
        Share,
        "http-*: share of messages that are hit. Other network faults: share of connections. Default 1.",
    ),
    key("status", Integer(100, 999), "http-status: the status. Default 503."),
    key("header", Text, "http-header: name of the field."),
    key("value", Text, "http-header: its value; empty = the field is removed. Default empty."),
    key(
        "direction",
        Words(DIRECTIONS),
        "Of the network faults on data: \"to\" the target, \"from\" it or \"both\". Default: partition both, others from.",
    ),
];

pub(crate) const MODE: &[Key] = &[
    key("fixed", Integer(1, MANY), "So many instances, or all where there are fewer."),
    key("percent", Integer(1, 100), "So many of a hundred instances, rounded up."),
];

/// The keys of a fault that its recipe alone decides about: those that it needs, and those that it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    pub(crate) recipe: &'static str,
    pub(crate) needed: &'static [&'static str],
    pub(crate) taken: &'static [&'static str],
}

const fn row(
    recipe: &'static str,
    needed: &'static [&'static str],
    taken: &'static [&'static str],
) -> Parameters {
    Parameters { recipe, needed, taken }
}

/// In the order of [`RECIPES`].
pub(crate) const PARAMETERS: &[Parameters] = &[
    row("kill", &[], &[]),
    row("pause", &[], &[]),
    row("restart", &[], &[]),
    row("clock-skew", &["offset"], &[]),
    row("cpu", &["cores"], &[]),
    row("memory", &["size"], &[]),
    row("connections", &["connections"], &[]),
    row("disk-full", &["path"], &["leave", "size"]),
    row("latency", &["latency"], &["jitter", "direction", "share"]),
    row("bandwidth", &["rate"], &["direction", "share"]),
    row("partition", &[], &["direction"]),
    row("refuse", &[], &[]),
    row("reset", &[], &["after", "share"]),
    row("slow-close", &["delay"], &["share"]),
    row("slicer", &["size"], &["variation", "delay", "direction", "share"]),
    row("limit-data", &["bytes"], &["direction", "share"]),
    row("packet-loss", &["loss"], &["correlation", "direction", "share"]),
    row("http-abort", &[], &["share"]),
    row("http-delay", &["delay"], &["share"]),
    row("http-status", &[], &["status", "share"]),
    row("http-header", &["header"], &["value", "direction", "share"]),
    row("http-body", &[], &["direction", "share"]),
];

/// The keys that [`PARAMETERS`] is about.
pub(crate) const PARAMETER_KEYS: &[&str] = &[
    "offset",
    "cores",
    "size",
    "connections",
    "path",
    "leave",
    "latency",
    "jitter",
    "rate",
    "after",
    "delay",
    "variation",
    "bytes",
    "loss",
    "correlation",
    "share",
    "status",
    "header",
    "value",
    "direction",
];

pub(crate) const RECOVERY: &[Key] = &[
    key(
        "strategy",
        List(&Words(STRATEGIES)),
        "What is tried, in this order; empty = watched only. Default: restart with a `platform`, else shed-load.",
    ),
    key("backup", Table(BACKUP), "Where failover leads."),
    key("interval", Duration, "Interval of health probes, real time. Default 5s."),
    key(
        "timeout",
        Duration,
        "Deadline of a probe, at most `interval`. Default 600ms, or `interval` if that is less.",
    ),
    key("fall", Integer(1, 1000), "Failed probes in a row that open an incident. Default 1."),
    key("rise", Integer(1, 1000), "Good probes in a row that close it. Default 2."),
    key("restarts", Integer(0, 1000), "Restarts in a run at most. Default 5."),
    key(
        "shed",
        OneOf(&[Integer(1, 99), Share]),
        "Percent of the wanted rate that stays when load is shed, or a share such as \"50%\". Default 50.",
    ),
];

pub(crate) const BACKUP: &[Key] = &[
    required("url", Text, "Base URL of the backup."),
    key(
        "process",
        Text,
        "Process of the plan that serves it, started when it is needed. Default: it is there.",
    ),
];

pub(crate) const BUDGETS: &[Key] = &[
    key("detection", Duration, "From the fault to the incident at most. Default 30s."),
    key("recovery", Duration, "From the incident to a healthy target at most. Default 2m."),
    key("validation", Duration, "From a healthy target to a validated one at most. Default 5m."),
];

/// Tables under names of targets.
pub(crate) const RECOVERIES: Kind = Kind::Named(&Table(RECOVERY));

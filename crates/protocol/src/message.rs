//! Which verb of the bus carries a message, and on which subject.
//!
//! Subjects are `gauntlet.v1.<area>.<run>.<what>`; a command to one instance appends its id. To add a message:
//! define it in `proto/`, run `cargo xtask proto`, and add one line to the table below. Nothing outside this
//! file writes a subject.

use crate::id::RunId;
use crate::v1;

/// A message that may be lost: heartbeats and live figures.
pub trait Broadcast: prost::Message + Default + Clone + 'static {
    /// The area and the last word of the subject.
    const SUBJECT: (&'static str, &'static str);
    /// The run that the message is about, as its 16 bytes; empty when it is about none.
    fn run(&self) -> &[u8];
}

/// A request that one member of a queue group answers.
pub trait Command: prost::Message + Default + 'static {
    /// The area (the service that answers) and the last word of the subject.
    const SUBJECT: (&'static str, &'static str);
    /// What the answer carries.
    type Reply: prost::Message + Default + 'static;
    /// The run that the command is about, as its 16 bytes; empty when it is about none.
    fn run(&self) -> &[u8] {
        &[]
    }
    /// The phase that it is about; `None` when it is about none, or about all.
    fn phase(&self) -> Option<u32> {
        None
    }
}

/// A message that is appended to a log: durable on return, delivered at least once, applied once.
pub trait Record: prost::Message + Default + Clone + 'static {
    /// The area and the last word of the subject; also the name of the log.
    const SUBJECT: (&'static str, &'static str);
    /// The run that the record belongs to, as its 16 bytes.
    fn run(&self) -> &[u8];
}

/// A record that stands for an event of a run's history.
pub trait Tells: Record {
    /// The `sequence`-th that is told of a run; the event happened at that stamp.
    fn new(run: RunId, sequence: u64, at_unix_ns: i64, event_json: String) -> Self;
    /// Its stamp, Unix nanoseconds, and the event as JSON.
    fn told(&self) -> (i64, &str);
}

macro_rules! tells {
    ($($message:ident),+) => {
        $(
            impl Tells for v1::$message {
                fn new(run: RunId, sequence: u64, at_unix_ns: i64, event_json: String) -> Self {
                    Self { run: run.to_bytes(), sequence, at_unix_ns, event_json }
                }
                fn told(&self) -> (i64, &str) {
                    (self.at_unix_ns, &self.event_json)
                }
            }
        )+
    };
}

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// [`Broadcast`].
    Broadcast,
    /// [`Command`].
    Command,
    /// [`Record`].
    Record,
}

/// A line of the table: who says a message and who hears it, by the areas of their services; `cli` is the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it travels.
    pub verb: Verb,
    /// The area of its subject; of a command: the service that answers.
    pub area: &'static str,
    /// The last word of its subject.
    pub what: &'static str,
    /// Who says or asks it.
    pub says: &'static [&'static str],
    /// Who hears, answers or consumes it.
    pub hears: &'static [&'static str],
}

macro_rules! broadcasts {
    ($($message:ident => $area:literal $what:literal to $hears:expr),+ $(,)?) => {
        $(
            impl Broadcast for v1::$message {
                const SUBJECT: (&'static str, &'static str) = ($area, $what);
                fn run(&self) -> &[u8] { &self.run }
            }
        )+
        const BROADCASTS: &[Line] = &[$(Line {
            verb: Verb::Broadcast, area: $area, what: $what, says: &[$area], hears: &$hears,
        }),+];
    };
}

macro_rules! commands {
    (@about run) => { fn run(&self) -> &[u8] { &self.run } };
    (@about phase) => { fn phase(&self) -> Option<u32> { self.phase.into() } };
    ($($message:ident($($about:ident)*) => $area:literal $what:literal from $says:expr, $reply:ident),+ $(,)?) => {
        $(
            impl Command for v1::$message {
                const SUBJECT: (&'static str, &'static str) = ($area, $what);
                type Reply = v1::$reply;
                $(commands!(@about $about);)*
            }
        )+
        const COMMANDS: &[Line] = &[$(Line {
            verb: Verb::Command, area: $area, what: $what, says: &$says, hears: &[$area],
        }),+];
    };
}

macro_rules! records {
    ($($message:ident => $area:literal $what:literal to $hears:expr),+ $(,)?) => {
        $(
            impl Record for v1::$message {
                const SUBJECT: (&'static str, &'static str) = ($area, $what);
                fn run(&self) -> &[u8] { &self.run }
            }
        )+
        const RECORDS: &[Line] = &[$(Line {
            verb: Verb::Record, area: $area, what: $what, says: &[$area], hears: &$hears,
        }),+];
    };
}

broadcasts! {
    Heartbeat => "load" "heartbeat" to ["scheduler"],
    Aggregate => "metrics" "live" to ["scheduler", "cli"],
    HistoryEntry => "scheduler" "history" to ["scheduler", "cli"],
    SchedulerBeat => "scheduler" "beat" to ["load", "chaos"],
}

commands! {
    PrepareRun(run) => "load" "prepare" from ["scheduler"], PrepareRunReply,
    StartPhase(run phase) => "load" "start-phase" from ["scheduler"], Ack,
    ChangePhase(run phase) => "load" "change-phase" from ["scheduler"], Ack,
    AssignSegment(run phase) => "load" "assign-segment" from ["scheduler"], Ack,
    EndPhase(run phase) => "load" "end-phase" from ["scheduler"], PhaseEnded,
    EndRun(run) => "load" "end-run" from ["scheduler"], Ack,
    CreateRun(run) => "scheduler" "create" from ["cli"], CreateRunReply,
    ControlRun(run) => "scheduler" "control" from ["cli"], ControlReply,
    QueryHistory(run) => "scheduler" "query-history" from ["cli"], History,
    QueryClock() => "scheduler" "clock" from ["load", "chaos", "recovery"], ClockReply,
    WatchRun(run) => "metrics" "watch" from ["scheduler"], Ack,
    UnwatchRun(run) => "metrics" "unwatch" from ["scheduler"], Ack,
    MarkPhase(run phase) => "metrics" "mark-phase" from ["scheduler"], Ack,
    QueryAggregate(run phase) => "metrics" "aggregate" from ["scheduler", "chaos"], Aggregate,
    QueryRun(run phase) => "metrics" "run" from ["scheduler", "cli"], RunSeries,
    QueryProbes(run) => "metrics" "probes" from ["scheduler"], ProbeStates,
    OpenChaos(run) => "chaos" "open" from ["scheduler"], OpenChaosReply,
    BeginChaosPhase(run phase) => "chaos" "begin-phase" from ["scheduler"], Ack,
    EndChaosPhase(run phase) => "chaos" "end-phase" from ["scheduler"], ChaosPhaseEnded,
    CloseChaos(run) => "chaos" "close" from ["scheduler"], ChaosClosed,
    InjectFault(run) => "chaos" "inject" from ["scheduler"], InjectFaultReply,
    StopFault(run) => "chaos" "stop" from ["scheduler"], StopFaultReply,
    QueryFaults(run) => "chaos" "query" from ["scheduler"], Faults,
    OpenRecovery(run) => "recovery" "open" from ["scheduler"], OpenRecoveryReply,
    BeginRecoveryPhase(run phase) => "recovery" "begin-phase" from ["scheduler"], Ack,
    EndRecoveryPhase(run phase) => "recovery" "end-phase" from ["scheduler"], RecoveryPhaseEnded,
    CloseRecovery(run) => "recovery" "close" from ["scheduler"], Ack,
    QueryRecovery(run) => "recovery" "query" from ["scheduler"], RecoveryStatus,
    ShedLoad(run) => "scheduler" "shed-load" from ["recovery"], ShedLoadReply,
}

records! {
    SampleBatch => "load" "samples" to ["metrics"],
    GuestFault => "load" "guest-faults" to ["metrics", "scheduler"],
    EndpointNews => "load" "endpoints" to ["scheduler"],
    FaultNews => "chaos" "faults" to ["scheduler", "recovery"],
    RecoveryNews => "recovery" "incidents" to ["scheduler"],
}

tells!(FaultNews, RecoveryNews);

/// Every message with who says and who hears it: permissions on the bus follow from this and from nothing else.
pub fn table() -> impl Iterator<Item = &'static Line> {
    BROADCASTS.iter().chain(COMMANDS).chain(RECORDS)
}

/// The subject of a broadcast.
#[must_use]
pub fn broadcast_subject<M: Broadcast>(message: &M) -> String {
    let (area, what) = M::SUBJECT;
    format!("gauntlet.v1.{area}.{}.{what}", run_token(message.run()))
}

/// The subject that covers a broadcast of all runs.
#[must_use]
pub fn broadcast_filter<M: Broadcast>() -> String {
    let (area, what) = M::SUBJECT;
    format!("gauntlet.v1.{area}.*.{what}")
}

/// The subject of a command: to the service, or to the instance with this id. The run is in the command itself, since
/// one service answers for all runs.
#[must_use]
pub fn command_subject<C: Command>(instance: Option<&str>) -> String {
    let (area, what) = C::SUBJECT;
    match instance {
        None => format!("gauntlet.v1.{area}.any.{what}"),
        Some(id) => format!("gauntlet.v1.{area}.any.{what}.{id}"),
    }
}

/// The subject of a record.
#[must_use]
pub fn record_subject<R: Record>(record: &R) -> String {
    let (area, what) = R::SUBJECT;
    format!("gauntlet.v1.{area}.{}.{what}", run_token(record.run()))
}

/// The name of the log that a record is appended to: `load.samples`.
#[must_use]
pub fn log_name<R: Record>() -> String {
    let (area, what) = R::SUBJECT;
    format!("{area}.{what}")
}

/// A run as a subject has it: its id, or `none` for a message about no run.
fn run_token(run: &[u8]) -> String {
    RunId::from_bytes(run).map_or_else(|_| "none".to_owned(), |run| run.to_string())
}

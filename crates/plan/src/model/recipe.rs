//! What a fault does: the recipes and their parameters.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::units::{print_duration, print_share, print_size};

/// Which way a network fault works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both ways.
    Both,
    /// What goes to the target.
    ToTarget,
    /// What comes from the target.
    FromTarget,
}

impl Direction {
    /// As the plan writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::ToTarget => "to",
            Self::FromTarget => "from",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Both => "both ways",
            Self::ToTarget => "to the target",
            Self::FromTarget => "from the target",
        }
    }
}

/// How much of the processors a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cores {
    /// This many; at least 1.
    Count(u32),
    /// This share of the machine's, rounded up; over 0, at most 1.
    Share(f64),
}

impl Cores {
    /// How many of a machine's; at least 1, never more than there are.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is not negative and not more than the count"
    )]
    pub fn of(self, machine: u32) -> u32 {
        let wanted = match self {
            Self::Count(count) => count,
            Self::Share(share) => (f64::from(machine) * share).ceil() as u32,
        };
        wanted.clamp(1, machine.max(1))
    }
}

/// How much of a file system a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFill {
    /// All but so many bytes.
    Leave(u64),
    /// So many bytes.
    Take(u64),
}

/// What a fault does, with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "recipe", rename_all = "kebab-case")]
pub enum Recipe {
    /// The process is killed; at the end it runs again.
    Kill,
    /// The process is stopped, as with SIGSTOP; at the end it goes on.
    Pause,
    /// The process is stopped gracefully and started again, once.
    Restart,
    /// The process sees another time of day.
    ClockSkew {
        /// Milliseconds that its clock is ahead; not 0.
        offset_ms: i64,
    },
    /// Processors of the host are kept busy.
    Cpu {
        /// How many.
        cores: Cores,
    },
    /// Memory of the host is taken.
    Memory {
        /// How much.
        bytes: u64,
    },
    /// Connections to the target are held open, so that it runs out of file descriptors.
    Connections {
        /// How many.
        count: u32,
    },
    /// The file system of a directory is filled.
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// How far.
        fill: DiskFill,
    },
    /// Data is late.
    Latency {
        /// By so much …
        latency: Duration,
        /// … more or less, evenly; at most `latency`.
        jitter: Duration,
        /// Which way.
        direction: Direction,
    },
    /// Data is slow.
    Bandwidth {
        /// Most bytes a second of a connection.
        bytes_per_second: u64,
        /// Which way.
        direction: Direction,
    },
    /// Nothing comes through; connections stay.
    Partition {
        /// Which way.
        direction: Direction,
    },
    /// Connections are refused, and those that are there are closed.
    Refuse,
    /// Connections are reset.
    Reset {
        /// So long after their first data.
        after: Duration,
    },
    /// Connections are closed late.
    SlowClose {
        /// By so much.
        delay: Duration,
    },
    /// Data comes in small pieces.
    Slicer {
        /// Mean size of a piece, bytes.
        size: u64,
        /// Sizes differ from it by at most this; below `size`.
        variation: u64,
        /// Pause after each.
        delay: Duration,
        /// Which way.
        direction: Direction,
    },
    /// Connections are closed after so much data.
    LimitData {
        /// Bytes.
        bytes: u64,
        /// Of which way.
        direction: Direction,
    },
    /// Pieces of data are lost.
    PacketLoss {
        /// Share that is lost, 0 to 1.
        loss: f64,
        /// How much a draw follows the one before it, 0 to 1.
        correlation: f64,
        /// Which way.
        direction: Direction,
    },
    /// Requests are answered by the end of the connection.
    HttpAbort {
        /// Share of requests, 0 to 1.
        share: f64,
    },
    /// Answers are held.
    HttpDelay {
        /// Share of requests, 0 to 1.
        share: f64,
        /// How long.
        delay: Duration,
    },
    /// Answers have another status.
    HttpStatus {
        /// Share of requests, 0 to 1.
        share: f64,
        /// The status; 100 to 999.
        status: u16,
    },
    /// A header field is set in the place of all of its name.
    HttpHeader {
        /// Share of messages, 0 to 1.
        share: f64,
        /// The field's name.
        header: String,
        /// Its value; empty = the field is removed.
        value: String,
        /// Requests, answers or both.
        direction: Direction,
    },
    /// Each byte of bodies is another one; their length stays.
    HttpBody {
        /// Share of messages, 0 to 1.
        share: f64,
        /// Requests, answers or both.
        direction: Direction,
    },
}

/// What a recipe works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipeKind {
    /// Processes of instances: the target needs a platform.
    Process,
    /// What the host has, or what a target has of it: a process of ours takes it.
    Host,
    /// The way to instances: the load goes through the fault proxy.
    Network,
}

impl Recipe {
    /// As the plan writes it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::ClockSkew { .. } => "clock-skew",
            Self::Cpu { .. } => "cpu",
            Self::Memory { .. } => "memory",
            Self::Connections { .. } => "connections",
            Self::DiskFull { .. } => "disk-full",
            Self::Latency { .. } => "latency",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Partition { .. } => "partition",
            Self::Refuse => "refuse",
            Self::Reset { .. } => "reset",
            Self::SlowClose { .. } => "slow-close",
            Self::Slicer { .. } => "slicer",
            Self::LimitData { .. } => "limit-data",
            Self::PacketLoss { .. } => "packet-loss",
            Self::HttpAbort { .. } => "http-abort",
            Self::HttpDelay { .. } => "http-delay",
            Self::HttpStatus { .. } => "http-status",
            Self::HttpHeader { .. } => "http-header",
            Self::HttpBody { .. } => "http-body",
        }
    }

    /// It is done to messages of HTTP/1.1, which have to be read on their way.
    #[must_use]
    pub const fn reads_http(&self) -> bool {
        matches!(
            self,
            Self::HttpAbort { .. }
                | Self::HttpDelay { .. }
                | Self::HttpStatus { .. }
                | Self::HttpHeader { .. }
                | Self::HttpBody { .. }
        )
    }

    /// What it works on.
    #[must_use]
    pub const fn kind(&self) -> RecipeKind {
        match self {
            Self::Kill | Self::Pause | Self::Restart | Self::ClockSkew { .. } => RecipeKind::Process,
            Self::Cpu { .. } | Self::Memory { .. } | Self::Connections { .. } | Self::DiskFull { .. } => {
                RecipeKind::Host
            }
            _ => RecipeKind::Network,
        }
    }

    /// Whether it hits instances of its target, which are drawn, and not the host as a whole.
    #[must_use]
    pub const fn has_victims(&self) -> bool {
        !matches!(self, Self::Cpu { .. } | Self::Memory { .. } | Self::DiskFull { .. })
    }

    /// Whether an instance that it hits does not serve as before, so that it counts towards [`Most`]: all that is done
    /// to processes, and what cuts an instance off. What makes an instance slow or wrong does not count.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        matches!(self.kind(), RecipeKind::Process) || matches!(self, Self::Partition { .. } | Self::Refuse)
    }

    /// What it does, in words: `latency 200ms ± 50ms both ways`.
    #[must_use]
    pub fn describe(&self) -> String {
        let name = self.name();
        let of = |share: f64, what: &str| {
            if share == 1.0 { format!("all {what}") } else { format!("{} of {what}", print_share(share)) }
        };
        match self {
            Self::Kill | Self::Pause | Self::Restart | Self::Refuse => name.to_owned(),
            Self::ClockSkew { offset_ms } => format!("{name} {}", print_offset(*offset_ms)),
            Self::Cpu { cores: Cores::Count(count) } => format!("{name} {count} cores"),
            Self::Cpu { cores: Cores::Share(share) } => {
                format!("{name} {} of the cores", print_share(*share))
            }
            Self::Memory { bytes } => format!("{name} {}", print_size(*bytes)),
            Self::Connections { count } => format!("{count} {name}"),
            Self::DiskFull { path, fill: DiskFill::Leave(bytes) } => {
                format!("{name} {}, {} left", path.display(), print_size(*bytes))
            }
            Self::DiskFull { path, fill: DiskFill::Take(bytes) } => {
                format!("{name} {}, {} taken", path.display(), print_size(*bytes))
            }
            Self::Latency { latency, jitter, direction } if jitter.is_zero() => {
                format!("{name} {} {}", print_duration(*latency), direction.words())
            }
            Self::Latency { latency, jitter, direction } => format!(
                "{name} {} ± {} {}",
                print_duration(*latency),
                print_duration(*jitter),
                direction.words()
            ),
            Self::Bandwidth { bytes_per_second, direction } => {
                format!("{name} {}/s {}", print_size(*bytes_per_second), direction.words())
            }
            Self::Partition { direction } => format!("{name} {}", direction.words()),
            Self::Reset { after } => format!("{name} after {}", print_duration(*after)),
            Self::SlowClose { delay } => format!("{name} by {}", print_duration(*delay)),
            Self::Slicer { size, variation, delay, direction } => format!(
                "{name} {} ± {}, {} apart, {}",
                print_size(*size),
                print_size(*variation),
                print_duration(*delay),
                direction.words()
            ),
            Self::LimitData { bytes, direction } => {
                format!("{name} {} {}", print_size(*bytes), direction.words())
            }
            Self::PacketLoss { loss, direction, .. } => {
                format!("{name} {} {}", print_share(*loss), direction.words())
            }
            Self::HttpAbort { share } => format!("{name} of {}", of(*share, "requests")),
            Self::HttpDelay { share, delay } => {
                format!("{name} {} on {}", print_duration(*delay), of(*share, "requests"))
            }
            Self::HttpStatus { share, status } => format!("{name} {status} on {}", of(*share, "requests")),
            Self::HttpHeader { share, header, value, direction } if value.is_empty() => {
                format!("{name} without {header} on {} {}", of(*share, "messages"), direction.words())
            }
            Self::HttpHeader { share, header, value, direction } => {
                format!("{name} {header}: {value} on {} {}", of(*share, "messages"), direction.words())
            }
            Self::HttpBody { share, direction } => {
                format!("{name} on {} {}", of(*share, "messages"), direction.words())
            }
        }
    }
}

/// An offset of a clock as the plan writes it: `+30s`, `-1m30s`.
pub(crate) fn print_offset(offset_ms: i64) -> String {
    let sign = if offset_ms < 0 { '-' } else { '+' };
    format!("{sign}{}", print_duration(Duration::from_millis(offset_ms.unsigned_abs())))
}

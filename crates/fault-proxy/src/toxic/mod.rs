//! Toxics: what they are called, where they act, what they do to the bytes of one direction of a connection.
//!
//! The attributes are in [`attributes`]; each family of behaviours has a file: [`delay`], [`rate`], [`cut`], [`loss`],
//! [`http`].

mod attributes;
pub(crate) mod behaviour;
mod cut;
mod delay;
mod fields;
mod framing;
mod http;
mod loss;
mod rate;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use attributes::{
    Attributes, Bandwidth, Latency, LimitData, PacketLoss, ResetPeer, Slicer, SlowClose, Timeout,
};
pub use http::{Http, HttpEffect};

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Upstream = 0,
    /// From the server to the client.
    Downstream = 1,
}

/// Where a toxic acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// From the client to the server.
    Upstream,
    /// From the server to the client.
    #[default]
    Downstream,
    /// In both directions, each with a state of its own. Not in Toxiproxy.
    Both,
}

impl Stream {
    /// By its name, in any case; `None` = there is no such stream.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Upstream, Self::Downstream, Self::Both]
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(name))
    }

    /// As the API writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
            Self::Both => "both",
        }
    }

    /// Whether it acts in this direction.
    #[must_use]
    pub const fn covers(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _)
                | (Self::Upstream, Direction::Upstream)
                | (Self::Downstream, Direction::Downstream)
        )
    }
}

/// How long something lasts when nobody renews it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// From each renewal.
    pub ttl: Duration,
    /// When it ends.
    pub ends: Instant,
}

impl Lease {
    /// From now on.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, ends: Instant::now() + ttl }
    }
}

/// What a toxic has done.
#[derive(Debug, Default)]
pub struct ToxicCounters {
    /// Directions of connections that it was drawn for.
    pub links: AtomicU64,
    /// Times that it acted: chunks delayed, paced, cut up or dropped; connections or directions that it ended.
    pub effects: AtomicU64,
}

/// A toxic of a proxy, as it is at present: a change makes a new one with the same id.
#[derive(Clone, Debug)]
pub struct Toxic {
    /// Of this toxic and no later one of the same name.
    pub(crate) id: u64,
    /// Counts changes of its attributes: a renewal of its lease disturbs no connection.
    pub(crate) revision: u64,
    /// Unique within the proxy.
    pub name: String,
    /// Where it acts.
    pub stream: Stream,
    /// Connections that lead elsewhere are none of its business; `None` = it is for all.
    pub upstream: Option<String>,
    /// Share of connections that it hits, 0 to 1.
    pub toxicity: f64,
    /// What it does.
    pub attributes: Attributes,
    /// When it ends by itself; `None` = never.
    pub lease: Option<Lease>,
    /// What it has done.
    pub counters: Arc<ToxicCounters>,
}

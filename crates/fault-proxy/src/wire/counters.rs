//! What the API shows of what has happened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes that connections hold now.
    pub held_bytes: u64,
    /// By name.
    pub proxies: BTreeMap<String, ProxyCounters>,
}

/// What has happened at a proxy since it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyCounters {
    /// Connections accepted.
    pub connections: u64,
    /// Those that have not ended.
    pub open: u64,
    /// Those that were closed because the upstream could not be reached.
    pub unreachable: u64,
    /// Those that a toxic reset.
    pub reset: u64,
    /// Times that a connection had come and the system had no file for it.
    pub not_accepted: u64,
    /// From clients to the server.
    pub upstream: StreamCounters,
    /// From the server to clients.
    pub downstream: StreamCounters,
    /// Of the toxics that are there, by name.
    pub toxics: BTreeMap<String, ToxicEffects>,
}

/// Bytes of one direction of all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCounters {
    /// Taken in.
    pub received_bytes: u64,
    /// Handed on.
    pub sent_bytes: u64,
}

/// What a toxic has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToxicEffects {
    /// Directions of connections that it was drawn for.
    pub links: u64,
    /// Times that it acted: chunks delayed, paced, cut up or dropped; connections or directions that it ended.
    pub effects: u64,
}

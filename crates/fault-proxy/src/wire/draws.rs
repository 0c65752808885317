//! What the API shows of draws.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which toxics hit which connections of a proxy. Two proxies of one name and seed, whose connections met toxics of the same
/// names and toxicities, show the same bytes for the same numbers. Which toxics a connection met is a matter of time, where
/// it was open when they came or went; what was drawn is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draws {
    /// The process's.
    pub seed: u64,
    /// The last 1 024 connections that met a toxic, by number.
    pub connections: Vec<ConnectionDraws>,
    /// Connections with numbers up to this are forgotten; 0 = none is.
    pub forgotten_up_to: u64,
}

/// The draws of one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionDraws {
    /// From 1, in the order in which the proxy accepted them; a change of the proxy does not start anew.
    pub number: u64,
    /// The first 64 toxics that it met, hit or not, by name.
    pub toxics: BTreeMap<String, ToxicDraw>,
}

/// What was drawn for a toxic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToxicDraw {
    /// At least 0 and below 1: a function of seed, proxy, number and toxic.
    pub draw: f64,
    /// The toxic's, when the connection met it last.
    pub toxicity: f64,
    /// Whether the draw was below it.
    pub hits: bool,
}

//! The configuration after reading: every default filled in, templates not yet parsed.

mod read;
#[cfg(test)]
mod schema;

use std::collections::BTreeMap;

use gauntlet_sdk::RowOrder;
use serde_json::{Map, Value};

pub(crate) use read::{PAGES, read, without_row};

use crate::answers::Capabilities;
use crate::result::Method;
use crate::revision::Revision;

/// A scenario.
#[derive(Debug)]
pub(crate) struct Config {
    /// None = found out at the first turn.
    pub(crate) revision: Option<Revision>,
    /// Path at which the server is reached.
    pub(crate) endpoint: String,
    /// Sent with every request; names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) bearer: Option<String>,
    pub(crate) capabilities: Capabilities,
    /// Bodies are read and verified; else only statuses are.
    pub(crate) verifies: bool,
    /// A turn is a whole session, in every revision.
    pub(crate) whole_sessions: bool,
    /// Calls are made one after another as they stand, not drawn by weight.
    pub(crate) in_sequence: bool,
    /// The stream of what the server says by itself is open beside the calls.
    pub(crate) stream: bool,
    /// Calls after which a user ends its session; 0 = never.
    pub(crate) session_calls: u32,
    /// tools/list is part of opening a session.
    pub(crate) lists_tools: bool,
    /// Deadline of each answer; 0 = the plan's.
    pub(crate) timeout_us: u32,
    /// Microseconds, both ends included.
    pub(crate) think_us: (u32, u32),
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) calls: Vec<Call>,
}

/// One kind of thing that users do.
#[derive(Debug)]
pub(crate) struct Call {
    /// Its place in the configuration.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) weight: u32,
    pub(crate) action: Action,
    pub(crate) arguments: Arguments,
    pub(crate) feed: Option<String>,
    pub(crate) feed_order: RowOrder,
    pub(crate) progress: bool,
    /// Given up after so long; 0 = never.
    pub(crate) cancel_after_us: u32,
    /// 0 = the scenario's.
    pub(crate) timeout_us: u32,
    pub(crate) expect: Expected,
    /// Requests in one body.
    pub(crate) batch: u32,
    /// Pages of a list that are read; none = all.
    pub(crate) pages: Option<u32>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Tool(String),
    Prompt(String),
    /// A URI with placeholders.
    Resource(String),
    /// All pages of a list.
    List(Method),
    Ping,
    /// A stream of the server's messages, held for so long, microseconds.
    Listen(u32),
}

/// Where a call's arguments come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Arguments {
    #[default]
    None,
    /// As written, texts with placeholders.
    Given(Map<String, Value>),
    /// Drawn from this JSON Schema.
    Schema(Value),
    /// Drawn from the schema that the server gives for the tool.
    Listed,
}

/// How a call is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expected {
    #[default]
    Success,
    /// A result with `isError`.
    ToolError,
    /// A JSON-RPC error.
    ProtocolError,
}

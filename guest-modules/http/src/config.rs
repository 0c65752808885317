//! The configuration after reading: every default filled in, templates not yet parsed.

mod read;
#[cfg(test)]
mod schema;

use std::collections::BTreeMap;

use gauntlet_sdk::{Connection, RowOrder};
use serde_json::Value;

pub(crate) use read::read;

/// A scenario.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) steps: Vec<Step>,
    pub(crate) order: Order,
    /// Sent with every step that does not set them itself; names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) cookies: bool,
    pub(crate) variables: BTreeMap<String, String>,
}

/// Which step a turn takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Drawn by weight from (seed, arrival).
    #[default]
    Weighted,
    /// The user's next one, and after the last the first again.
    Sequence,
}

/// One step: one request.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its place in the configuration, where steps that cannot be read stand, too.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) weight: u32,
    pub(crate) method: String,
    pub(crate) path: String,
    /// The key that gave the path: `get`, `post`, …, `path`.
    pub(crate) path_key: &'static str,
    pub(crate) query: Query,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Body,
    pub(crate) feed: Option<String>,
    pub(crate) feed_order: RowOrder,
    pub(crate) check: Check,
    pub(crate) extract: Vec<(String, From)>,
    /// Microseconds, both ends included.
    pub(crate) think_us: (u32, u32),
    /// 0 = the plan's.
    pub(crate) timeout_us: u32,
    pub(crate) retries: u32,
    pub(crate) backoff_us: u32,
    pub(crate) connection: Connection,
}

#[derive(Debug, Default)]
pub(crate) enum Query {
    #[default]
    None,
    Text(String),
    /// Names with their values, in order of name; a list repeats the name.
    Table(Vec<(String, String)>),
}

#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    None,
    Text(String),
    Json(Value),
}

/// What must hold of each answer.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// Ranges, ends included; empty = not checked.
    pub(crate) status: Vec<(u16, u16)>,
    pub(crate) body_contains: Vec<String>,
    /// Header name in lower case, and a part of its value; empty = is present.
    pub(crate) header: BTreeMap<String, String>,
    /// JSON path, and the value it must have; none = exists.
    pub(crate) json: Vec<(String, Option<Value>)>,
    /// The whole answer within so many microseconds of the send; 0 = not checked.
    pub(crate) latency_us: u32,
}

/// Where an extracted value comes from.
#[derive(Debug)]
pub(crate) enum From {
    /// JSON path in the body.
    Json(String),
    /// The first header of this name.
    Header(String),
    /// What stands in the body after the first text, up to the second.
    Between(String, String),
    /// A cookie that the answer sets.
    Cookie(String),
}

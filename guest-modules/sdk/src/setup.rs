//! What a guest says about itself and about a configured scenario.

use crate::bindings::gauntlet::scenario::types as wire;

/// What a guest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Name by which plans call it.
    pub name: String,
    /// Its version, usually `env!("CARGO_PKG_VERSION")`.
    pub version: String,
    /// `http`, `mcp`, …: how reports group it.
    pub protocol: String,
    /// JSON Schema of the configuration.
    ///
    /// An annotation in it may say which checks, failed in a turn that is played before the load, show that the plan is wrong;
    /// the run then ends with what was seen and with `mend`:
    ///
    /// ```json
    /// "x-gauntlet-trial": {
    ///     "config": { "retries": 0 },
    ///     "mistakes": [
    ///         { "check": "denied", "mend": "give a `token` that the server takes" },
    ///         { "check": "answers", "steps": ["home"], "statuses": [404], "content-type": "text/html", "mend": "check `url`" }
    ///     ]
    /// }
    /// ```
    ///
    /// `check` is the name of a check, or what stands in it before or behind a colon; `steps`, `statuses` and `content-type` narrow
    /// when it counts, by the request that the verdict is of. `config` is merged into the scenario's for that turn. Name only
    /// what a target that is down, slow or overloaded does not do. Without the annotation no turn is played.
    pub config_schema: String,
}

/// What a scenario with its configuration consists of. The indexes that [`Setup::step`] and its like return are
/// those that requests, verdicts and observations name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setup {
    /// Names of the series in which requests are counted.
    pub steps: Vec<String>,
    /// Names of the checks.
    pub checks: Vec<String>,
    /// Names of the scenario's own metrics.
    pub metrics: Vec<String>,
    /// HTTP methods in use.
    pub methods: Vec<String>,
    /// Feeders whose rows come with each turn.
    pub feeds: Vec<Feed>,
    /// Cheap checks that the worker makes on each answer of a step.
    pub expectations: Vec<Expectation>,
    /// Bytes of a body that the scenario wants to see at most; longer ones are cut.
    pub body_limit: u32,
    /// Turns depend on nothing but (seed, arrival, rows): the scenario keeps nothing between them. Reserved: a worker that
    /// hands in turns before they are due would look at it, and none does so far.
    pub stateless: bool,
}

impl Setup {
    /// The index of the step of this name, added if it is new.
    pub fn step(&mut self, name: &str) -> u32 {
        index_of(&mut self.steps, name)
    }

    /// The index of the check of this name, added if it is new.
    pub fn check(&mut self, name: &str) -> u32 {
        index_of(&mut self.checks, name)
    }

    /// The index of the metric of this name, added if it is new.
    pub fn metric(&mut self, name: &str) -> u32 {
        index_of(&mut self.metrics, name)
    }

    /// The index of this HTTP method, added if it is new.
    pub fn method(&mut self, name: &str) -> u32 {
        index_of(&mut self.methods, name)
    }

    /// Has the worker check each answer of `step` under the check named `check`.
    pub fn expect(&mut self, step: u32, check: &str, rule: Rule) {
        let check = self.check(check);
        self.expectations.push(Expectation { step, check, rule });
    }
}

fn index_of(names: &mut Vec<String>, name: &str) -> u32 {
    let position = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// A feeder's columns that come with each turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Its file, as the configuration writes it.
    pub file: String,
    /// The columns wanted, in the order in which [`crate::Turn::row`] numbers them.
    pub columns: Vec<String>,
    /// Which row an arrival gets.
    pub order: RowOrder,
}

/// Which row of a feeder an arrival gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowOrder {
    /// Row (arrival number in its phase) modulo (number of rows).
    #[default]
    Sequential,
    /// A seeded draw.
    Random,
}

/// A cheap check that the worker makes on each answer of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Index of the step.
    pub step: u32,
    /// Index of the check that it counts in.
    pub check: u32,
    /// What must hold.
    pub rule: Rule,
}

/// What an [`Expectation`] asks of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The status is in any of these ranges, ends included.
    Status(Vec<(u16, u16)>),
    /// The body contains this text.
    BodyContains(String),
    /// The header has a value with this part in it; an empty part means that it is there at all.
    HeaderContains {
        /// Its name, in lower case.
        name: String,
        /// Part of its value.
        part: String,
    },
    /// From send to last byte it took less than this many microseconds.
    ServiceBelowUs(u64),
}

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the configuration: `steps[2].get`.
    pub path: String,
    /// What is wrong: what was found, and what was expected.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), mend: mend.into() }
    }
}

impl From<Descriptor> for wire::Descriptor {
    fn from(from: Descriptor) -> Self {
        let Descriptor { name, version, protocol, config_schema } = from;
        Self { name, version, protocol, config_schema }
    }
}

impl From<Setup> for wire::Setup {
    fn from(from: Setup) -> Self {
        Self {
            steps: from.steps,
            checks: from.checks,
            metrics: from.metrics,
            methods: from.methods,
            feeds: from.feeds.into_iter().map(Into::into).collect(),
            expectations: from.expectations.into_iter().map(Into::into).collect(),
            body_limit: from.body_limit,
            stateless: from.stateless,
        }
    }
}

impl From<Feed> for wire::Feed {
    fn from(from: Feed) -> Self {
        let order = match from.order {
            RowOrder::Sequential => wire::RowOrder::Sequential,
            RowOrder::Random => wire::RowOrder::Random,
        };
        Self { file: from.file, columns: from.columns, order }
    }
}

impl From<Expectation> for wire::Expectation {
    fn from(from: Expectation) -> Self {
        let rule = match from.rule {
            Rule::Status(ranges) => wire::Rule::Status(ranges),
            Rule::BodyContains(part) => wire::Rule::BodyContains(part),
            Rule::HeaderContains { name, part } => wire::Rule::HeaderContains((name, part)),
            Rule::ServiceBelowUs(limit) => wire::Rule::ServiceBelowUs(limit),
        };
        Self { step: from.step, check: from.check, rule }
    }
}

impl From<Problem> for wire::Problem {
    fn from(from: Problem) -> Self {
        let Problem { path, message, mend } = from;
        Self { path, message, mend }
    }
}

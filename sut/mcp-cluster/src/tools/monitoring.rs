//! Figures: seeded series, whose values are a function of their name and the time, and those of the cluster's servers.

use std::collections::BTreeMap;

use rmcp::model::Tool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, plain, tool, within};
use crate::app::App;

/// Bytes of a series' name at most.
const MAX_NAME: usize = 64;
/// Values that one query looks at, at most.
const MAX_VALUES: u64 = 100_000;
/// The highest value of a series; the lowest is 0.
const MAX_VALUE: u64 = 999;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Any name: each has its own values.
    #[schemars(length(min = 1, max = MAX_NAME))]
    series: String,
    /// First second.
    from: u64,
    /// Last second.
    to: u64,
    /// Seconds between two values.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    step: u64,
    function: Function,
}

fn one() -> u64 {
    1
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Function {
    Sum,
    Min,
    Max,
    /// Values of 500 and more.
    Above,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Value {
    value: u64,
    /// Values that were looked at.
    values: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scrape {
    /// Its name, as `cluster://members` has it.
    #[schemars(length(min = 1, max = 128))]
    server: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Scraped {
    server: String,
    /// By name and labels, as the server tells them.
    samples: BTreeMap<String, f64>,
}

pub(crate) fn tools() -> Vec<Tool> {
    vec![
        tool::<Query, Value>("query", "Computes a figure of a series over a span of time."),
        tool::<Scrape, Scraped>("scrape", "Reads the metrics of a server of the cluster."),
    ]
}

/// The value of a series at a second.
pub(crate) fn value(seed: u64, series: &str, second: u64) -> u64 {
    draws::up_to(MAX_VALUE, draws::at(draws::at(seed, 1) ^ draws::text(series), second))
}

pub(crate) fn query(app: &App, query: &Query) -> Result<Value, Failure> {
    plain("series", &query.series, MAX_NAME)?;
    within("step", query.step, 1, u64::MAX)?;
    within("to", query.to, query.from, u64::MAX)?;
    // Less the first one, which would be one too many for a span of all seconds there are.
    let further = (query.to - query.from) / query.step;
    within("values behind the first", further, 0, MAX_VALUES - 1)?;
    let values = further + 1;
    let all = (0..values).map(|n| value(app.seed, &query.series, query.from + n * query.step));
    let value = match query.function {
        Function::Sum => Some(all.sum()),
        Function::Min => all.min(),
        Function::Max => all.max(),
        Function::Above => Some(all.filter(|value| *value >= 500).count() as u64),
    };
    Ok(Value { value: value.unwrap_or(0), values })
}

pub(crate) async fn scrape(app: &App, Scrape { server }: Scrape) -> Result<Scraped, Failure> {
    let view = app.cluster.view();
    let Some(member) = view.members.servers.iter().find(|member| member.name == server) else {
        let names: Vec<&str> = view.members.servers.iter().map(|member| member.name.as_str()).collect();
        return Err(Failure::Tool(format!("there is no server {server:?}; there are: {}", names.join(", "))));
    };
    let text = if server == app.name {
        crate::metrics::render(app).await
    } else {
        app.cluster.client.metrics(member).await.map_err(|silent| Failure::tool(silent.to_string()))?
    };
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    Ok(Scraped { server, samples: samples.collect() })
}

//! The tools of each type of server, whose answers can all be checked.

pub(crate) mod commander;
pub(crate) mod hub;
pub(crate) mod monitoring;
pub(crate) mod scanner;
pub(crate) mod storage;

use rmcp::handler::server::tool::{schema_for_output, schema_for_type};
use rmcp::model::{JsonObject, ProgressNotificationParam, ProgressToken, Tool};
use rmcp::service::{Peer, RoleServer};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::members::Kind;

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such tool: an error of the protocol.
    Unknown,
    /// What the caller reads: wrong arguments, or the tool could not do it.
    Tool(String),
}

impl Failure {
    pub(crate) fn tool(why: impl Into<String>) -> Self {
        Self::Tool(why.into())
    }
}

/// Where a long call tells how far it is.
pub(crate) struct Progress {
    pub(crate) peer: Peer<RoleServer>,
    /// Absent = nobody asked.
    pub(crate) token: Option<ProgressToken>,
    pub(crate) cancelled: CancellationToken,
}

impl Progress {
    /// Tells that so many of all steps are done.
    ///
    /// # Errors
    /// When the client has cancelled the call: nobody waits for the rest.
    pub(crate) async fn done(&self, steps: u32, of: u32) -> Result<(), Failure> {
        if self.cancelled.is_cancelled() {
            return Err(Failure::tool("cancelled"));
        }
        if let Some(token) = &self.token {
            let progress = ProgressNotificationParam::new(token.clone(), f64::from(steps));
            // A client that is gone is seen by its cancellation, not here.
            let _ = self.peer.notify_progress(progress.with_total(f64::from(of))).await;
        }
        Ok(())
    }
}

/// The names of the tools that a type has.
pub(crate) fn names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::StorageController => &["put", "get", "delete", "list"],
        Kind::SecurityScanner => &["scan", "scan_text"],
        Kind::MonitoringPrometheus => &["query", "scrape"],
        Kind::CommunicationHub => &["publish", "history"],
        Kind::InfrastructureCommander => &["order", "roll_out"],
    }
}

/// The tools that a type has, as clients are told.
pub(crate) fn of(kind: Kind) -> Vec<Tool> {
    match kind {
        Kind::StorageController => storage::tools(),
        Kind::SecurityScanner => scanner::tools(),
        Kind::MonitoringPrometheus => monitoring::tools(),
        Kind::CommunicationHub => hub::tools(),
        Kind::InfrastructureCommander => commander::tools(),
    }
}

/// Calls a tool.
pub(crate) async fn call(
    app: &App,
    name: &str,
    arguments: JsonObject,
    progress: &Progress,
) -> Result<Value, Failure> {
    match (app.kind, name) {
        (Kind::StorageController, "put") => to(storage::put(app, parse(arguments)?).await?),
        (Kind::StorageController, "get") => to(storage::get(app, parse(arguments)?).await?),
        (Kind::StorageController, "delete") => to(storage::delete(app, parse(arguments)?).await?),
        (Kind::StorageController, "list") => to(storage::list(app, parse(arguments)?).await?),
        (Kind::SecurityScanner, "scan") => to(scanner::scan(app, parse(arguments)?, progress).await?),
        (Kind::SecurityScanner, "scan_text") => to(scanner::scan_text(&parse(arguments)?)?),
        (Kind::MonitoringPrometheus, "query") => to(monitoring::query(app, &parse(arguments)?)?),
        (Kind::MonitoringPrometheus, "scrape") => to(monitoring::scrape(app, parse(arguments)?).await?),
        (Kind::CommunicationHub, "publish") => to(app.channels.publish(parse(arguments)?)?),
        (Kind::CommunicationHub, "history") => to(app.channels.history(&parse(arguments)?)?),
        (Kind::InfrastructureCommander, "order") => to(commander::order(&parse(arguments)?)?),
        (Kind::InfrastructureCommander, "roll_out") => {
            to(commander::roll_out(parse(arguments)?, progress).await?)
        }
        _ => Err(Failure::Unknown),
    }
}

fn parse<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Failure::Tool(format!("arguments: {error}")))
}

fn to(result: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(result).map_err(|error| Failure::Tool(format!("the result cannot be told: {error}")))
}

/// A tool whose arguments and results are of these types.
fn tool<A: JsonSchema + 'static, R: JsonSchema + 'static>(
    name: &'static str,
    description: &'static str,
) -> Tool {
    Tool::new(name, description, schema_for_type::<A>()).with_raw_output_schema(schema_for_output::<R>())
}

/// A text of `least` to `most` bytes without control characters.
fn plain(argument: &str, text: &str, most: usize) -> Result<(), Failure> {
    if (1..=most).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let found = text.len();
    Err(Failure::Tool(format!(
        "{argument}: expected 1 to {most} bytes without control characters, found {found} bytes"
    )))
}

fn within(argument: &str, found: u64, least: u64, most: u64) -> Result<(), Failure> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(Failure::Tool(format!("{argument}: {found} is not between {least} and {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_told_with_both_schemas() {
        for kind in Kind::ALL {
            let tools = of(kind);
            let told: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            assert_eq!(told, names(kind), "{kind}");
            for tool in &tools {
                assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
                assert_eq!(tool.output_schema.as_ref().unwrap()["type"], "object", "{}", tool.name);
                assert_eq!(tool.input_schema["additionalProperties"], false, "{}", tool.name);
            }
        }
    }
}

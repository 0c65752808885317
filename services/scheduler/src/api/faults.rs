//! Faults and recovery of the run that is under way: looked at, injected and ended by hand.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use protocol::faults::{CapabilityView, FaultView, RecoveryView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::State;
use super::problem::Problem;
use super::runs::find;
use crate::links::{Chaos, LinkError, Recovery};
use crate::table::Active;

/// Who asks, as the history has it.
const BY: &str = "api";

/// The faults of a run, and what can be done where it runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct FaultList {
    /// Those of the plan in the order in which they begin, then those by hand.
    #[schema(value_type = Vec<Object>)]
    faults: Vec<FaultView>,
    /// Of each recipe of the plan: whether it can be done, and why not.
    #[schema(value_type = Vec<Object>)]
    capabilities: Vec<CapabilityView>,
}

/// A fault that is to begin at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFault {
    /// A table of `[[chaos]]`, without `phase` and `at`: as TOML text, or as an object.
    #[schema(value_type = Object)]
    fault: Value,
}

/// A fault that was asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct Injected {
    /// Its id.
    fault: String,
}

/// Which fault is to end.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stopped {
    /// Its id; absent = all.
    fault: Option<String>,
}

/// What ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    /// Ids of the faults that are undone, and were read back.
    ended: Vec<String>,
}

/// The faults of a run: planned, there, over, skipped.
#[utoipa::path(
    get, path = "/v1/runs/{run}/faults", tag = "faults", params(("run" = String, Path, description = "The run's id")),
    responses(
        (status = 200, body = FaultList), (status = 404, body = Problem),
        (status = 409, description = "The run is over, or has no faults", body = Problem),
        (status = 503, description = "Chaos does not answer", body = Problem)
    )
)]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
) -> Result<Json<FaultList>, Problem> {
    let faults = chaos(&state, &run).await?.faults().await?;
    Ok(Json(FaultList { faults: read(&faults.faults_json)?, capabilities: read(&faults.capabilities_json)? }))
}

/// Inject a fault now. It ends as those of the plan do: at its duration, by its stop condition, with its phase.
#[utoipa::path(
    post, path = "/v1/runs/{run}/faults", tag = "faults", request_body = NewFault,
    params(("run" = String, Path, description = "The run's id")),
    responses(
        (status = 201, description = "It is being injected, and in the history", body = Injected),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "It is not injected, and why", body = Problem),
        (status = 503, description = "Chaos does not answer", body = Problem)
    )
)]
pub(super) async fn inject(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
    body: Result<Json<NewFault>, JsonRejection>,
) -> Result<(StatusCode, Json<Injected>), Problem> {
    let Json(NewFault { fault }) = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let toml = match fault {
        Value::String(text) => text,
        Value::Object(table) => table_as_toml(&table).map_err(Problem::bad_request)?,
        other => {
            let detail =
                format!("fault: found {other}, expected a table of [[chaos]] as text or as an object");
            return Err(Problem::bad_request(detail));
        }
    };
    let reply = chaos(&state, &run).await?.inject(toml, BY).await?;
    if !reply.refused.is_empty() {
        return Err(Problem::refused(reply.refused));
    }
    Ok((StatusCode::CREATED, Json(Injected { fault: reply.fault })))
}

/// End a fault, or all. Answered when each is undone and was read back.
#[utoipa::path(
    post, path = "/v1/runs/{run}/faults/stop", tag = "faults", request_body = Stopped,
    params(("run" = String, Path, description = "The run's id")),
    responses(
        (status = 200, body = Ended), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "There is no such fault, or it could not be undone", body = Problem),
        (status = 503, description = "Chaos does not answer", body = Problem)
    )
)]
pub(super) async fn stop(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
    body: Result<Json<Stopped>, JsonRejection>,
) -> Result<Json<Ended>, Problem> {
    let Json(Stopped { fault }) = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let reply = chaos(&state, &run).await?.stop(fault.unwrap_or_default(), BY).await?;
    if reply.refused.is_empty() {
        Ok(Json(Ended { ended: reply.ended }))
    } else {
        Err(Problem::refused(reply.refused))
    }
}

/// Health, incidents, what was done about them, and the budgets.
#[utoipa::path(
    get, path = "/v1/runs/{run}/recovery", tag = "faults", params(("run" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "Targets, incidents and budgets", body = Object), (status = 404, body = Problem),
        (status = 409, description = "The run is over, or has no recovery", body = Problem),
        (status = 503, description = "Recovery does not answer", body = Problem)
    )
)]
pub(super) async fn recovery(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
) -> Result<Json<RecoveryView>, Problem> {
    let link = recovery_of(&state, &run).await?;
    let status = link.status().await?;
    Ok(Json(read_one(&status.status_json)?))
}

async fn chaos(state: &State, run: &str) -> Result<Chaos, Problem> {
    let none = "nothing of this run's plan is for chaos: set `chaos` of the targets that faults may hit";
    of_active(state, run, none, |active| active.chaos.clone()).await
}

async fn recovery_of(state: &State, run: &str) -> Result<Recovery, Problem> {
    let none = "nothing of this run's plan is for recovery: add [recovery.<target>]";
    of_active(state, run, none, |active| active.recovery.clone()).await
}

/// Something of the run that is under way, if that is this one.
async fn of_active<T>(
    state: &State,
    run: &str,
    none: &str,
    take: impl Fn(&Active) -> Option<T> + Send,
) -> Result<T, Problem> {
    let row = find(state, run).await?;
    let active = state.service.active.lock().await;
    match active.as_ref().filter(|active| active.id == row.id) {
        Some(active) => take(active).ok_or_else(|| Problem::refused(none)),
        None => Err(Problem::refused("the run is over: its history and its report tell what was done in it")),
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused { why, .. } => Self::refused(why),
            LinkError::Lost { .. } => Self::unavailable(error.to_string()),
        }
    }
}

fn read<T: DeserializeOwned>(list: &[String]) -> Result<Vec<T>, Problem> {
    list.iter().map(|json| read_one(json)).collect()
}

fn read_one<T: DeserializeOwned>(json: &str) -> Result<T, Problem> {
    let unreadable = |error| Problem::unavailable(format!("the answer cannot be read: {error}"));
    serde_json::from_str(json).map_err(unreadable)
}

/// An object as a table of TOML.
fn table_as_toml(table: &serde_json::Map<String, Value>) -> Result<String, String> {
    let mut text = String::new();
    for (key, value) in table {
        text.push_str(&format!("{} = {}\n", quoted(key), as_toml(key, value)?));
    }
    Ok(text)
}

fn as_toml(at: &str, value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Null => return Err(format!("fault: {at}: found null, expected a value: leave the key out")),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(|value| as_toml(at, value)).collect::<Result<_, _>>()?;
            format!("[{}]", list.join(", "))
        }
        Value::Object(table) => {
            let pair =
                |(key, value): (&String, &Value)| Ok(format!("{} = {}", quoted(key), as_toml(key, value)?));
            let pairs: Vec<String> = table.iter().map(pair).collect::<Result<_, String>>()?;
            format!("{{ {} }}", pairs.join(", "))
        }
    })
}

/// A basic string of TOML: those of JSON are, but for one character.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_a_table() {
        let fault =
            json!({ "recipe": "kill", "target": "a \"b\"\u{7f}", "mode": { "fixed": 2 }, "x": [1.5, true] });
        let Value::Object(table) = fault else { unreachable!("an object") };
        assert_eq!(
            table_as_toml(&table).unwrap(),
            "\"mode\" = { \"fixed\" = 2 }\n\"recipe\" = \"kill\"\n\"target\" = \"a \\\"b\\\"\\u007F\"\n\"x\" = [1.5, true]\n"
        );
        let Value::Object(table) = json!({ "at": null }) else { unreachable!("an object") };
        assert!(table_as_toml(&table).unwrap_err().starts_with("fault: at: found null"));
    }
}

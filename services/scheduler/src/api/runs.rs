//! Runs: list, create, show, steer.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use protocol::event::Entry;
use protocol::id::RunId;
use protocol::v1;
use serde::{Deserialize, Serialize};
use store::RunRow;
use utoipa::ToSchema;

use super::State;
use super::problem::Problem;
use super::view::{PhaseView, RunDetail, RunView, phases as phase_views};
use crate::control::{Action, MAX_RATE};

/// A run to be created. All objects that it names must be in the object store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRun {
    /// Its id, a UUID; absent = a new one.
    run: Option<String>,
    /// `sha256:…` of the plan, printed as TOML.
    plan_digest: String,
    /// The other files of the bundle.
    #[serde(default)]
    files: Vec<NewFile>,
    /// Where the plan's relative paths begin; needed when the plan starts processes.
    #[serde(default)]
    base_dir: String,
}

/// A file of a bundle.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFile {
    /// `guest:0`, `feed:items.csv`, `ca:shop`, ….
    name: String,
    /// `sha256:…`.
    digest: String,
}

/// A run that was created.
#[derive(Serialize, ToSchema)]
pub(crate) struct Created {
    /// Its id.
    id: String,
}

/// What is asked of a run.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Control {
    /// Send nothing until resumed.
    Pause {},
    /// Go on.
    Resume {},
    /// Ramp down, collect, verdict `aborted`.
    Stop {},
    /// End the present phase and go on with the next.
    Skip {},
    /// Change the rate for the rest of the phase.
    Rate {
        /// Requests per second.
        rate: f64,
    },
}

/// Which entries of a history.
#[derive(Deserialize)]
pub(crate) struct After {
    /// Only entries after this sequence.
    #[serde(default)]
    after: u64,
}

/// All runs, in the order in which they were created.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs",
    responses((status = 200, body = [RunView]), (status = 500, body = Problem))
)]
pub(super) async fn list(Extract(state): Extract<State>) -> Result<Json<Vec<RunView>>, Problem> {
    Ok(Json(state.service.store.runs().await?.iter().map(RunView::from).collect()))
}

/// Create and start a run whose objects are in the object store.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs", request_body = NewRun,
    responses(
        (status = 201, body = Created), (status = 400, body = Problem),
        (status = 422, description = "Everything that is wrong with it", body = Problem)
    )
)]
pub(super) async fn create(
    Extract(state): Extract<State>,
    body: Result<Json<NewRun>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(new) = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let run = match new.run {
        Some(text) => {
            text.parse().map_err(|error: protocol::id::InvalidId| Problem::bad_request(error.to_string()))?
        }
        None => RunId::new(),
    };
    let command = v1::CreateRun {
        run: run.to_bytes(),
        plan_digest: new.plan_digest,
        files: new
            .files
            .into_iter()
            .map(|file| v1::BundleFile { name: file.name, digest: file.digest })
            .collect(),
        base_dir: new.base_dir,
    };
    let id = state.service.create(command).await.map_err(Problem::rejected)?;
    let location = format!("/v1/runs/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Created { id: id.to_string() })))
}

/// One run with its verdict and where it is.
#[utoipa::path(
    get, path = "/v1/runs/{run}", tag = "runs", params(("run" = String, Path, description = "The run's id")),
    responses((status = 200, body = RunDetail), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
) -> Result<Json<RunDetail>, Problem> {
    let row = find(&state, &run).await?;
    let history = state.service.store.history(row.id, 0).await?;
    Ok(Json(RunDetail::new(&row, &history)))
}

/// The phases that have begun, with their checks.
#[utoipa::path(
    get, path = "/v1/runs/{run}/phases", tag = "runs", params(("run" = String, Path, description = "The run's id")),
    responses((status = 200, body = [PhaseView]), (status = 404, body = Problem))
)]
pub(super) async fn phases(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
) -> Result<Json<Vec<PhaseView>>, Problem> {
    let row = find(&state, &run).await?;
    let history = state.service.store.history(row.id, 0).await?;
    Ok(Json(phase_views(&history)))
}

/// The history: everything that happened, in order.
#[utoipa::path(
    get, path = "/v1/runs/{run}/history", tag = "history",
    params(("run" = String, Path, description = "The run's id"), ("after" = Option<u64>, Query, description = "Only entries after this sequence")),
    responses(
        (status = 200, description = "Entries with sequence, at_unix_ns, producer, event", body = [Object]),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn history(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
    after: Result<Query<After>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Entry>>, Problem> {
    let Query(After { after }) = after.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let row = find(&state, &run).await?;
    Ok(Json(state.service.store.history(row.id, after).await?))
}

/// Pause, resume, stop, skip the phase, or change its rate.
#[utoipa::path(
    post, path = "/v1/runs/{run}/control", tag = "runs", request_body = Control,
    params(("run" = String, Path, description = "The run's id")),
    responses(
        (status = 204, description = "Done, and in the history"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "It makes no sense now", body = Problem)
    )
)]
pub(super) async fn control(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
    body: Result<Json<Control>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let run = parse(&run)?;
    let Json(control) = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let action = match control {
        Control::Pause {} => Action::Pause,
        Control::Resume {} => Action::Resume,
        Control::Stop {} => Action::Stop,
        Control::Skip {} => Action::Skip,
        Control::Rate { rate } if (0.0..=MAX_RATE).contains(&rate) => Action::Rate(rate),
        Control::Rate { rate } => {
            let detail = format!("rate {rate} is not one: expected requests per second from 0 to {MAX_RATE}");
            return Err(Problem::bad_request(detail));
        }
    };
    match state.service.control(run, action, "api".to_owned()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(refusal) if refusal.unknown => Err(Problem::no_run(refusal.text)),
        Err(refusal) => Err(Problem::refused(refusal.text)),
    }
}

fn parse(run: &str) -> Result<RunId, Problem> {
    run.parse().map_err(|error: protocol::id::InvalidId| Problem::bad_request(error.to_string()))
}

/// The stored row of a run.
pub(super) async fn find(state: &State, run: &str) -> Result<RunRow, Problem> {
    let id = parse(run)?;
    let row = state.service.store.run(id).await?;
    row.ok_or_else(|| {
        Problem::no_run(format!("run {id} is not in this store: GET /v1/runs lists those that are"))
    })
}

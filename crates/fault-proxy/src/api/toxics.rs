//! Toxics of a proxy: list, add, show, change, remove.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::answer::{self, Answer};
use crate::{Registry, ToxicInput};

pub(super) async fn list(State(registry): State<Registry>, Path(proxy): Path<String>) -> Answer {
    Ok(answer::json(StatusCode::OK, &registry.proxy(&proxy)?.toxics()))
}

pub(super) async fn create(
    State(registry): State<Registry>,
    Path(proxy): Path<String>,
    body: Bytes,
) -> Answer {
    registry.proxy(&proxy)?;
    let input: ToxicInput = answer::read(&body)?;
    // 200 and not 201: so does Toxiproxy.
    Ok(answer::json(StatusCode::OK, &registry.add_toxic(&proxy, &input)?))
}

pub(super) async fn show(
    State(registry): State<Registry>,
    Path((proxy, toxic)): Path<(String, String)>,
) -> Answer {
    Ok(answer::json(StatusCode::OK, &registry.proxy(&proxy)?.toxic(&toxic)?))
}

pub(super) async fn update(
    State(registry): State<Registry>,
    Path((proxy, toxic)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    registry.proxy(&proxy)?.toxic(&toxic)?;
    let input: ToxicInput = answer::read(&body)?;
    Ok(answer::json(StatusCode::OK, &registry.update_toxic(&proxy, &toxic, &input)?))
}

pub(super) async fn delete(
    State(registry): State<Registry>,
    Path((proxy, toxic)): Path<(String, String)>,
) -> Answer {
    registry.proxy(&proxy)?.remove_toxic(&toxic)?;
    Ok(answer::done())
}

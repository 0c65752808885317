//! Proxies: list, create, populate, show, change, delete, reset.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer};
use crate::{ProxyInput, ProxyView, Registry};

pub(super) async fn list(State(registry): State<Registry>) -> Response {
    let proxies = registry.list();
    let by_name: BTreeMap<&str, &ProxyView> =
        proxies.iter().map(|proxy| (proxy.name.as_str(), proxy)).collect();
    answer::json(StatusCode::OK, &by_name)
}

pub(super) async fn create(State(registry): State<Registry>, body: Bytes) -> Answer {
    let input: ProxyInput = answer::read(&body)?;
    let made = registry.create(&input).await?;
    Ok(answer::json(StatusCode::CREATED, &made))
}

/// A list, as Toxiproxy takes it, or an object with it, as Toxiproxy answers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Population {
    List(Vec<ProxyInput>),
    Object { proxies: Vec<ProxyInput> },
}

#[derive(Serialize)]
struct Populated {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    proxies: Vec<ProxyView>,
}

pub(super) async fn populate(State(registry): State<Registry>, body: Bytes) -> Response {
    let inputs = match population(&body) {
        Ok(inputs) => inputs,
        Err(error) => return populated(Err((error, Vec::new()))),
    };
    populated(registry.populate(&inputs).await)
}

fn population(body: &Bytes) -> Result<Vec<ProxyInput>, crate::Error> {
    // Read twice, because "matches no variant" would not say what is wrong with the list.
    match serde_json::from_slice(body) {
        Ok(Population::List(proxies) | Population::Object { proxies }) => Ok(proxies),
        Err(_) => answer::read(body),
    }
}

fn populated(result: Result<Vec<ProxyView>, (crate::Error, Vec<ProxyView>)>) -> Response {
    let (status, body) = match result {
        Ok(proxies) => (StatusCode::CREATED, Populated { error: None, status: None, proxies }),
        Err((error, proxies)) => {
            let status = answer::status(&error);
            (status, Populated { error: Some(error.to_string()), status: Some(status.as_u16()), proxies })
        }
    };
    answer::json(status, &body)
}

pub(super) async fn show(State(registry): State<Registry>, Path(name): Path<String>) -> Answer {
    Ok(answer::json(StatusCode::OK, &registry.proxy(&name)?.view()))
}

pub(super) async fn draws(State(registry): State<Registry>, Path(name): Path<String>) -> Answer {
    Ok(answer::json(StatusCode::OK, &registry.proxy(&name)?.draws()))
}

pub(super) async fn update(
    State(registry): State<Registry>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer {
    // Who asks for what is not there is told so first, as by Toxiproxy.
    registry.proxy(&name)?;
    let input: ProxyInput = answer::read(&body)?;
    let changed = registry.update(&name, &input).await?;
    Ok(answer::json(StatusCode::OK, &changed))
}

pub(super) async fn delete(State(registry): State<Registry>, Path(name): Path<String>) -> Answer {
    registry.delete(&name).await?;
    Ok(answer::done())
}

pub(super) async fn reset(State(registry): State<Registry>) -> Answer {
    registry.reset().await?;
    Ok(answer::done())
}

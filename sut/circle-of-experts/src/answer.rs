//! From a request to its answer, piece by piece at the times of its plan.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use serving::traces::{self, Here};
use tokio::time::Instant;

use crate::app::{App, Request};
use crate::metrics::Outcome;
use crate::model::Failure;
use crate::plan::{Plan, plan};
use crate::shape::{Ask, End, Reply, Shape, Wrong};
use crate::write_log::What;

/// How long a silent expert says nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// A piece of an answer and when it is said, since the request arrived.
struct Piece {
    at: Duration,
    what: What,
    bytes: String,
}

/// A request until the end of its answer, wherever that comes: dropped before, its client has gone.
struct Job {
    app: Arc<App>,
    request: Request,
    begin: Instant,
    outcome: Outcome,
    /// Of the request, as long as its answer lasts.
    span: Option<Here>,
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(expert) = self.app.experts.get(self.request.expert as usize) {
            expert.counters.end(self.outcome);
        }
        if let Some(span) = &self.span {
            span.note("circle.outcome", self.outcome.name());
        }
    }
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    Path((expert, path)): Path<(u32, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(state) = app.experts.get(expert as usize) else {
        let error = format!("there is no expert {expert}: there are {} of them, from 0 on", app.count());
        return (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response();
    };
    let shape = Shape::of(expert);
    let arrival = headers.get("x-gauntlet-arrival").and_then(|value| value.to_str().ok()?.parse().ok());
    state.counters.begin();
    let request = app.request(expert, arrival);
    app.note(request, What::Asked);
    traces::note("circle.expert", i64::from(expert));
    traces::note("circle.expert.type", shape.expert());
    let (begin, span) = (Instant::now(), Here::now());
    let job = Job { app: Arc::clone(&app), request, begin, outcome: Outcome::Cancelled, span };
    let right_key = app.api_key.as_deref().is_none_or(|key| shape.key(&headers) == Some(key));
    if !right_key {
        return job.refuse(shape, Wrong::Key, Outcome::Unauthorized);
    }
    let asked = match serde_json::from_slice::<Value>(&body) {
        _ if method != Method::POST => Ok(None),
        Ok(body) => shape.ask(&format!("/{path}"), uri.query().unwrap_or_default(), &headers, &body),
        Err(error) => Err(format!("the body is not JSON: {error}")),
    };
    let ask = match asked {
        Ok(Some(ask)) => ask,
        Ok(None) => return job.refuse(shape, Wrong::Path, Outcome::BadRequest),
        Err(wrong) => return job.refuse(shape, Wrong::Request(&wrong), Outcome::BadRequest),
    };
    let circle = app.circle();
    let model = circle.of(expert);
    if !state.is_within(model.per_second) {
        return job.refuse(shape, Wrong::Failed(Failure::RateLimited), Outcome::RateLimited);
    }
    let plan = plan(circle.seed, model, expert, &ask.question);
    job.carry_out(shape, &ask, plan).await
}

impl Job {
    /// Answers with an error.
    fn refuse(mut self, shape: Shape, wrong: Wrong<'_>, outcome: Outcome) -> Response {
        self.outcome = outcome;
        self.app.note(self.request, What::Error);
        let (status, body) = shape.error(wrong);
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS && shape != Shape::Gemini {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }

    async fn carry_out(self, shape: Shape, ask: &Ask, plan: Plan) -> Response {
        let outcome = match plan.failure {
            None => Outcome::Answered,
            Some(Failure::Refusal) => Outcome::Refusal,
            Some(Failure::Truncated) => Outcome::Truncated,
            Some(Failure::Within) => Outcome::Within,
            Some(failure) => {
                let outcome = match failure {
                    Failure::Overloaded => Outcome::Overloaded,
                    Failure::RateLimited => Outcome::RateLimited,
                    Failure::Unauthorized => Outcome::Unauthorized,
                    Failure::Silent => Outcome::Silent,
                    _ => Outcome::Internal,
                };
                if failure == Failure::Silent {
                    tokio::time::sleep(SILENCE).await;
                }
                return self.refuse(shape, Wrong::Failed(failure), outcome);
            }
        };
        let mut tokens = plan.tokens;
        let most = ask.max_tokens.map_or(tokens.len(), |most| usize::try_from(most).unwrap_or(usize::MAX));
        let end = match plan.failure {
            Some(Failure::Refusal) => End::Refusal,
            _ if most < tokens.len() => End::Length,
            _ => End::Whole,
        };
        tokens.truncate(most);
        let id = format!("ref-{}-{}", self.request.expert, self.request.number);
        let reply = Reply {
            id: &id,
            model: &ask.model,
            input_tokens: ask.input_tokens,
            output_tokens: tokens.len() as u64,
            end,
            usage: ask.usage,
        };
        let pieces = if ask.stream {
            streamed(shape, &reply, &tokens, plan.failure)
        } else {
            at_once(shape, &reply, &tokens, plan.failure)
        };
        if !ask.stream && shape != Shape::DeepSeek {
            // Not even the head is there before the answer.
            let last = pieces.last().map_or(Duration::ZERO, |piece| piece.at);
            tokio::time::sleep_until(self.begin + last).await;
        }
        // A stream that ends too soon ends as one that is whole does, but for what is missing.
        let broken = plan.failure == Some(Failure::Truncated) && !ask.stream;
        let kind = if ask.stream { "text/event-stream" } else { "application/json" };
        let id_header = match shape {
            Shape::OpenRouter => HeaderName::from_static("x-generation-id"),
            _ => HeaderName::from_static("request-id"),
        };
        let headers =
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache"), (id_header, id.as_str())];
        (headers, self.body(pieces, outcome, broken)).into_response()
    }

    /// A body of these pieces at their times.
    fn body(self, pieces: Vec<Piece>, outcome: Outcome, broken: bool) -> Body {
        let state = (self, pieces.into_iter(), broken);
        Body::from_stream(futures::stream::unfold(state, move |(mut job, mut pieces, broken)| async move {
            let Some(piece) = pieces.next() else {
                job.outcome = outcome;
                // Together with the error, what was said would not be sent: the connection writes while there is nothing new.
                tokio::task::yield_now().await;
                return broken.then(|| (Err(io::Error::other("cut off, as planned")), (job, pieces, false)));
            };
            tokio::time::sleep_until(job.begin + piece.at).await;
            if piece.what == What::Token
                && let Some(expert) = job.app.experts.get(job.request.expert as usize)
            {
                expert.counters.tokens.fetch_add(1, Ordering::Relaxed);
            }
            if pieces.as_slice().is_empty() {
                // Its client may read no further than the last piece.
                job.outcome = outcome;
            }
            job.app.note(job.request, piece.what);
            Some((Ok(Bytes::from(piece.bytes)), (job, pieces, broken)))
        }))
    }
}

/// The pieces of a stream of events.
fn streamed(
    shape: Shape,
    reply: &Reply<'_>,
    tokens: &[(Duration, &str)],
    failure: Option<Failure>,
) -> Vec<Piece> {
    let half_way = matches!(failure, Some(Failure::Truncated | Failure::Within));
    let said = if half_way { &tokens[..tokens.len() / 2] } else { tokens };
    let mut pieces = Vec::new();
    let opening = shape.opening(reply).concat();
    if !opening.is_empty() {
        pieces.push(Piece { at: Duration::ZERO, what: What::Open, bytes: opening });
    }
    for (n, (at, token)) in said.iter().enumerate() {
        let last = n + 1 == tokens.len();
        pieces.push(Piece { at: *at, what: What::Token, bytes: shape.token(reply, token, last) });
    }
    let at = said.last().map_or(Duration::ZERO, |(at, _)| *at);
    match failure {
        Some(Failure::Truncated) => pieces.push(Piece { at, what: What::Cut, bytes: String::new() }),
        Some(Failure::Within) => {
            pieces.push(Piece { at, what: What::Error, bytes: shape.error_event(reply) });
        }
        _ => {
            let closing = shape.closing(reply).concat();
            if !closing.is_empty() {
                pieces.push(Piece { at, what: What::Close, bytes: closing });
            }
        }
    }
    pieces
}

/// The pieces of an answer that comes at once, when its last token is there.
fn at_once(
    shape: Shape,
    reply: &Reply<'_>,
    tokens: &[(Duration, &str)],
    failure: Option<Failure>,
) -> Vec<Piece> {
    let at = tokens.last().map_or(Duration::ZERO, |(at, _)| *at);
    let text: String = tokens.iter().map(|(_, token)| *token).collect();
    let mut pieces = Vec::new();
    if shape == Shape::DeepSeek {
        // It keeps a connection alive by blank lines before the answer.
        pieces.push(Piece { at: Duration::ZERO, what: What::Open, bytes: "\n".to_owned() });
    }
    let (what, body) = match failure {
        Some(Failure::Within) => (What::Error, shape.error(Wrong::Failed(Failure::Within)).1),
        Some(Failure::Truncated) => (What::Cut, shape.whole(reply, &text)),
        _ => (What::Whole, shape.whole(reply, &text)),
    };
    let mut bytes = body.to_string();
    if what == What::Cut {
        // All of it is ASCII: any place is one between characters.
        bytes.truncate(bytes.len() / 2);
    }
    pieces.push(Piece { at, what, bytes });
    pieces
}

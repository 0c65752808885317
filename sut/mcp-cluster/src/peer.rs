//! What servers ask each other: one question, one answer, over plain HTTP with a token.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serving::admin::{carries, refuse};
use serving::traces::{Child, KeyValue, Routes};

use crate::app::App;
use crate::cluster::{Cluster, View};
use crate::members::Member;
use crate::metrics;
use crate::records::{Kept, Listed, Record, Version, checksum};

/// Says how the asker places keys; who places them otherwise does not answer.
const PLACEMENT: &str = "x-cluster-placement";
/// Bytes of keys and contents that are sent in one message, but for the last; JSON makes six of one at worst.
pub(crate) const MESSAGE: usize = 1 << 20;
/// Bytes of a message at most.
const MAX_MESSAGE: usize = 16 << 20;

/// A question to one server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// What do you have under this key?
    Read { key: String },
    /// A client writes: do you keep it?
    Write { key: String, record: Record },
    /// Copies that you should have.
    Keep { records: Vec<(Arc<str>, Record)> },
    /// Do you have these?
    Compare { known: Vec<Known> },
    /// Which keys begin so?
    List { prefix: String, after: Option<String>, limit: usize },
    /// What do you have that is at home on this server?
    Records { home: String, after: Option<String> },
}

impl Ask {
    /// What is asked for, as spans have it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Keep { .. } => "keep",
            Self::Compare { .. } => "compare",
            Self::List { .. } => "list",
            Self::Records { .. } => "records",
        }
    }
}

/// A version that somebody knows, and how the content was, where that is to be looked at, too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) key: Arc<str>,
    pub(crate) version: Version,
    pub(crate) checksum: Option<String>,
}

/// How what a server has compares with what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compared {
    There,
    Newer,
    /// An older state or nothing.
    Lacking,
    /// The version with another content.
    Altered,
}

/// What a server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Record(Option<Record>),
    Kept(Vec<Kept>),
    Compared(Vec<Compared>),
    Listed(Vec<Listed>),
    Records {
        records: Vec<(Arc<str>, Record)>,
        /// Where to go on; absent = these are all.
        next: Option<String>,
        /// It has not got back yet what it should have.
        recovering: bool,
    },
    /// It has not got back yet what it should have: it must not be counted on.
    Recovering,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silent {
    #[error("{0} does not answer: {1}")]
    Unreachable(String, String),
    #[error("{0} is still recovering its copies")]
    Recovering(String),
}

/// Records that are looked through for one answer.
const PAGE: usize = 200;

/// What this server says to a question.
pub(crate) fn answer(cluster: &Cluster, view: &View, ask: Ask) -> Answer {
    let counted_on = view.recovered.load(Ordering::Acquire);
    match ask {
        Ask::Read { .. } | Ask::Write { .. } | Ask::List { .. } if !counted_on => Answer::Recovering,
        Ask::Read { key } => Answer::Record(cluster.records.get(&key)),
        Ask::Write { key, record } => Answer::Kept(vec![cluster.records.put(&key, record)]),
        Ask::Keep { records } => {
            Answer::Kept(records.into_iter().map(|(key, record)| cluster.records.put(&key, record)).collect())
        }
        Ask::Compare { known } => {
            Answer::Compared(known.iter().map(|known| compare(cluster, known)).collect())
        }
        Ask::List { prefix, after, limit } => {
            Answer::Listed(cluster.records.listed(&prefix, after.as_deref(), limit))
        }
        Ask::Records { home, after } => records(cluster, view, &home, after, !counted_on),
    }
}

fn compare(cluster: &Cluster, known: &Known) -> Compared {
    let Some(present) = cluster.records.get(&known.key) else { return Compared::Lacking };
    match present.version.cmp(&known.version) {
        std::cmp::Ordering::Less => Compared::Lacking,
        std::cmp::Ordering::Greater => Compared::Newer,
        std::cmp::Ordering::Equal => match (&known.checksum, &present.content) {
            (Some(right), Some(content)) if *right != checksum(content) => Compared::Altered,
            _ => Compared::There,
        },
    }
}

fn records(cluster: &Cluster, view: &View, home: &str, after: Option<String>, recovering: bool) -> Answer {
    let (mut after, mut bytes, mut records) = (after, 0, Vec::new());
    loop {
        let page = cluster.records.page(after.as_deref(), PAGE);
        let Some((last, _)) = page.last() else {
            return Answer::Records { records, next: None, recovering };
        };
        let last = last.to_string();
        for (key, record) in page {
            if !view.members.homes(&key).iter().any(|member| member.name == home) {
                continue;
            }
            bytes += key.len() + record.content.as_ref().map_or(0, |content| content.len());
            let next = key.to_string();
            records.push((key, record));
            if bytes >= MESSAGE {
                return Answer::Records { records, next: Some(next), recovering };
            }
        }
        after = Some(last);
    }
}

/// What other servers are reached with.
pub(crate) struct Client {
    http: reqwest::Client,
    token: String,
    timeout: Duration,
}

impl Client {
    pub(crate) fn new(token: String, timeout: Duration) -> Result<Self, reqwest::Error> {
        Ok(Self { http: reqwest::Client::builder().no_proxy().build()?, token, timeout })
    }

    /// Asks one server; whether it answered within the timeout is all that is told of a failure.
    pub(crate) async fn ask(&self, view: &View, member: &Member, ask: &Ask) -> Result<Answer, Silent> {
        let span = span("ask peer", "POST", member);
        span.note("mcp_cluster.ask", ask.name());
        let asked = async {
            let mut headers = HeaderMap::new();
            span.tell(&mut headers);
            let request = self.http.post(format!("http://{}/peer", member.peer)).bearer_auth(&self.token);
            let request =
                request.headers(headers).header(PLACEMENT, view.placement).timeout(self.timeout).json(ask);
            let response = request.send().await?.error_for_status()?;
            response.json::<Answer>().await
        };
        let answer = asked.await;
        ended(span, member, answer)
    }

    /// Gets another server's metrics.
    pub(crate) async fn metrics(&self, member: &Member) -> Result<String, Silent> {
        let span = span("scrape peer", "GET", member);
        let asked = async {
            let mut headers = HeaderMap::new();
            span.tell(&mut headers);
            let request = self.http.get(format!("http://{}/metrics", member.peer)).bearer_auth(&self.token);
            request.headers(headers).timeout(self.timeout).send().await?.error_for_status()?.text().await
        };
        let answer = asked.await;
        ended(span, member, answer)
    }
}

/// The span of a question to a server, where it is asked for a client's sake: what a server does by itself is in no trace.
fn span(name: &'static str, method: &'static str, member: &Member) -> Child {
    Child::begin(name, || {
        let (host, port) = member.peer.rsplit_once(':').unwrap_or((&member.peer, ""));
        vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("mcp_cluster.peer", member.name.clone()),
            KeyValue::new("server.address", host.to_owned()),
            KeyValue::new("server.port", port.parse::<i64>().unwrap_or_default()),
        ]
    })
}

/// Ends the span of a question; the answer, or that there is none.
fn ended<T>(span: Child, member: &Member, answer: Result<T, reqwest::Error>) -> Result<T, Silent> {
    let answer = answer.map_err(|error| Silent::Unreachable(member.name.clone(), cause(&error)));
    span.ended(answer.as_ref().err().map(|silent| ("unreachable", silent)));
    answer
}

/// The innermost cause: what the system said.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What other servers reach.
pub(crate) fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/peer", post(asked))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .layer(from_fn_with_state(Arc::clone(&app), guard));
    // Servers ask each other all the time: only what is asked for a client's sake has spans.
    let traced = Routes { scheme: "http", begin: &[], join: &["/peer", "/metrics"] };
    app.traces.over(router, traced).with_state(app)
}

/// Nothing of a request is read before its token was.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !carries(request.headers(), app.cluster.token()) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "expected `Authorization: Bearer TOKEN` with the peers' token",
        );
    }
    next.run(request).await
}

async fn asked(State(app): State<Arc<App>>, headers: HeaderMap, Json(ask): Json<Ask>) -> Response {
    let view = app.cluster.view();
    let theirs = headers.get(PLACEMENT).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if theirs != Some(view.placement) {
        return refuse(StatusCode::CONFLICT, "other members: give all servers the same");
    }
    Json(answer(&app.cluster, &view, ask)).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> String {
    metrics::render(&app).await
}

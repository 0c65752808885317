//! What thousands of sessions cost the process that holds them, each with an event stream that stays open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use gauntlet_tests::gauntlet::start_run;
use gauntlet_tests::{Alone, wait};
use serde_json::{Value, json};

use super::{answered, broken, plan};
use crate::plans::{assert_closes, phase};

const USERS: u64 = 5_000;
/// Peak resident memory of the whole process: the load-worker, and in an embedded run all other services, too.
const MOST_BYTES: u64 = 120_000_000;

/// A server of 2025-11-25 that gives out sessions and holds their streams, and nothing else.
struct Stub {
    runtime: tokio::runtime::Runtime,
    url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    sessions: AtomicU64,
    /// Streams that are open now.
    open: AtomicU64,
    /// The most that were open at a time.
    most: AtomicU64,
}

/// A stream that is open, until its body is dropped: because it or its connection is closed.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most.fetch_max(open, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stub {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let shared = Arc::new(Shared::default());
        let route = get(stream).post(message).delete(StatusCode::OK);
        let router = Router::new().route("/mcp", route).with_state(Arc::clone(&shared));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Ends with the runtime.
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { runtime, url, shared }
    }
}

async fn message(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    if message["method"] != "initialize" {
        return StatusCode::ACCEPTED.into_response();
    }
    let session = shared.sessions.fetch_add(1, Ordering::SeqCst);
    let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "stub", "version": "1" } });
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json".to_owned()),
        ("mcp-session-id", format!("s-{session:032}")),
    ];
    (headers, body).into_response()
}

async fn stream(State(shared): State<Arc<Shared>>) -> Response {
    let open = Open::new(shared);
    let silent = futures::stream::once(async move {
        let _open = open;
        std::future::pending::<Result<Bytes, std::convert::Infallible>>().await
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(silent)).into_response()
}

/// Peak resident memory of a process so far, bytes.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[test]
fn five_thousand_sessions_with_open_streams_stay_small() {
    let dir = Alone::new();
    let stub = Stub::start();
    let config = "revision = \"2025-11-25\"\nlist-tools = false\ncalls = [{ listen = \"15s\" }]";
    let load = format!("users = {USERS}\nconnections = {USERS}\nduration = \"25s\"");
    let mut running = start_run(dir.path(), &plan(&stub.url, config, &load), &[]);
    let most_open = || stub.shared.most.load(Ordering::SeqCst);
    wait::until(
        "all streams to be open at a time",
        Duration::from_secs(60),
        || (most_open() >= USERS).then_some(()),
        || format!("{} streams at a time so far", most_open()),
    );
    let process = running.child().id();
    let mut most = 0;
    wait::until(
        "the run to end",
        Duration::from_secs(120),
        || {
            // A process that has ended has none, so what counts is what was read last.
            most = peak(process).unwrap_or(most);
            running.has_ended().then_some(())
        },
        || "it goes on".to_owned(),
    );
    let summary = running.wait(Duration::from_secs(1)).expect(0).summary();
    assert_closes(phase(&summary));
    assert_eq!(broken(&summary), Vec::<String>::new());
    assert!(answered(&summary)["listen"] >= USERS, "{:?}", answered(&summary));
    println!("{USERS} sessions, {} streams at a time: peak {:.1} MB", most_open(), most as f64 / 1e6);
    assert!(most < MOST_BYTES, "the process took {most} bytes");
    drop(stub.runtime);
}

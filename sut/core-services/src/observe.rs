//! Counts and logs each request, also one whose client goes away before the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::middleware::Next;
use axum::response::Response;

use crate::access_log::Line;
use crate::app::App;
use crate::clock;
use crate::metrics::Route;

/// The status of a request whose client closed the connection before the answer, as nginx logs it.
const CLIENT_CLOSED: u16 = 499;

pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = Route::of(request.uri().path());
    if route == Route::Control {
        return next.run(request).await;
    }
    if is_probe(request.headers()) {
        app.counters.probes.fetch_add(1, Ordering::Relaxed);
        let response = next.run(request).await;
        app.stall().await;
        return response;
    }
    let mut seen = Seen::new(Arc::clone(&app), route, &request);
    let response = next.run(request).await;
    app.stall().await;
    seen.status = response.status().as_u16();
    response
}

fn is_probe(headers: &HeaderMap) -> bool {
    headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"gauntlet-probe/"))
}

/// A request in progress; ends, with what is known by then, when it is dropped.
struct Seen {
    app: Arc<App>,
    route: Route,
    status: u16,
    line: Option<Line>,
}

impl Seen {
    fn new(app: Arc<App>, route: Route, request: &Request) -> Self {
        app.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let line = app.access_log.is_some().then(|| Line {
            arrival_mono_ns: clock::monotonic_ns(),
            answer_mono_ns: 0,
            arrival_unix_ns: clock::unix_ns(),
            answer_unix_ns: 0,
            method: request.method().as_str().to_owned(),
            path: request.uri().to_string(),
            status: 0,
            arrival: arrival(request.headers()),
        });
        Self { app, route, status: CLIENT_CLOSED, line }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.app.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.app.counters.answered(self.route, self.status);
        if let (Some(log), Some(line)) = (&self.app.access_log, &mut self.line) {
            line.answer_mono_ns = clock::monotonic_ns();
            line.answer_unix_ns = clock::unix_ns();
            line.status = self.status;
            log.write(line);
        }
    }
}

fn arrival(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-gauntlet-arrival")?.to_str().ok()?.parse().ok()
}

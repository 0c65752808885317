//! Counters and the Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::app::App;
use crate::clock;
use crate::store::Store;

/// What a request is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Item,
    Items,
    Search,
    Other,
    /// Metrics and admin: neither counted nor logged, for they are not the service.
    Control,
}

/// Routes that are counted, in the order of [`Route`].
const ROUTES: [&str; 5] = ["/health", "/items/{id}", "/items", "/search", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/health" => Self::Health,
            "/items" => Self::Items,
            "/search" => Self::Search,
            "/metrics" => Self::Control,
            _ if path.starts_with("/admin/") => Self::Control,
            _ if path.strip_prefix("/items/").is_some_and(|id| !id.is_empty() && !id.contains('/')) => {
                Self::Item
            }
            _ => Self::Other,
        }
    }
}

/// What the service counts about its requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: [[AtomicU64; CLASSES.len()]; ROUTES.len()],
    pub(crate) probes: AtomicU64,
    pub(crate) in_flight: AtomicI64,
}

impl Counters {
    pub(crate) fn answered(&self, route: Route, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1).min(CLASSES.len() - 1);
        if let Some(row) = self.requests.get(route as usize) {
            row[class].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The text of `GET /metrics`.
pub(crate) fn render(app: &App) -> String {
    let mut text = String::with_capacity(2_048);
    let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    metric(
        "process_cpu_seconds_total",
        "counter",
        "CPU time of the process.",
        clock::process_cpu_ns() as f64 / 1e9,
    );
    metric("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes() as f64);
    metric(
        "process_start_time_seconds",
        "gauge",
        "Start of the process since 1970.",
        app.started_unix_ns as f64 / 1e9,
    );
    let in_flight = app.counters.in_flight.load(Ordering::Relaxed);
    metric("http_requests_in_flight", "gauge", "Requests without their answer yet.", in_flight as f64);
    metric("http_probe_requests_total", "counter", "Requests of probes.", load(&app.counters.probes));
    if let Store::Memory(items) = &app.store {
        let (hits, misses) = items.cache_counts();
        metric("cache_hits_total", "counter", "Items served from the cache.", hits as f64);
        metric("cache_misses_total", "counter", "Items read from the store.", misses as f64);
        metric("cache_entries", "gauge", "Items in the cache.", items.cached() as f64);
    }
    let breaker = app.breaker.counts();
    metric("circuit_breaker_opened_total", "counter", "Times it opened.", breaker.opened as f64);
    metric("circuit_breaker_closed_total", "counter", "Times it closed again.", breaker.closed as f64);
    metric("circuit_breaker_refused_total", "counter", "Calls refused.", breaker.rejected as f64);
    metric(
        "circuit_breaker_state",
        "gauge",
        "0 closed, 1 open, 2 half open.",
        f64::from(app.breaker.state()),
    );
    let lost = app.access_log.as_ref().map_or(0, crate::access_log::AccessLog::lost);
    metric("access_log_lost_lines_total", "counter", "Lines that could not be written.", lost as f64);
    let name = "http_requests_total";
    let _ = writeln!(text, "# HELP {name} Requests answered, probes excluded.\n# TYPE {name} counter");
    for (route, row) in ROUTES.iter().zip(&app.counters.requests) {
        for (class, counter) in CLASSES.iter().zip(row) {
            let value = counter.load(Ordering::Relaxed);
            // 2xx always stands there, so that a series exists before its first request.
            if value > 0 || *class == "2xx" {
                let _ = writeln!(text, "{name}{{route=\"{route}\",status=\"{class}\"}} {value}");
            }
        }
    }
    if let Store::Database(database) = &app.store {
        database.render(&mut text);
    }
    app.traces.render(&mut text);
    text
}

/// Resident memory of this process; 0 if the kernel does not tell.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_routes() {
        for (path, route) in [
            ("/health", Route::Health),
            ("/items", Route::Items),
            ("/items/7", Route::Item),
            ("/items/", Route::Other),
            ("/items/7/x", Route::Other),
            ("/search", Route::Search),
            ("/metrics", Route::Control),
            ("/admin/knobs", Route::Control),
            ("/", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}

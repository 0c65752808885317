//! Counters and the Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::app::App;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What a server counts about its requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    answered: [AtomicU64; CLASSES.len()],
    pub(crate) probes: AtomicU64,
    pub(crate) in_flight: AtomicI64,
    /// Tool calls in progress.
    pub(crate) calls: AtomicI64,
    pub(crate) unauthorised: AtomicU64,
    /// Sessions that were refused, for there were too many.
    pub(crate) refused_sessions: AtomicU64,
}

impl Counters {
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1).min(CLASSES.len() - 1);
        self.answered[class].fetch_add(1, Ordering::Relaxed);
    }
}

/// The text of `GET /metrics`.
pub(crate) async fn render(app: &App) -> String {
    let sessions = app.sessions.sessions.read().await.len();
    let mut text = String::with_capacity(4_096);
    let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    metric("process_cpu_seconds_total", "counter", "CPU time of the process.", cpu);
    metric("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes() as f64);
    let counters = &app.counters;
    let in_flight = counters.in_flight.load(Ordering::Relaxed) as f64;
    metric("http_requests_in_flight", "gauge", "Requests without their answer's head yet.", in_flight);
    metric("http_probe_requests_total", "counter", "Requests of probes.", load(&counters.probes));
    let calls = counters.calls.load(Ordering::Relaxed) as f64;
    metric("mcp_tool_calls_in_progress", "gauge", "Tool calls without a result yet.", calls);
    metric("mcp_unauthorised_total", "counter", "Requests without the token.", load(&counters.unauthorised));
    metric("mcp_sessions", "gauge", "Sessions that are open.", sessions as f64);
    metric(
        "mcp_sessions_refused_total",
        "counter",
        "Sessions above the limit.",
        load(&counters.refused_sessions),
    );
    let cluster = &app.cluster;
    let (objects, bytes) = cluster.records.usage();
    metric("cluster_objects", "gauge", "Objects here, deleted ones too.", objects as f64);
    metric("cluster_object_bytes", "gauge", "Bytes of their keys and contents.", bytes as f64);
    let view = cluster.view();
    metric("cluster_members", "gauge", "Servers of the cluster.", view.members.servers.len() as f64);
    metric("cluster_doubted", "gauge", "Servers that did not answer last.", cluster.doubted().len() as f64);
    let recovered = f64::from(u8::from(view.recovered.load(Ordering::Acquire)));
    metric("cluster_recovered", "gauge", "1 = this server has all copies that it should have.", recovered);
    let counted = &cluster.counters;
    metric(
        "cluster_unanswered_total",
        "counter",
        "Questions to servers without an answer.",
        load(&counted.unanswered),
    );
    metric("cluster_stand_ins_total", "counter", "Copies in place of a home's.", load(&counted.stand_ins));
    metric("cluster_repaired_total", "counter", "Copies that were made again.", load(&counted.repaired));
    metric(
        "cluster_writes_refused_total",
        "counter",
        "Writes that were not possible.",
        load(&counted.refused_writes),
    );
    metric(
        "cluster_reads_refused_total",
        "counter",
        "Reads that could not be sure.",
        load(&counted.refused_reads),
    );
    let name = "http_requests_total";
    let _ = writeln!(text, "# HELP {name} Requests answered, probes excluded.\n# TYPE {name} counter");
    for (class, counter) in CLASSES.iter().zip(&counters.answered) {
        let _ = writeln!(text, "{name}{{status=\"{class}\"}} {}", counter.load(Ordering::Relaxed));
    }
    let name = "mcp_tool_calls_total";
    let _ = writeln!(text, "# HELP {name} Tool calls by how they ended.\n# TYPE {name} counter");
    for ((tool, outcome), count) in app.by_tool() {
        let _ = writeln!(text, "{name}{{tool=\"{tool}\",outcome=\"{outcome}\"}} {count}");
    }
    app.traces.render(&mut text);
    text
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

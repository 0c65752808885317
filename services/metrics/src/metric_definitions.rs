//! The metrics that Prometheus can scrape: names, units and labels, all of them in this file.
//!
//! They tell of the newest run. Labels are names of the plan and its guests (scenario, step, target), classes of failure
//! and of status, instances of targets: their number is bounded by the plan, never by what targets answer.

use prometheus_client::metrics::MetricType;

/// A metric's name (counters get `_total` appended), kind and meaning.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) kind: MetricType,
    pub(crate) help: &'static str,
}

macro_rules! definitions {
    ($($constant:ident = $kind:ident $name:literal, $help:literal;)+) => {
        $(pub(crate) const $constant: Definition =
            Definition { name: $name, kind: MetricType::$kind, help: $help };)+
        /// All of them.
        #[cfg(test)]
        pub(crate) const ALL: &[&Definition] = &[$(&$constant),+];
    };
}

definitions! {
    RUN = Gauge "gauntlet_run_info", "The newest run: 1, labelled with its id and the plan's name";
    PHASE = Gauge "stress_phase_progression", "The present phase: 0 idle, 1 baseline, 2 light, 3 medium, 4 heavy, 5 extreme, 6 chaos";
    REQUESTS = Counter "gauntlet_requests", "Requests on the wire";
    OPERATIONS = Counter "gauntlet_operations", "Ended operations by outcome: answered, failed, cancelled";
    GOOD = Counter "gauntlet_good_operations", "Answered operations that broke no check";
    FAILURES = Counter "gauntlet_failures", "Operations without an answer, by class";
    RESPONSES = Counter "gauntlet_responses", "Answers by class of HTTP status";
    CHECKS = Counter "gauntlet_checks", "Checks by result: passed, failed";
    DROPPED = Counter "gauntlet_dropped_arrivals", "Arrivals dropped before they began";
    SENT = Counter "gauntlet_sent_bytes", "Bytes written";
    RECEIVED = Counter "gauntlet_received_bytes", "Bytes read";
    LATENCY = Histogram "gauntlet_latency_seconds", "From the intended send time to the last byte, answered operations";
    SERVICE = Histogram "gauntlet_service_time_seconds", "From the actual send to the last byte, answered operations";
    QUEUE = Histogram "gauntlet_queue_time_seconds", "From the intended send time to when a user and a connection were free";
    SEND_LAG = Histogram "gauntlet_send_lag_seconds", "From when an operation could have been sent to its first write";
    WANTED = Gauge "gauntlet_wanted_arrivals_per_second", "Arrivals a second that the schedule wanted, newest second";
    ACHIEVED = Gauge "gauntlet_achieved_arrivals_per_second", "Operations begun a second, newest second";
    IN_FLIGHT = Gauge "gauntlet_in_flight_operations", "Operations in progress at the end of the newest second";
    WAITING = Gauge "gauntlet_waiting_arrivals", "Arrivals that wait for a user or connection at the end of the newest second";
    BUSY = Gauge "gauntlet_load_thread_busy_ratio", "Busiest load thread, newest second";
    CONNECTIONS = Gauge "gauntlet_open_connections", "Connections open at the end of the newest second";
    GUEST_FAULTS = Counter "gauntlet_guest_faults", "Limits that guests broke and traps, by kind";
    BATCHES = Counter "gauntlet_sample_batches", "Parts of sample batches applied";
    TARGET_CPU = Gauge "gauntlet_target_cpu_ratio", "Share of the machine's cores that a target uses";
    TARGET_MEMORY = Gauge "gauntlet_target_memory_ratio", "Share of the machine's memory that a target uses";
    TARGET_HEALTHY = Gauge "gauntlet_target_healthy", "1 when the target's last health check was good";
}

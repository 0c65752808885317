//! `/counters`: what has happened, as JSON. A path of our own: fields that Toxiproxy does not have could upset a strict client.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::answer;
use crate::Registry;
use crate::flow::Traffic;
use crate::proxy::Proxy;

#[derive(Serialize)]
struct All {
    /// Bytes that connections hold.
    held_bytes: usize,
    proxies: BTreeMap<String, OfProxy>,
}

/// Of a proxy since it was made.
#[derive(Serialize)]
pub(super) struct OfProxy {
    pub(super) connections: u64,
    pub(super) open: u64,
    pub(super) unreachable: u64,
    pub(super) reset: u64,
    pub(super) not_accepted: u64,
    pub(super) upstream: OfStream,
    pub(super) downstream: OfStream,
    pub(super) toxics: BTreeMap<String, OfToxic>,
}

#[derive(Serialize)]
pub(super) struct OfStream {
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct OfToxic {
    pub(super) links: u64,
    pub(super) effects: u64,
}

impl OfProxy {
    pub(super) fn new(proxy: &Proxy) -> Self {
        let counters = proxy.counters();
        let chain = proxy.chain();
        let toxics = chain.iter().map(|toxic| {
            let counters = &toxic.counters;
            (toxic.name.clone(), OfToxic { links: now(&counters.links), effects: now(&counters.effects) })
        });
        // The ended ones are read first: one that ends in between must not make the difference negative.
        let ended = now(&counters.ended);
        let connections = now(&counters.accepted);
        Self {
            connections,
            open: connections.saturating_sub(ended),
            unreachable: now(&counters.unreachable),
            reset: now(&counters.reset),
            not_accepted: now(&counters.not_accepted),
            upstream: OfStream::new(&counters.upstream),
            downstream: OfStream::new(&counters.downstream),
            toxics: toxics.collect(),
        }
    }
}

impl OfStream {
    fn new(traffic: &Traffic) -> Self {
        Self { received_bytes: now(&traffic.received), sent_bytes: now(&traffic.sent) }
    }
}

fn now(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) async fn show(State(registry): State<Registry>) -> Response {
    let proxies = registry.all().iter().map(|proxy| (proxy.name().to_owned(), OfProxy::new(proxy))).collect();
    answer::json(StatusCode::OK, &All { held_bytes: registry.held(), proxies })
}

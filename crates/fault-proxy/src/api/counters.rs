//! `/counters`: what has happened, as JSON. A path of our own: fields that Toxiproxy does not have could upset a strict client.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::answer;
use crate::Registry;
use crate::flow::Traffic;
use crate::proxy::Proxy;
use crate::wire::{Counters, ProxyCounters, StreamCounters, ToxicEffects};

/// What has happened at a proxy.
pub(super) fn of(proxy: &Proxy) -> ProxyCounters {
    let counters = proxy.counters();
    let chain = proxy.chain();
    let toxics = chain.iter().map(|toxic| {
        let done = &toxic.counters;
        (toxic.name.clone(), ToxicEffects { links: now(&done.links), effects: now(&done.effects) })
    });
    // The ended ones are read first: one that ends in between must not make the difference negative.
    let ended = now(&counters.ended);
    let connections = now(&counters.accepted);
    ProxyCounters {
        connections,
        open: connections.saturating_sub(ended),
        unreachable: now(&counters.unreachable),
        reset: now(&counters.reset),
        not_accepted: now(&counters.not_accepted),
        upstream: of_stream(&counters.upstream),
        downstream: of_stream(&counters.downstream),
        toxics: toxics.collect(),
    }
}

fn of_stream(traffic: &Traffic) -> StreamCounters {
    StreamCounters { received_bytes: now(&traffic.received), sent_bytes: now(&traffic.sent) }
}

fn now(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) async fn show(State(registry): State<Registry>) -> Response {
    let proxies = registry.all().iter().map(|proxy| (proxy.name().to_owned(), of(proxy))).collect();
    answer::json(StatusCode::OK, &Counters { held_bytes: registry.held() as u64, proxies })
}

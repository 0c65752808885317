//! A TCP proxy with seeded faults ("toxics"), driven through the Toxiproxy HTTP API.
//!
//! A client is pointed at a proxy instead of at its server. Each connection is carried in two directions, and each direction
//! passes the proxy's toxics in their order. The program `gauntlet-fault-proxy` is a process of its own: it goes on when
//! whoever drives it dies, and what nobody renews ends by itself.
//!
//! # Toxics
//!
//! | type | attributes (unit, default) | what it does |
//! |---|---|---|
//! | `latency` | `latency` (ms, 0), `jitter` (ms, 0) | holds each chunk for a time drawn evenly from `latency - jitter` up to `latency + jitter`, counted from when it was received; order is kept; up to 1 024 chunks are under way |
//! | `bandwidth` | `rate` (1 000 bytes a second, 0) | holds each chunk as long as its bytes take; longer than 100 ms, it leaves in parts of 100 ms; rate 0 lets nothing pass |
//! | `slow_close` | `delay` (ms, 0) | holds the end of the stream |
//! | `timeout` | `timeout` (ms, 0) | drops everything; closes the connection when nothing came for so long, 0 = never; closes it when the toxic is removed |
//! | `reset_peer` | `timeout` (ms, 0), `established` (false) | so long after the first data, or the end: a reset where the connection was opened with the toxic, else a close; with `established` a reset in any case |
//! | `slicer` | `average_size` (bytes, needed), `size_variation` (bytes, 0), `delay` (µs, 0) | cuts chunks into slices, each a write of its own, and waits after each |
//! | `limit_data` | `bytes` (0) | closes the connection when so many bytes have passed |
//! | `packet_loss` | `loss_rate` (share, 0.1), `correlation` (share, 0) | drops chunks: each with `loss_rate`, and `correlation` more after one that was dropped; this damages the stream |
//! | `http_abort` | `share` (1) | closes the connection in place of a message |
//! | `http_delay` | `share` (1), `delay` (ms, 0) | holds a message, counted from when its head came |
//! | `http_status` | `share` (1), `status` (503) | gives an answer another status; downstream only |
//! | `http_header` | `share` (1), `name` (needed), `value` (empty) | sets a field of a message's head; with an empty value, takes it away |
//! | `http_body` | `share` (1) | changes every byte of a message's body, and keeps its length |
//!
//! The `http_*` types are ours. They find the messages of HTTP/1.1 as they pass, requests `upstream` and answers `downstream`, and
//! hit a share of them, by a seeded draw for each: so a few requests of a connection that is kept alive can fail. What is no
//! HTTP/1.1 passes as it is.
//!
//! For the others, a chunk is what is received at once, at most 32 KiB. Semantics are those of Toxiproxy's sources as of May 2026, those of
//! `packet_loss` of the change that added it in June 2026. A toxic has a `name` (default: type and stream), a `stream`
//! (`downstream`, `upstream`, `both`), a `toxicity` (the share of connections that it hits, default 1) and a `ttl`.
//!
//! # Where it is not Toxiproxy, and why
//!
//! * **One draw a connection.** Whether a toxic hits a connection is a function of (seed, proxy, number of the connection,
//!   toxic), which [`toxicity_draw`] computes for anyone, and so is every jitter and loss, chunk by chunk. Toxiproxy draws anew whenever the list changes, and its seed has no effect.
//! * **Nobody waits for a connection.** A change of the toxics is published; each connection takes it over before the next
//!   byte. Toxiproxy holds a lock while what a removed toxic held is sent, and one stuck client stops its whole API.
//! * **`stream: "both"`**, and **toxics in `/populate`** and in the file: all that the proxy shall have.
//! * **Leases.** `ttl` (ms) on a toxic or a proxy: it ends by itself unless it is changed, in any way, within that time;
//!   0 takes the lease away. Shown as `ttl` and `ends_in`, where there is one. A renewal disturbs no connection. A proxy
//!   that is disabled with `disabled_ttl` (ms) is enabled by itself, likewise; shown as `enabled_in`. With `--lease` the whole
//!   process ends when nobody has called its API for so long.
//! * **Another upstream keeps the port.** The listener stays open, connections that led to the old one are closed, and who
//!   connects meanwhile comes to the new one. Toxiproxy closes the listener for a moment. A toxic with `upstream` acts on
//!   connections that lead there only: one that broke the way to a server does not break the way to its replacement.
//! * **Half-closed connections go on**: the end of one direction is passed on as such. Toxiproxy closes both.
//! * **Mistakes are named**: an attribute that the type does not have, a negative number, a toxicity over 1, slices of no
//!   size are refused with status 400 (`bad request body: …`). Toxiproxy takes them, and some make it crash.
//! * **A toxic that does not hit does nothing.** In Toxiproxy, `reset_peer` with toxicity 0 still resets.
//! * **A removed toxic loses nothing**: `reset_peer` and `slicer` pass on what they held. Only where `timeout` dropped data is the
//!   connection closed.
//! * **Loopback without a token**: the API and the proxies listen elsewhere only with `--token-file`, which callers then send as
//!   `Authorization: Bearer …`. Without one, only requests to loopback names are answered. An empty `listen` is
//!   `127.0.0.1:0`.
//! * **Held bytes are bounded**: all connections together by `--buffer-bytes`; beyond, senders wait.
//! * **`GET /counters`**, **`GET /proxies/{proxy}/draws`** (which toxics hit which of the last connections) and, always,
//!   **`GET /metrics`**.
//!
//! # Limits
//!
//! TLS, HTTP/2 and what is said in them are bytes to it; types under `tls_`, `mcp_`, `nats_` are not there yet. An answer to a
//! `HEAD` request that names a length is taken to have a body, as a link sees one direction only: `http_*` then miss what
//! follows it. On TCP there are no packets to lose: `packet_loss` damages streams.
#![forbid(unsafe_code)]

pub mod api;
mod budget;
pub mod client;
mod connection;
mod draw;
mod error;
mod flow;
mod link;
mod program;
mod proxy;
mod registry;
mod splice;
pub mod toxic;
mod wire;

use std::time::Duration;

pub use draw::toxicity_draw;
pub use error::Error;
pub use program::main;
pub use registry::Registry;
pub use wire::{
    ConnectionDraws, Counters, Draws, LeaseView, ProxyCounters, ProxyInput, ProxyView, StreamCounters,
    ToxicDraw, ToxicEffects, ToxicInput, ToxicView,
};

/// How the proxies of a process work.
#[derive(Clone, Debug)]
pub struct Options {
    /// What draws depend on, beside names and numbers. Default 0.
    pub seed: u64,
    /// Bytes that all connections together may hold while toxics delay them; beyond, senders wait, each with no more than
    /// two chunks of 32 KiB under way. Default 256 MiB.
    pub buffer_bytes: usize,
    /// Whether proxies may listen on addresses other than loopback. Default false.
    pub any_address: bool,
    /// How long connections may take to end by themselves when the process ends. Default 5 s.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, buffer_bytes: 256 << 20, any_address: false, grace: Duration::from_secs(5) }
    }
}

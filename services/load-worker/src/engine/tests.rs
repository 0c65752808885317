//! The load thread against real TCP servers in this process, with native generators in the guests' place.

mod balancing;
mod closing;
mod codings;
mod connections;
mod guests;
mod hostile;
mod http2;
mod http2_answers;
mod http2_failures;
mod http2_hostile;
mod http2_server;
mod leases;
mod memory;
mod models;
mod proxies;
pub(crate) mod rig;
mod sending;
mod server;
mod sockets;
mod stepping;
mod streams;
mod timings;
mod tls;
mod truth;

//! Reference system under test: servers that speak the Model Context Protocol, on its official SDK, of five types in several
//! regions, with objects in copies on several servers.
//!
//! Their answers can all be checked: what was stored comes back with its checksum, planted findings are found, figures are a
//! function of the seed. A server is a process of its own or one of a cluster in one process.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod knobs;
pub mod members;
pub mod server;

mod admin;
mod app;
mod cluster;
mod fleet;
mod handler;
mod integrity;
mod ledger;
mod metrics;
mod peer;
mod records;
mod repair;
mod replicas;
mod routes;
mod tls;
mod tools;

pub use fleet::{Fleet, Shape};
pub use knobs::Knobs;
pub use members::{Kind, Member, Members};
pub use records::Limits;
pub use server::{Options, Running, Server, ServerError};
pub use tls::Tls;

//! What probes of targets share: who watches a target asks it as a client would, and has to know what came of it.
//!
//! * [`Client`] asks one URL over HTTP/1.1, directly or by way of another address.
//! * [`Connector`] is TLS towards a target, as the plan says it.
//! * [`Check`] looks once whether a target is healthy, within a deadline.
//! * [`Failure`] says why not: by its kind for programs, in words for people.
#![forbid(unsafe_code)]

mod check;
mod client;
mod failure;
mod tls;

pub use check::{Check, Expects, Healthy};
pub use client::{Answer, Client};
pub use failure::{Failure, Kind};
pub use tls::{Connector, connector};

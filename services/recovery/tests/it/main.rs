//! The service with real processes, a real proxy and a scripted scheduler.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and figures are for who asks"
)]

mod failover;
mod ground_truth;
mod limits;
mod opening;
mod proxy;
mod restart;
mod rig;
mod server;
mod shed_load;
mod tls;

//! The load thread against real TCP servers in this process, with native generators in the guests' place.

mod closing;
mod connections;
mod guests;
mod hostile;
mod leases;
mod models;
mod rig;
mod server;
mod truth;

//! What probes see of real servers.

mod check;
mod tls;

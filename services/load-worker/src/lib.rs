//! The load engine: virtual users, connections, guests and timing.
//!
//! * [`schedule`]: when arrival k comes and whose it is: a pure function of seed, phase and share.
//! * [`engine`]: one OS thread per load core that hands arrivals to guests and their requests to [`io`]. Nothing
//!   on its hot path is shared, locked or allocated.
//! * [`io`]: sockets, TLS, HTTP/1.1 and the memory-mapped spool; the only module with `unsafe`.
//! * [`record`]: counters and histograms of the open interval, in a spool file that survives SIGKILL.
//! * [`environment`]: keys and tokens, in the place of their names in a scenario's configuration.
//! * [`feeder`]: CSV and JSON-lines files, mapped, that feed guests with rows.
//! * [`calibration`]: how fast a load thread of this host is.
//! * [`lease`]: until when a worker that is cut off may send.
//! * [`control`]: the service around it: commands, bundle, heartbeats, publishing.
//! * [`spec`]: what control tells a load thread, and what it answers.
#![deny(unsafe_code)]

pub mod calibration;
pub mod control;
pub mod engine;
pub mod environment;
pub mod feeder;
pub mod io;
pub mod lease;
pub mod record;
pub mod schedule;
pub mod spec;

pub use control::{Error, Options, run};

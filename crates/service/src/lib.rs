//! What every service has: tasks with an owner, one way to shut down, and tracing.
//!
//! * [`Shutdown`] is told once, with a reason, and heard by everybody.
//! * [`Tasks`] owns every spawned task: each has a name and says what its failure means. Nothing else in the
//!   workspace calls `tokio::spawn`.
//! * [`ServiceError`] says whose an error is that ends a service, and so with which exit code its program ends.
//! * [`Callers`] are those whom an HTTP API answers.
//! * [`telemetry`] writes logs as text or JSON, at a level that can change while the service runs.
//! * [`traces`] makes spans of what a run has services do, and sends them to a collector.
#![forbid(unsafe_code)]

mod blame;
mod callers;
mod shutdown;
mod tasks;
pub mod telemetry;
pub mod traces;

pub use blame::{Blame, ServiceError};
pub use callers::{Callers, Stranger};
pub use shutdown::Shutdown;
pub use tasks::{Failure, OnError, Tasks};
// For `span!`.
#[doc(hidden)]
pub use tracing;

//! Faults are steered by the scheduler of their run. When nothing is heard of it for as long as the plan's
//! `control.controller-lease` says, those that are there end, and none begins until it is heard again.
//!
//! Beats and commands are signs of life, and nothing else is: a bus that is connected again has said nothing of the
//! scheduler. The schedule of the phase is not held up meanwhile. A fault whose instant passes while the scheduler is silent
//! is skipped; what is still to come once it is heard again begins at its own instant. So it makes no difference to the
//! schedule whether the scheduler was only away or was started anew, and nothing is made up for that would hit a run that has
//! moved on. What was ended does not come back.

use std::sync::Arc;
use std::time::Duration;

use bus::Subscription;
use plan::units::print_duration;
use protocol::v1;
use service::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::phase::Phase;
use crate::run::Run;
use crate::service::Service;

/// When the scheduler of a run was heard last.
#[derive(Debug)]
pub(crate) struct LastHeard(watch::Sender<Instant>);

impl LastHeard {
    /// Just now.
    pub(crate) fn now() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }
}

/// Hears beats until `end`.
pub(crate) async fn hear(
    service: Arc<Service>,
    mut beats: Subscription<v1::SchedulerBeat>,
    end: Shutdown,
) -> Result<(), std::convert::Infallible> {
    loop {
        let beat = tokio::select! {
            () = end.triggered() => return Ok(()),
            beat = beats.next() => beat,
        };
        let Some(beat) = beat else { return Ok(()) };
        service.hear_beat(&beat).await;
    }
}

impl Run {
    /// A sign of life of the scheduler: faults may begin.
    pub(crate) fn hear_scheduler(&self) {
        self.heard.0.send_replace(Instant::now());
        if self.board.steer() {
            tracing::info!(run = %self.id, "the scheduler is heard again: faults may begin");
        }
    }

    /// Ends the faults of a phase whenever the scheduler is silent for too long, until the phase is over.
    pub(crate) async fn watch_scheduler(
        self: Arc<Self>,
        phase: Phase,
    ) -> Result<(), std::convert::Infallible> {
        let lease = self.plan.control.controller_lease;
        let mut heard = self.heard.0.subscribe();
        loop {
            let due = *heard.borrow_and_update() + lease;
            tokio::select! {
                biased;
                () = phase.over.triggered() => return Ok(()),
                changed = heard.changed() => match changed {
                    Ok(()) => continue,
                    // It ends with the run, which this task holds.
                    Err(_) => return Ok(()),
                },
                () = sleep_until(due) => {}
            }
            let reason = silent(lease);
            tracing::warn!(run = %self.id, reason, "faults end, and none begins until it is heard");
            self.board.unsteer(&reason);
            tokio::select! {
                () = phase.over.triggered() => return Ok(()),
                // Who hears it has let faults begin again.
                _ = heard.changed() => {}
            }
        }
    }
}

/// Why faults end that nobody steers.
fn silent(lease: Duration) -> String {
    format!("the scheduler was not heard for {} (control.controller-lease)", print_duration(lease))
}

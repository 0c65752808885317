//! The end of a run: everything is released, then the verdict is written.

use std::time::Duration;

use futures::future::join_all;
use protocol::event::Event;
use service::traces;
use store::{RunState, StoreError};

use super::fleet::Fleet;
use super::{Run, Trouble};
use crate::verdict::{Reason, code, settle};

impl Run {
    /// Judges, releases, and writes the verdict.
    pub(super) async fn close(mut self) -> Result<(), StoreError> {
        // Asked for while the last samples came in: nothing is left to be stopped, but it was promised.
        if let Some(by) = self.inbox.take_deferred() {
            let reason = self.ctx.stop_requested(&by).await?;
            self.reasons.push(reason);
        }
        self.inbox.stopping();
        let exits = self.processes.look(&self.ctx.history).await?;
        tracing::debug!(run = %self.ctx.id, ?exits, "the run is ending");
        let thresholds = self.judge_run_thresholds().await;
        if self.ctx.apart {
            // Who has it now may need what is released.
            self.ctx.history.fence().await?;
        }
        for notice in self.release().await {
            self.ctx.history.append(Event::Notice { message: notice }).await?;
        }
        self.judge_unrecovered();
        let (verdict, exit_code, reasons) = settle(std::mem::take(&mut self.reasons));
        let span = tracing::Span::current();
        traces::note(&span, "gauntlet.verdict", verdict.name());
        if exit_code != code::PASSED {
            traces::failed(&span, &reasons.first().map_or("", String::as_str));
        }
        let ended = Event::RunEnded { verdict, exit_code, reasons, thresholds };
        self.ctx.history.append_with_state(ended, RunState::Ended { exit_code }).await
    }

    /// Ends the run on workers and monitoring and stops the plan's processes; what did not go well, for the history.
    pub(super) async fn release(&mut self) -> Vec<String> {
        let ctx = std::sync::Arc::clone(&self.ctx);
        let (assigned, watching, metrics_lost) = (self.fleet.ids(), self.watching, self.metrics_lost);
        self.fleet = Fleet::default();
        let processes = &mut self.processes;
        let bystanders = std::mem::take(&mut self.bystanders);
        let work = async {
            let mut notices = Vec::new();
            let ends = join_all(assigned.iter().map(|id| ctx.load.end_run(*id)));
            // Before processes are stopped: what is paused or starved must end by itself, and nothing be started again.
            let (ended, (unrecovered, troubles)) = futures::join!(ends, bystanders.close());
            notices.extend(ended.into_iter().filter_map(|ended| ended.err().map(|error| error.to_string())));
            let mut lost = None;
            if watching
                && !metrics_lost
                && let Err(error) = ctx.metrics.unwatch().await
            {
                lost = Some(Reason::new(code::ABORTED, error.to_string()));
            }
            notices.extend(processes.stop().await);
            (notices, lost, unrecovered, troubles)
        };
        let (notices, lost, unrecovered, troubles) = self.inbox.refusing("the run is ending", work).await;
        self.reasons.extend(lost);
        self.note_unrecovered(unrecovered);
        for trouble in troubles {
            match trouble {
                Trouble::Reason(reason) => self.reasons.push(reason),
                Trouble::Reasons(reasons) => self.reasons.extend(reasons),
                other => self.reasons.push(Reason::new(code::ENVIRONMENT, other.to_string())),
            }
        }
        notices
    }

    /// Faults that chaos says could not be undone; what it told of each is a reason of its own.
    pub(super) fn note_unrecovered(&mut self, unrecovered: Vec<String>) {
        let told = self.ctx.news.unrecovered();
        let untold = unrecovered.into_iter().filter(|fault| told.iter().all(|(known, _)| known != fault));
        let reason = |fault| Reason::new(code::UNRECOVERED, format!("fault {fault} could not be undone"));
        self.reasons.extend(untold.map(reason));
    }

    /// A fault that could not be undone fails the run, whatever else came of it (requirement R6.3).
    fn judge_unrecovered(&mut self) {
        self.reasons.extend(self.ctx.news.unrecovered().iter().map(Reason::unrecovered));
    }

    /// How long a run may take to end once it was told to: ramp-down, grace, collection and release.
    pub(crate) fn longest_end(plan: &plan::Plan) -> Duration {
        let stops: Duration = plan.processes.values().map(|process| process.stop_timeout).sum();
        // Chaos and recovery may take as long as a command to them.
        plan.control.ramp_down + plan.load.grace + stops + Duration::from_secs(120)
    }
}

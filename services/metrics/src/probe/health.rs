//! Does the target answer?

use std::convert::Infallible;
use std::time::Duration;

use prober::{Client, Expects};

use super::record::ProbeId;
use super::{Context, Now};

/// Asks a target's health URL, or its base URL where the plan names none.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) id: ProbeId,
    pub(super) expects: Expects,
    pub(super) interval: Duration,
}

impl Health {
    pub(super) async fn run(self, mut client: Client, context: Context) -> Result<(), Infallible> {
        let mut rounds = context.rounds(self.interval);
        while rounds.next().await {
            let Some(result) = context.attempt(client.get()).await else { break };
            let now = Now::read();
            let mut record = context.record();
            let healthy = result.as_ref().is_ok_and(|answer| self.expects.accepts(answer.status));
            record.checked(self.id, healthy);
            match result {
                Ok(_) if healthy => record.good(self.id, now),
                Ok(answer) => record.unhealthy(self.id, now, &self.expects.complaint(answer.status)),
                Err(error) => record.failed(self.id, &error),
            }
        }
        Ok(())
    }
}

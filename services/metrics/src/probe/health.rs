//! Does the target answer?

use std::convert::Infallible;
use std::time::Duration;

use super::client::Client;
use super::record::ProbeId;
use super::{Context, Now};

/// Asks a target's health URL. Healthy is an answer of 2xx or 3xx (redirects are not followed); where the plan names no
/// health URL and the base URL is asked, also 4xx: it need not be a resource.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) id: ProbeId,
    pub(super) any_answer: bool,
    pub(super) interval: Duration,
}

impl Health {
    pub(super) async fn run(self, mut client: Client, context: Context) -> Result<(), Infallible> {
        let mut rounds = context.rounds(self.interval);
        while rounds.next().await {
            let Some(result) = context.attempt(client.get()).await else { break };
            let now = Now::read();
            let mut record = context.record();
            let healthy = result.as_ref().is_ok_and(|answer| self.accepts(answer.status));
            record.checked(self.id, healthy);
            match result {
                Ok(_) if healthy => record.good(self.id, now),
                Ok(answer) => record.unhealthy(self.id, now, &self.complaint(answer.status)),
                Err(error) => record.failed(self.id, &error),
            }
        }
        Ok(())
    }

    const fn accepts(&self, status: u16) -> bool {
        status < 400 || (self.any_answer && status < 500)
    }

    fn complaint(&self, status: u16) -> String {
        let expected = if self.any_answer { "below 500" } else { "2xx or 3xx" };
        format!("answered {status}, expected {expected}")
    }
}

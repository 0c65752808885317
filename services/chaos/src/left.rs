//! What an earlier life of this service held when it was killed: seen to be gone, and told.

use std::sync::Arc;

use fault_agent::{Ended, How};
use futures::future::join_all;
use protocol::event::Event;
use protocol::faults::FaultState;

use crate::backends::Backends;
use crate::fault::TOLD;
use crate::journal::Holding;
use crate::run::Run;

/// What every end of such a fault begins with.
const LOST: &str = "the chaos service that held it ended";

/// A fault that is gone.
struct Gone {
    /// Who undid it, in words.
    by: String,
    /// When that was seen, Unix milliseconds of this host; `None` = now.
    at_ms: Option<u64>,
    /// How long the undo took; `None` = nobody measured it.
    undo_ms: Option<u64>,
    /// What was read back.
    verified: String,
}

impl Run {
    /// Tells the end of each fault that an earlier life of this service held, and starts again what it had ended.
    pub(crate) async fn settle_what_was_left(self: &Arc<Self>) {
        join_all(self.backends.journal.faults().iter().map(|left| self.settle(left))).await;
    }

    async fn settle(&self, left: &Holding) {
        let fault = left.fault.clone();
        match self.backends.gone(left).await {
            Ok(Gone { by, at_ms, undo_ms, verified }) => {
                let how = format!("{LOST}: {by}");
                tracing::info!(fault, how, verified, "a fault of an earlier life of this service is gone");
                self.board.came_before(&fault, &format!("{how}; {verified}"));
                let at = at_ms.map_or_else(|| self.now(), |ms| self.stamp(ms));
                let event = Event::FaultEnded { fault, how, held_ms: None, undo_ms, verified };
                let told = self.news.say(at, event).await;
                // Otherwise the next life of this service is to tell it.
                if told.durable_within(TOLD).await.is_some() {
                    self.backends.journal.end(&left.fault);
                }
            }
            Err(detail) => {
                let detail = format!("{LOST}; {detail}");
                tracing::error!(fault, detail, "a fault of an earlier life of this service is unrecovered");
                self.board.note(&fault, FaultState::Unrecovered, &detail);
                let target = left.target.clone();
                self.news.say(self.now(), Event::FaultUnrecovered { fault, target, detail }).await;
            }
        }
    }

    /// An instant of this host's wall clock on the scheduler's; none that is yet to come.
    fn stamp(&self, unix_ms: u64) -> i64 {
        let now_ms = u64::try_from(self.clock.unix_ns() / 1_000_000).unwrap_or_default();
        let ago_ns = now_ms.saturating_sub(unix_ms).saturating_mul(1_000_000);
        self.now().saturating_sub(i64::try_from(ago_ns).unwrap_or(i64::MAX))
    }
}

impl Backends {
    /// Sees that a fault is gone that an earlier life of this service held; or says what is left.
    async fn gone(&self, left: &Holding) -> Result<Gone, String> {
        let agent = if left.agent.is_empty() { None } else { Some(self.gone_from_agent(&left.agent).await) };
        if !left.processes.is_empty() {
            // Whatever the agent says: they are to run.
            let verified = self.run_again(&left.processes).await?;
            agent.transpose()?;
            return Ok(Gone {
                by: "what it had ended runs again".to_owned(),
                at_ms: None,
                undo_ms: None,
                verified,
            });
        }
        if !left.proxies.is_empty() {
            let proxy =
                self.proxy.as_ref().ok_or("there is no fault proxy that could show that it is gone")?;
            let by = "the one after it cleared the fault proxy of it".to_owned();
            let verified = proxy.has_not(&left.fault, &left.proxies).await?;
            return Ok(Gone { by, at_ms: None, undo_ms: None, verified });
        }
        agent.unwrap_or_else(|| Err("it is not known what it was done to".to_owned()))
    }

    /// An agent takes requests only when all that its journal has is undone, and has told of it.
    async fn gone_from_agent(&self, names: &[String]) -> Result<Gone, String> {
        let agent = self.agent.get().await;
        let agent = agent.map_err(|error| format!("no fault agent can show that it is undone: {error}"))?;
        let ended: Vec<&Ended> = names.iter().filter_map(|name| agent.found(name)).collect();
        let Some(last) = ended.iter().max_by_key(|ended| ended.at_ms) else {
            return Ok(Gone {
                by: "when it was undone is not known".to_owned(),
                at_ms: None,
                undo_ms: None,
                verified: "the fault agent's journal has nothing of it that is not undone".to_owned(),
            });
        };
        let verified: Vec<&str> = ended.iter().map(|ended| ended.verified.as_str()).collect();
        Ok(Gone {
            by: by(last.how).to_owned(),
            at_ms: Some(last.at_ms),
            undo_ms: ended.iter().map(|ended| ended.undo_ms).max(),
            verified: verified.join("; "),
        })
    }
}

/// Who undid a fault whose controller is gone.
const fn by(how: How) -> &'static str {
    match how {
        How::AgentGone => "the fault agent ended, too, and its guardian undid it",
        How::LeftOver => "the fault agent and its guardian ended, too, and the next agent undid it",
        How::VictimsGone => "nothing that it had hit is alive any more",
        How::Duration => "its time was over, and the fault agent undid it",
        How::ControllerGone | How::Lease | How::Asked | How::Quit | How::BrokeOff | How::NoGuardian => {
            "the fault agent undid it"
        }
    }
}

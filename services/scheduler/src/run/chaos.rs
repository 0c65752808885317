//! What a run asks of chaos.

use std::sync::{Mutex, PoisonError};

use protocol::v1;

use super::Context;
use super::bystanders::{Begun, LastWord, Side};
use crate::links::LinkError;
use crate::news::Teller;

/// Where its proxy is, and what goes through it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Agreed {
    pub(super) detours: Vec<v1::Detour>,
    pub(super) proxy_url: String,
    pub(super) proxy_token: String,
}

/// See [`Side`].
pub(super) struct ChaosSide {
    platform_dir: String,
    /// What it answered first; load-workers and recovery were told so.
    agreed: Mutex<Option<Agreed>>,
}

impl ChaosSide {
    pub(super) const fn new(platform_dir: String) -> Self {
        Self { platform_dir, agreed: Mutex::new(None) }
    }

    /// What was agreed on when it was opened.
    pub(super) fn agreed(&self) -> Agreed {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

impl Side for ChaosSide {
    const TELLER: Teller = Teller::Chaos;

    async fn open(&self, ctx: &Context) -> Result<Vec<v1::Problem>, LinkError> {
        let reply = ctx.chaos.open(&ctx.plan_digest, &self.platform_dir).await?;
        let v1::OpenChaosReply { problems, detours, proxy_url, proxy_token, .. } = reply;
        let now = Agreed { detours, proxy_url, proxy_token };
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.is_empty() && agreed.as_ref().is_some_and(|first| first.detours != now.detours) {
            // Load-workers go on to where it was.
            let detail =
                "it was started anew, and its fault proxy listens elsewhere than load goes".to_owned();
            return Err(LinkError::Lost { who: Teller::Chaos.name().to_owned(), detail });
        }
        *agreed = Some(now);
        Ok(problems)
    }

    async fn begin(&self, ctx: &Context, phase: Begun) -> Result<(), LinkError> {
        ctx.chaos.begin_phase(phase.index, phase.t0_unix_ns, phase.duration_ns).await
    }

    async fn known(&self, ctx: &Context) -> Result<(), LinkError> {
        ctx.chaos.faults().await.map(|_| ())
    }

    async fn end(&self, ctx: &Context, phase: u32, reason: &str) -> Result<LastWord, LinkError> {
        let v1::ChaosPhaseEnded { unrecovered, last_sequence } = ctx.chaos.end_phase(phase, reason).await?;
        Ok(LastWord { unrecovered, last_sequence })
    }

    async fn close(&self, ctx: &Context) -> Result<LastWord, LinkError> {
        let v1::ChaosClosed { unrecovered, last_sequence } = ctx.chaos.close().await?;
        Ok(LastWord { unrecovered, last_sequence })
    }
}

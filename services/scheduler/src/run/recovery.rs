//! What a run asks of recovery.

use std::sync::{Mutex, PoisonError};

use protocol::v1;

use super::Context;
use super::bystanders::{Begun, LastWord, Side};
use super::chaos::Agreed;
use crate::links::LinkError;
use crate::news::Teller;

/// See [`Side`].
pub(super) struct RecoverySide {
    platform_dir: String,
    proxy: Mutex<Agreed>,
}

impl RecoverySide {
    /// `proxy`: as chaos said.
    pub(super) const fn new(platform_dir: String, proxy: Agreed) -> Self {
        Self { platform_dir, proxy: Mutex::new(proxy) }
    }

    /// What chaos says now; `true` = it said something else before.
    pub(super) fn take_proxy(&self, now: Agreed) -> bool {
        let mut proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *proxy != now;
        *proxy = now;
        changed
    }
}

impl Side for RecoverySide {
    const TELLER: Teller = Teller::Recovery;

    async fn open(&self, ctx: &Context) -> Result<Vec<v1::Problem>, LinkError> {
        let Agreed { detours, proxy_url, proxy_token } =
            self.proxy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let open = v1::OpenRecovery {
            plan_digest: ctx.plan_digest.clone(),
            platform_dir: self.platform_dir.clone(),
            proxy_url,
            proxy_token,
            detours,
            files: ctx.files.iter().filter(|file| plan::is_for_tls(&file.name)).cloned().collect(),
            ..v1::OpenRecovery::default()
        };
        Ok(ctx.recovery.open(open).await?.problems)
    }

    async fn begin(&self, ctx: &Context, phase: Begun) -> Result<(), LinkError> {
        ctx.recovery.begin_phase(phase.index, phase.t0_unix_ns).await
    }

    async fn known(&self, ctx: &Context) -> Result<(), LinkError> {
        ctx.recovery.status().await.map(|_| ())
    }

    async fn end(&self, ctx: &Context, phase: u32, _: &str) -> Result<LastWord, LinkError> {
        let v1::RecoveryPhaseEnded { last_sequence, .. } = ctx.recovery.end_phase(phase).await?;
        Ok(LastWord { unrecovered: Vec::new(), last_sequence })
    }

    async fn close(&self, ctx: &Context) -> Result<LastWord, LinkError> {
        // What it tells after the last phase is not waited for: incidents are closed, or stay open.
        ctx.recovery.close().await.map(|()| LastWord::default())
    }
}

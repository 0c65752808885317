//! Commands to `recovery`.

use protocol::v1;

use super::{FAULTS_DEADLINE as DEADLINE, Link, LinkError};

/// Commands to `recovery` about one run.
#[derive(Clone)]
pub(crate) struct Recovery {
    link: Link,
}

impl Recovery {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link }
    }

    /// `open` without its run.
    pub(crate) async fn open(&self, open: v1::OpenRecovery) -> Result<v1::OpenRecoveryReply, LinkError> {
        self.link.ask(&v1::OpenRecovery { run: self.link.own_run(), ..open }, DEADLINE).await
    }

    pub(crate) async fn begin_phase(&self, phase: u32, t0_unix_ns: i64) -> Result<(), LinkError> {
        let command = v1::BeginRecoveryPhase { run: self.link.own_run(), phase, t0_unix_ns };
        self.link.ask(&command, DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn end_phase(&self, phase: u32) -> Result<v1::RecoveryPhaseEnded, LinkError> {
        self.link.ask(&v1::EndRecoveryPhase { run: self.link.own_run(), phase }, DEADLINE).await
    }

    pub(crate) async fn close(&self) -> Result<(), LinkError> {
        self.link.ask(&v1::CloseRecovery { run: self.link.own_run() }, DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn status(&self) -> Result<v1::RecoveryStatus, LinkError> {
        self.link.ask(&v1::QueryRecovery { run: self.link.own_run() }, DEADLINE).await
    }
}

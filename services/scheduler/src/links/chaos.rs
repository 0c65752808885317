//! Commands to `chaos`.

use protocol::v1;

use super::{FAULTS_DEADLINE as DEADLINE, Link, LinkError};

/// Commands to `chaos` about one run.
#[derive(Clone)]
pub(crate) struct Chaos {
    link: Link,
}

impl Chaos {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link }
    }

    pub(crate) async fn open(
        &self,
        plan_digest: &str,
        platform_dir: &str,
    ) -> Result<v1::OpenChaosReply, LinkError> {
        let (plan_digest, platform_dir) = (plan_digest.to_owned(), platform_dir.to_owned());
        let command = v1::OpenChaos { run: self.link.own_run(), plan_digest, platform_dir };
        self.link.ask(&command, DEADLINE).await
    }

    pub(crate) async fn begin_phase(
        &self,
        phase: u32,
        t0_unix_ns: i64,
        duration_ns: u64,
    ) -> Result<(), LinkError> {
        let command = v1::BeginChaosPhase { run: self.link.own_run(), phase, t0_unix_ns, duration_ns };
        self.link.ask(&command, DEADLINE).await.map(|_| ())
    }

    pub(crate) async fn end_phase(&self, phase: u32, reason: &str) -> Result<v1::ChaosPhaseEnded, LinkError> {
        let command = v1::EndChaosPhase { run: self.link.own_run(), phase, reason: reason.to_owned() };
        self.link.ask(&command, DEADLINE).await
    }

    pub(crate) async fn close(&self) -> Result<v1::ChaosClosed, LinkError> {
        self.link.ask(&v1::CloseChaos { run: self.link.own_run() }, DEADLINE).await
    }

    pub(crate) async fn inject(
        &self,
        fault_toml: String,
        by: &str,
    ) -> Result<v1::InjectFaultReply, LinkError> {
        let command = v1::InjectFault { run: self.link.own_run(), fault_toml, by: by.to_owned() };
        self.link.ask(&command, DEADLINE).await
    }

    pub(crate) async fn stop(&self, fault: String, by: &str) -> Result<v1::StopFaultReply, LinkError> {
        let command = v1::StopFault { run: self.link.own_run(), fault, by: by.to_owned() };
        self.link.ask(&command, DEADLINE).await
    }

    pub(crate) async fn faults(&self) -> Result<v1::Faults, LinkError> {
        self.link.ask(&v1::QueryFaults { run: self.link.own_run() }, DEADLINE).await
    }
}

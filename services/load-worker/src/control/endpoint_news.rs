//! What a run tells of endpoints that are out of use, or in use again.

use std::time::Duration;

use protocol::v1;

use super::active::Active;
use super::health::Turned;
use crate::record::Owner;
use crate::spec::EngineCommand;

impl Active {
    /// Health checks have found that an endpoint turned.
    pub(super) fn note_health(&mut self, turned: Turned) {
        let Turned { target, endpoint, healthy, seen } = turned;
        for thread in &self.threads {
            thread.send(EngineCommand::Health { target, endpoint, healthy });
        }
        self.tell_endpoint(target, endpoint, !healthy, "health-check", seen);
    }

    /// A load thread has ejected an endpoint for so many failures and so long, or uses it again.
    pub(super) fn note_ejection(
        &mut self,
        thread: u32,
        target: u32,
        endpoint: u32,
        ejected: Option<(u32, Duration)>,
    ) {
        let detail = match ejected {
            Some((failures, length)) => {
                format!("load thread {thread}: {failures} failures in a row, ejected for {length:?}")
            }
            None => format!("load thread {thread}: the ejection is over"),
        };
        self.tell_endpoint(target, endpoint, ejected.is_some(), "outlier-detection", detail);
    }

    fn tell_endpoint(&mut self, target: u32, endpoint: u32, out: bool, cause: &str, detail: String) {
        let Owner { run, worker, .. } = self.owner();
        let Some(target) = self.setting.plan.targets.get(target as usize) else { return };
        self.publisher.queue_endpoint(v1::EndpointNews {
            run: run.to_bytes(),
            worker: worker.to_bytes(),
            phase: self.phase.as_ref().map_or(0, |phase| phase.index),
            target: target.name.clone(),
            endpoint: target.urls.get(endpoint as usize).cloned().unwrap_or_default(),
            out,
            cause: cause.to_owned(),
            detail,
        });
    }
}

//! Pauses: an instance stands still with all that belongs to it, and goes on.

use std::io;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Processes, members, observe, system};
use crate::PlatformError;
use crate::freeze;
use crate::identity::ProcessId;
use crate::instance::InstanceId;

/// How often is looked whether all follow.
const LOOK: Duration = Duration::from_millis(2);
/// How long they may take: one that waits for a disk stops only then.
const FOLLOW: Duration = Duration::from_secs(5);

impl Processes {
    /// SIGSTOP to all of it, until all are seen to stand still: one that was just forked is found at the next look.
    pub(super) async fn freeze(&self, id: &InstanceId) -> Result<(), PlatformError> {
        self.bring(id, "stopped", freeze::stop).await
    }

    /// SIGCONT to all of it, until none stands still.
    pub(super) async fn thaw(&self, id: &InstanceId) -> Result<(), PlatformError> {
        self.bring(id, "gone on", freeze::go_on).await
    }

    async fn bring(
        &self,
        id: &InstanceId,
        wanted: &'static str,
        round: fn(&[ProcessId]) -> io::Result<Vec<ProcessId>>,
    ) -> Result<(), PlatformError> {
        let record = self.dir.known(id)?;
        let deadline = Instant::now() + FOLLOW;
        loop {
            if observe::alive(&record)?.is_none() {
                return Err(self.not_running(&record));
            }
            let left = members::all(&self.dir, &record).and_then(|all| round(&all));
            let left = left.map_err(system(id, "signalling it"))?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(PlatformError::Disobeyed { name: id.to_string(), left, wanted, waited: FOLLOW });
            }
            sleep(LOOK).await;
        }
    }
}

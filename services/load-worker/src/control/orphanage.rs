//! Publishing what killed workers have left behind.

use std::path::PathBuf;
use std::time::Duration;

use bus::{Bus, RecordError};

use super::publisher::key;
use crate::record::{Orphan, orphans};

/// How long after a refusal the log is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Publishes all orphan spools of a directory, each interval under the key that its dead worker gave it, and removes
/// them. Tries until the log has taken everything.
pub(super) async fn publish(bus: Bus, dir: PathBuf) -> Result<(), RecordError> {
    let (found, problems) = orphans(&dir);
    for problem in problems {
        tracing::warn!(%problem, "an orphan spool is left where it is");
    }
    for orphan in found {
        let owner = orphan.owner();
        let batches = publish_one(&bus, &orphan).await?;
        tracing::info!(run = %owner.run, worker = %owner.worker, batches, "the samples of a killed worker were published");
        if let Err(error) = orphan.remove() {
            tracing::warn!(%error, "an orphan spool that was published cannot be removed; publishing it again has no effect");
        }
    }
    Ok(())
}

async fn publish_one(bus: &Bus, orphan: &Orphan) -> Result<usize, RecordError> {
    let mut count = 0;
    for (sequence, parts) in orphan.batches() {
        for batch in parts {
            let key = key(orphan.owner(), sequence, batch.part);
            loop {
                match bus.record(&key, &batch).await {
                    Ok(()) => break,
                    Err(RecordError::Full { .. }) => tokio::time::sleep(RETRY).await,
                    Err(error) => return Err(error),
                }
            }
            count += 1;
        }
    }
    Ok(count)
}

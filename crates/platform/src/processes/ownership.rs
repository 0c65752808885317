//! For whom instances run, and that they do not outlive him.

use std::path::Path;
use std::time::Duration;

use super::state_dir::{Record, StateDir};
use super::{OTHERS, Processes, ending, members, observe, system};
use crate::PlatformError;
use crate::instance::InstanceId;

/// Rounds of killing when a handle is dropped: the first reaches all but what is just being forked.
const ROUNDS: usize = 3;
/// How long a dropped handle waits in a round for what it killed.
const ROUND: Duration = Duration::from_millis(100);

impl Processes {
    /// Ends the instances of a state directory whose owner has ended, and forgets them; returns those that were running. A
    /// directory that is not there has none.
    ///
    /// # Errors
    /// When the directory cannot be read, or something cannot be ended.
    pub async fn end_orphans(dir: &Path) -> Result<Vec<InstanceId>, PlatformError> {
        let orphaned = |record: &Record| -> Result<bool, PlatformError> {
            Ok(!record.owner.is_alive().map_err(system(&record.id, "looking for its owner"))?)
        };
        end_all(dir, orphaned).await
    }

    /// Ends all instances of a state directory, whoever owns them, and forgets them; returns those that were running.
    ///
    /// # Errors
    /// As [`Processes::end_orphans`].
    pub async fn sweep(dir: &Path) -> Result<Vec<InstanceId>, PlatformError> {
        end_all(dir, |_| Ok(true)).await
    }

    /// Kills what still runs for this owner, forgets his instances, and removes the state directory if nothing is left in
    /// it. An opener's handle just goes.
    ///
    /// # Errors
    /// As [`Processes::end_orphans`].
    pub async fn close(mut self) -> Result<(), PlatformError> {
        let Some(owner) = self.owner.clone() else { return Ok(()) };
        end_all(self.dir.path(), |record| Ok(record.owner == owner)).await?;
        self.owner = None;
        // Not when there is something of others in it.
        let _ = std::fs::remove_dir(self.dir.path());
        Ok(())
    }

    fn kill_own(&self) -> std::io::Result<()> {
        let mut own = self.dir.records().map_err(std::io::Error::other)?;
        own.retain(|record| Some(&record.owner) == self.owner.as_ref());
        let mut known: Vec<_> = own.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            let mut left = Vec::new();
            for (record, known) in own.iter().zip(&mut known) {
                left.extend(ending::strike(&self.dir, record, known)?);
            }
            if left.is_empty() {
                break;
            }
            for process in members::open(&left)? {
                process.wait(ROUND)?;
            }
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if self.owner.is_some()
            && let Err(error) = self.kill_own()
        {
            tracing::warn!(dir = %self.dir.path().display(), %error, "what runs for us could not be ended");
        }
    }
}

async fn end_all(
    dir: &Path,
    wanted: impl Fn(&Record) -> Result<bool, PlatformError>,
) -> Result<Vec<InstanceId>, PlatformError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let dir = StateDir::open(dir)?;
    let mut ended = Vec::new();
    for id in dir.names()? {
        let _lock = dir.lock(&id, OTHERS).await?;
        let Some(record) = dir.record(&id)? else { continue };
        if !wanted(&record)? {
            continue;
        }
        let left = members::all(&dir, &record).map_err(system(&id, "looking for its processes"))?;
        ending::destroy(&dir, &record, left.clone()).await?;
        if record.generation > 0 {
            // Else whoever is told writes it after all is forgotten.
            observe::status(&dir, &record).await;
        }
        dir.forget(&id)?;
        if !left.is_empty() {
            tracing::debug!(process = %id, "ended with its owner");
            ended.push(id);
        }
    }
    Ok(ended)
}

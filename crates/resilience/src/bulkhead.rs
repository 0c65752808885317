//! A bulkhead: at most so many calls at once, and at most so many that wait, in the order of their coming; more are refused.
//! So one slow callee takes no more of the caller than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The two limits. The default is 50 in progress and 100 waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Calls in progress at most.
    pub concurrent: usize,
    /// Calls that wait for a place at most.
    pub waiting: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { concurrent: 50, waiting: 100 }
    }
}

/// A call that was neither made nor made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {concurrent} places are taken and {waiting} calls wait for one")]
pub struct Full {
    /// Calls in progress at most.
    pub concurrent: usize,
    /// Calls that wait at most.
    pub waiting: usize,
}

/// The place of one call. Dropped, it goes to the one that has waited longest.
#[derive(Debug)]
#[must_use = "the place is given back at once"]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// See the module.
#[derive(Debug)]
pub struct Bulkhead {
    settings: Settings,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    refused: AtomicUsize,
}

impl Bulkhead {
    /// One with all places free. More than 2^60 calls in progress are taken as that many.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let settings = Settings { concurrent: settings.concurrent.min(Semaphore::MAX_PERMITS), ..settings };
        Self {
            settings,
            places: Arc::new(Semaphore::new(settings.concurrent)),
            waiting: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// A place, after a wait if need be. Who stops waiting (drops the future) leaves the queue.
    ///
    /// # Errors
    /// [`Full`], at once, when as many wait as may.
    pub async fn enter(&self) -> Result<Place, Full> {
        // The semaphore gives a freed place to whoever waits, so that nobody overtakes here.
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Place { _permit: permit });
        }
        let _waiting = self.wait()?;
        // It is closed by nobody.
        let permit = Arc::clone(&self.places).acquire_owned().await.map_err(|_| self.full())?;
        Ok(Place { _permit: permit })
    }

    /// Calls in progress.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.settings.concurrent - self.places.available_permits()
    }

    /// Calls that wait for a place, with those that were just given one and have not yet run on.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Calls refused since it was made.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Its limits.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    fn wait(&self) -> Result<Waiting<'_>, Full> {
        let room = |waiting: usize| (waiting < self.settings.waiting).then_some(waiting + 1);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(_) => Ok(Waiting(&self.waiting)),
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(self.full())
            }
        }
    }

    fn full(&self) -> Full {
        Full { concurrent: self.settings.concurrent, waiting: self.settings.waiting }
    }
}

/// One that waits, however its waiting ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

//! What calls use again in place of making it anew. There are so many and no more, so that they can run out.

use std::time::Duration;

use deadpool::unmanaged::{Object, Pool, PoolConfig, PoolError};
use deadpool::{Runtime, Status};

use super::Error;

/// How many of each there are. Calls in progress need one of each, so that by default the bulkhead lets in fewer than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Buffers that items are written into as JSON.
    pub buffers: usize,
    /// Digests that checksums of new items are taken with.
    pub digests: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { buffers: 200, digests: 200 }
    }
}

/// All things of one kind.
pub(super) struct Reused<T> {
    /// What they are, for messages and metrics.
    pub(super) what: &'static str,
    wait: Duration,
    pool: Pool<T>,
}

impl<T> Reused<T> {
    /// So many; who finds none free waits so long.
    pub(super) fn new(what: &'static str, count: usize, wait: Duration, make: impl Fn() -> T) -> Self {
        let pool = Pool::from_config(&PoolConfig {
            max_size: count,
            timeout: Some(wait),
            runtime: Some(Runtime::Tokio1),
        });
        // There is room for so many.
        while pool.try_add(make()).is_ok() {}
        Self { what, wait, pool }
    }

    /// One that is free; it is given back when it is dropped.
    pub(super) async fn take(&self) -> Result<Object<T>, Error> {
        let Self { what, wait, pool } = self;
        pool.get().await.map_err(|error| match error {
            PoolError::Timeout => Error::Exhausted { what, count: pool.status().max_size, wait: *wait },
            error => Error::Failed { place: format!("the pool of {what}"), detail: error.to_string() },
        })
    }

    pub(super) fn status(&self) -> Status {
        self.pool.status()
    }
}

//! What keeps a caller of something that fails from making it worse: [`breaker`], [`backoff`], [`budget`] and, with the
//! feature of its name, [`bulkhead`].
//!
//! The first three are plain data. They read no clock and draw nothing: *time* is a [`Duration`](core::time::Duration) since
//! an origin of the caller's choice, the same for all calls of one value, and *chance* is 64 even bits with each call
//! (`draws::at(key, n)`). So they run in guests, where there is neither, and a test can go through any order of events.
//! Where a clock steps back, less time has passed: nothing else happens.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod breaker;
pub mod budget;
#[cfg(feature = "bulkhead")]
pub mod bulkhead;

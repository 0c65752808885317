//! Waiting for a condition with a deadline, saying what was awaited.

use std::time::{Duration, Instant};

/// Polls until `condition` gives a value.
///
/// # Panics
/// After `deadline`, with what was awaited and what `state` says then.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
    state: impl Fn() -> String,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} for {what}; now: {}", state());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

//! When the API was called last: whoever drives the proxy is there as long as it calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::{Instant, sleep_until};

/// The time of the last call. Clones share it.
#[derive(Clone, Debug)]
pub struct Calls {
    last: Arc<Mutex<Instant>>,
}

impl Default for Calls {
    /// As if there had been one just now.
    fn default() -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())) }
    }
}

impl Calls {
    fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there was no call for so long.
    pub async fn silence(&self, time: Duration) {
        loop {
            let last = self.last();
            sleep_until(last + time).await;
            if self.last() == last {
                return;
            }
        }
    }
}

/// Notes a call when it comes and when it is answered. Behind the guard: strangers keep nothing alive.
pub(super) async fn note(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    calls.note();
    let response = next.run(request).await;
    calls.note();
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_call_counts_anew() {
        let (calls, start) = (Calls::default(), Instant::now());
        let caller = calls.clone();
        let calling = async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                caller.note();
            }
        };
        tokio::join!(calls.silence(Duration::from_secs(30)), calling);
        assert_eq!(start.elapsed(), Duration::from_secs(130));
    }
}

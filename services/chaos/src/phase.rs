//! A phase: its faults begin at their instants.

use std::sync::Arc;
use std::time::Duration;

use service::Shutdown;
use tokio::time::{Instant, sleep_until};

use crate::fault;
use crate::run::Run;
use crate::schedule::Item;

/// A fault whose instant passed longer ago than this is not injected: its end would come too late.
const LATE: Duration = Duration::from_secs(1);

/// A phase that began, and may have ended.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// Index in the run.
    pub(crate) index: u32,
    /// As it was told.
    pub(crate) t0_unix_ns: i64,
    /// Its start, mapped once.
    pub(crate) t0: Instant,
    /// How long it is meant to be.
    pub(crate) duration: Duration,
    /// Triggered when it ends.
    pub(crate) over: Shutdown,
    /// Triggered when none of its faults will begin any more by itself.
    pub(crate) armed: Shutdown,
}

impl Phase {
    /// Begins the phase's faults, each at its instant, until it is over; what has not begun then is skipped.
    pub(crate) async fn arm(self, run: Arc<Run>) -> Result<(), std::convert::Infallible> {
        let items = run.board.to_come(self.index);
        let mut items = items.iter();
        for item in items.by_ref() {
            let due = self.t0 + item.at;
            tokio::select! {
                biased;
                () = self.over.triggered() => {
                    self.skip(&run, item).await;
                    break;
                }
                () = sleep_until(due) => {}
            }
            let late = Instant::now().saturating_duration_since(due);
            if late > LATE {
                let why =
                    format!("its time had passed {} s ago when the phase was told to begin", late.as_secs());
                run.skip(item, &why).await;
            } else {
                run.begin(Arc::clone(item)).await;
            }
        }
        for item in items {
            self.skip(&run, item).await;
        }
        self.armed.trigger("all faults have begun or are skipped");
        Ok(())
    }

    async fn skip(&self, run: &Run, item: &Item) {
        let reason = self.over.reason().unwrap_or_default();
        run.skip(item, &format!("its phase had ended: {reason}")).await;
    }
}

impl Run {
    /// Injects a fault if it may be; says so if not.
    pub(crate) async fn begin(self: &Arc<Self>, item: Arc<Item>) {
        if let Err(why) = self.try_begin(Arc::clone(&item)) {
            self.skip(&item, &why).await;
        }
    }

    /// Injects a fault; or says why it may not be.
    pub(crate) fn try_begin(self: &Arc<Self>, item: Arc<Item>) -> Result<(), String> {
        let claim = self.board.claim(&self.plan, &item)?;
        let run = Arc::clone(self);
        self.tasks.spawn("fault", service::OnError::Log, async move {
            fault::live(run, item, claim).await;
            Ok::<(), std::convert::Infallible>(())
        });
        Ok(())
    }
}

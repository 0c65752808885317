//! Watching one instance: as load reaches it, directly, and as a process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use platform::InstanceState;
use prober::Check;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::guard::Heard;
use crate::options::Moment;
use crate::place::{Place, Watched};
use crate::run::Shared;
use crate::trouble::{Process, Trouble};

/// One look at an instance in all ways.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) instance: usize,
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
    /// What is wrong as load sees it, or with its process; `None` = it is well.
    pub(crate) trouble: Option<Trouble>,
    /// Whether its process runs and answers who asks it directly.
    pub(crate) well_itself: bool,
    /// Its process.
    pub(crate) pid: Option<u32>,
}

/// Watches one instance for its guard.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) shared: Arc<Shared>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) instance: usize,
    /// Where in the interval its probes are: so that not all are at one time.
    pub(crate) shift: Duration,
    /// Time between two probes now.
    pub(crate) pace: watch::Receiver<Duration>,
    /// It is to be looked at at once.
    pub(crate) nudge: Arc<Notify>,
    pub(crate) heard: mpsc::Sender<Heard>,
}

impl Watcher {
    /// Until the run is not watched any more. It is looked at when watching begins, at each interval, when a phase begins, and
    /// when somebody wants to know.
    pub(crate) async fn run(mut self) -> Result<(), Infallible> {
        let stop = self.shared.stop.clone();
        let mut phase = self.shared.phase.subscribe();
        let grid = Instant::now() + self.shift;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.triggered() => return Ok(()),
                () = self.nudge.notified() => {}
                changed = phase.changed() => if changed.is_err() { return Ok(()) },
                changed = self.pace.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    next = self.after(grid, Instant::now());
                    continue;
                }
                () = tokio::time::sleep_until(next) => {}
            }
            let round = tokio::select! {
                biased;
                () = stop.triggered() => return Ok(()),
                round = self.look() => round,
            };
            next = self.after(grid, Instant::now());
            if self.heard.send(Heard::Round(round)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// When the next look is due.
    fn after(&self, grid: Instant, now: Instant) -> Instant {
        let pace = *self.pace.borrow();
        if pace < self.watched.recovery.interval {
            return now + pace;
        }
        let since = now.saturating_duration_since(grid).as_nanos();
        let gone = if now < grid { 0 } else { since / pace.as_nanos().max(1) + 1 };
        grid + pace.saturating_mul(u32::try_from(gone).unwrap_or(u32::MAX))
    }

    async fn look(&self) -> Round {
        let Some(place) = self.watched.places.get(self.instance) else { std::future::pending().await };
        let begun = self.shared.now();
        let by = self.shared.by(&self.watched.target.name, self.instance);
        let (way, direct) = ways(place, by.clone());
        let looks = async {
            match &direct {
                Some(direct) => tokio::join!(way.look(), async { Some(direct.look().await) }),
                None => (way.look().await, None),
            }
        };
        let (way, direct) = looks.await;
        // Afterwards: what had ended before a probe failed is seen to have.
        let (process, pid) = self.process(place).await;
        let gone = matches!(process, Process::Ended(_));
        let own_well = direct.as_ref().map_or_else(|| way.is_ok(), Result::is_ok);
        let trouble = (gone || way.is_err()).then(|| Trouble {
            process,
            way: way.err(),
            by: by.filter(|_| direct.is_some()),
            direct: direct.map(|direct| direct.map(|healthy| healthy.took)),
        });
        let ended = self.shared.now();
        Round { instance: self.instance, begun, ended, trouble, well_itself: !gone && own_well, pid }
    }

    async fn process(&self, place: &Place) -> (Process, Option<u32>) {
        let (Some(platform), Some(id)) = (&self.shared.platform, &place.process) else {
            return (Process::Unknown, None);
        };
        match platform.instance(id).await {
            Ok(instance) => {
                let pid = instance.process.as_ref().map(|process| process.pid);
                let process = match instance.state {
                    InstanceState::Running => Process::Runs,
                    InstanceState::Paused => Process::Stopped,
                    InstanceState::Created => Process::Ended("it was never started".to_owned()),
                    InstanceState::Exited => {
                        Process::Ended(instance.status.unwrap_or_else(|| "nobody knows how".to_owned()))
                    }
                };
                (process, pid)
            }
            Err(error) => {
                tracing::warn!(%error, "a process cannot be looked at");
                (Process::Unknown, None)
            }
        }
    }
}

/// How to look at an instance as load reaches it, and directly where that is another way.
fn ways(place: &Place, by: Option<String>) -> (Check, Option<Check>) {
    match by {
        Some(_) => (Check { by, ..place.way.clone() }, Some(place.direct.clone())),
        None => (place.direct.clone(), None),
    }
}

//! Active health checks of endpoints, where the plan asks for them: done here and not on the load threads, which are told what
//! came of them.
//!
//! Each worker checks for itself, as each client of a real pool would. An endpoint counts as healthy until so many checks in
//! a row have failed.

use std::convert::Infallible;
use std::time::Duration;

use plan::Plan;
use plan::model::{HealthCheck, Target};
use prober::{Check, Connector, Expects};
use service::{OnError, Shutdown, Tasks};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::endpoints::Url;
use crate::spec::{Endpoint, TargetSpec};

/// Changes that may wait for the service loop; whoever finds no room waits.
const TURNS: usize = 64;

/// How long checks may take to end when their run does.
const WIND_UP: Duration = Duration::from_secs(2);

/// An endpoint is healthy now, or is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) target: u32,
    pub(super) endpoint: u32,
    pub(super) healthy: bool,
    /// What the last check saw.
    pub(super) seen: String,
}

/// The checks of a run.
pub(super) struct HealthChecks {
    tasks: Tasks,
    stop: Shutdown,
    turns: mpsc::Receiver<Turned>,
    /// The phase that runs: an endpoint is looked at by the way that load takes.
    phase: watch::Sender<Option<u32>>,
}

impl HealthChecks {
    /// Begins those that the plan asks for. `targets`: the plan's, resolved.
    pub(super) fn start(plan: &Plan, targets: &[TargetSpec]) -> Self {
        let stop = Shutdown::new();
        let tasks = Tasks::new(stop.clone());
        // Without a check the sender is gone: there is nothing to wait for.
        let (sender, turns) = mpsc::channel(TURNS);
        let (phase, phases) = watch::channel(None);
        for (number, (target, spec)) in (0..).zip(plan.targets.iter().zip(targets)) {
            let Some(check) = &target.balancing.health_check else { continue };
            let count = u32::try_from(spec.endpoints.len()).unwrap_or(u32::MAX);
            for (endpoint, resolved) in (0..).zip(&spec.endpoints) {
                let watcher = Watcher {
                    target: number,
                    endpoint,
                    look: look(target, resolved, check),
                    resolved: resolved.clone(),
                    streak: Streak::new(check),
                    // Not all at one time.
                    begin: Instant::now() + check.interval / count.max(1) * endpoint,
                    every: check.interval,
                    phase: phases.clone(),
                    turns: sender.clone(),
                };
                tasks.spawn("health check", OnError::Log, watcher.run(stop.clone()));
            }
        }
        Self { tasks, stop, turns, phase }
    }

    /// Load goes by the ways of this phase from now on.
    pub(super) fn phase(&self, index: u32) {
        self.phase.send_replace(Some(index));
    }

    /// The next endpoint that turns; never, where nothing is checked.
    pub(super) async fn next(&mut self) -> Turned {
        match self.turns.recv().await {
            Some(turned) => turned,
            None => std::future::pending().await,
        }
    }

    /// Ends them.
    pub(super) async fn finish(&mut self) {
        self.stop.trigger("the run is over");
        // Whoever waits to tell something is let go.
        self.turns.close();
        let late = self.tasks.finish(WIND_UP).await;
        if !late.is_empty() {
            tracing::warn!(checks = late.len(), "health checks did not end in time and are given up");
        }
    }
}

/// How an endpoint is looked at when no detour is taken.
fn look(target: &Target, endpoint: &Endpoint, check: &HealthCheck) -> Check {
    let authority = Url::parse(&endpoint.url).map(|url| url.authority()).unwrap_or_default();
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    let url = match &check.path {
        Some(path) => format!("{scheme}://{authority}{path}"),
        None => format!("tcp://{authority}"),
    };
    let connector = match &endpoint.tls {
        Some(tls) => {
            let mut config = rustls::ClientConfig::clone(&tls.config);
            // A check speaks HTTP/1.1 whatever load does.
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Connector::Ready(config.into(), target.tls.server_name.clone())
        }
        None => Connector::Broken("the endpoint speaks no TLS".to_owned()),
    };
    let by = target.way_to(&endpoint.url);
    Check { url, expects: Expects::Success, connector, by, timeout: check.timeout }
}

/// Who checks one endpoint.
struct Watcher {
    target: u32,
    endpoint: u32,
    look: Check,
    resolved: Endpoint,
    streak: Streak,
    begin: Instant,
    every: Duration,
    phase: watch::Receiver<Option<u32>>,
    turns: mpsc::Sender<Turned>,
}

impl Watcher {
    async fn run(self, stop: Shutdown) -> Result<(), Infallible> {
        tokio::select! {
            () = stop.triggered() => {}
            () = self.watch() => {}
        }
        Ok(())
    }

    /// Until nobody wants to know.
    async fn watch(mut self) {
        let mut ticks = interval_at(self.begin, self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let phase = *self.phase.borrow();
            let detour = phase.is_some_and(|phase| self.resolved.is_detoured_in(phase));
            let mut look = self.look.clone();
            if detour && let Some(address) = self.resolved.way(true).first() {
                look.by = Some(address.to_string());
            }
            let seen = look.look().await;
            let Some(healthy) = self.streak.note(seen.is_ok()) else { continue };
            let seen = match seen {
                Ok(_) => format!("{} checks in a row passed", self.streak.rise),
                Err(failure) => format!("{} checks in a row failed: {failure}", self.streak.fall),
            };
            let Self { target, endpoint, .. } = self;
            if self.turns.send(Turned { target, endpoint, healthy, seen }).await.is_err() {
                return;
            }
        }
    }
}

/// So many in a row, and it turns.
#[derive(Clone, Copy, Debug)]
struct Streak {
    healthy: bool,
    /// Checks in a row that say the contrary.
    against: u32,
    fall: u32,
    rise: u32,
}

impl Streak {
    const fn new(check: &HealthCheck) -> Self {
        Self { healthy: true, against: 0, fall: check.unhealthy_threshold, rise: check.healthy_threshold }
    }

    /// Notes a check; what it is now, when that turns it.
    const fn note(&mut self, passed: bool) -> Option<bool> {
        if passed == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if self.healthy { self.fall } else { self.rise };
        if self.against < enough {
            return None;
        }
        (self.healthy, self.against) = (passed, 0);
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_in_a_row_to_turn() {
        let check = HealthCheck { unhealthy_threshold: 3, healthy_threshold: 2, ..HealthCheck::default() };
        let mut streak = Streak::new(&check);
        let said = [true, false, false, true, false, false, false, false, true, false, true, true, true]
            .map(|passed| streak.note(passed));
        let (none, down, up) = (None, Some(false), Some(true));
        assert_eq!(said, [none, none, none, none, none, none, down, none, none, none, none, up, none]);
    }
}

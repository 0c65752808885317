//! A run as far as recovery has part in it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::service::{OnError, Shutdown, Tasks};
use bus::{Bus, News, SchedulerClock};
use plan::Plan;
use platform::{EventKind, EventSource, InstanceId, InstanceState, Platform};
use protocol::event::Event;
use protocol::faults::RecoveryView;
use protocol::id::RunId;
use protocol::v1;
use tokio::sync::{oneshot, watch};

use crate::board::Board;
use crate::cause::{Cause, Journal, Onset};
use crate::guard::{Ear, Guard, Heard};
use crate::options::Moment;
use crate::place::Watched;
use crate::route::Route;

/// How long actions that are under way may take to end when the run does.
const END: Duration = Duration::from_secs(5);
/// The pause before a platform is asked again that did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The phase that began last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) index: u32,
    /// It has not ended.
    pub(crate) is_on: bool,
}

/// What all parts of a run share.
pub(crate) struct Shared {
    pub(crate) run: RunId,
    pub(crate) bus: Bus,
    pub(crate) plan: Plan,
    pub(crate) platform: Option<Arc<dyn Platform>>,
    pub(crate) news: News,
    pub(crate) board: Board,
    clock: SchedulerClock,
    pub(crate) phase: watch::Sender<Option<Phase>>,
    /// Counts what chaos has told.
    pub(crate) faults_told: watch::Sender<u64>,
    pub(crate) stop: Shutdown,
    pub(crate) tasks: Tasks,
    journal: Mutex<Journal>,
    route: Mutex<Route>,
    /// Where the proxies of endpoints led to before load was led elsewhere.
    primaries: Mutex<BTreeMap<(String, usize), String>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("run", &self.run).finish_non_exhaustive()
    }
}

/// What a run is made from.
pub(crate) struct Parts {
    pub(crate) run: RunId,
    pub(crate) bus: Bus,
    pub(crate) plan: Plan,
    pub(crate) platform: Option<Arc<dyn Platform>>,
    pub(crate) clock: SchedulerClock,
    pub(crate) route: Route,
    pub(crate) watched: Vec<Watched>,
}

/// A run that was opened.
#[derive(Debug)]
pub(crate) struct Run {
    shared: Arc<Shared>,
    /// What is to be watched from the first phase on; taken when that begins.
    watched: Mutex<Vec<Watched>>,
    ears: Mutex<Vec<Ear>>,
}

impl Run {
    /// Takes part in a run from now on.
    pub(crate) fn open(parts: Parts, service: &Shutdown) -> Self {
        let Parts { run, bus, plan, platform, clock, route, watched } = parts;
        let stop = service.child();
        let tasks = Tasks::new(stop.clone());
        let news =
            News::start::<v1::RecoveryNews>("recovery news", run, bus.clone(), &tasks, service.clone());
        let budgets = crate::budgets::view(&plan.budgets);
        let board = Board::new(RecoveryView { budgets, ..RecoveryView::default() });
        let shared = Shared {
            run,
            bus,
            plan,
            platform,
            news,
            board,
            clock,
            phase: watch::Sender::new(None),
            faults_told: watch::Sender::new(0),
            stop,
            tasks,
            journal: Mutex::default(),
            route: Mutex::new(route),
            primaries: Mutex::default(),
        };
        Self { shared: Arc::new(shared), watched: Mutex::new(watched), ears: Mutex::default() }
    }

    /// Load takes other ways from now on.
    pub(crate) fn reroute(&self, route: Route) {
        *lock(&self.shared.route) = route;
    }

    /// A phase begins. With the first, watching does.
    ///
    /// # Errors
    /// When the platform cannot be asked for events.
    pub(crate) async fn begin_phase(&self, index: u32) -> Result<(), String> {
        // Stamps are compared with those of chaos, which may be on another host: both go by the scheduler's clock.
        self.shared.clock.measure(&self.shared.bus).await;
        self.shared.phase.send_replace(Some(Phase { index, is_on: true }));
        let watched = std::mem::take(&mut *lock(&self.watched));
        if watched.is_empty() {
            return Ok(());
        }
        // Before the first look, so that no end is missed in between.
        let events = self.shared.platform.as_ref().map(|platform| platform.events()).transpose();
        let events = events.map_err(|error| error.to_string())?;
        let mut number = 0;
        let mut processes: BTreeMap<InstanceId, Vec<(Ear, usize)>> = BTreeMap::new();
        for target in watched {
            let (places, count) = (target.places.clone(), target.places.len());
            let ear = Guard::start(&self.shared, target, number);
            for (instance, place) in places.into_iter().enumerate() {
                if let Some(process) = place.process {
                    processes.entry(process).or_default().push((ear.clone(), instance));
                }
            }
            number += count;
            lock(&self.ears).push(ear);
        }
        if let Some(events) = events {
            let listen = listen(Arc::clone(&self.shared), events, processes);
            self.shared.tasks.spawn("process events", OnError::Log, listen);
        }
        Ok(())
    }

    /// A phase is over: what there is to tell of it is told and durable. The number of the last record, and the incidents that
    /// are open.
    ///
    /// # Errors
    /// When targets are not watched any more, or what there is to tell cannot be recorded.
    pub(crate) async fn end_phase(&self, index: u32) -> Result<(u64, Vec<String>), String> {
        self.shared.phase.send_if_modified(|phase| match phase {
            Some(phase) if phase.index == index => std::mem::replace(&mut phase.is_on, false),
            _ => false,
        });
        let ears = lock(&self.ears).clone();
        for ear in ears {
            let (done, told) = oneshot::channel();
            // A guard that has ended has told everything.
            let _ = ear.send(Heard::Flush(done)).await;
            let _ = told.await;
        }
        if let Some(reason) = self.shared.stop.reason() {
            return Err(format!("recovery does not watch the run any more: {reason}"));
        }
        let told = self.shared.news.all().await.durable().await;
        let last = told.ok_or("recovery is ending: its news are not durable")?;
        Ok((last, self.shared.board.open()))
    }

    /// Ends watching and acting; what there is to tell is durable then, if the log takes it. What is shown of it.
    pub(crate) async fn end(&self, reason: &str) -> RecoveryView {
        self.shared.stop.trigger(reason);
        lock(&self.watched).clear();
        lock(&self.ears).clear();
        let ended = async {
            // All but who writes news, which ends with the last who tells.
            while self.shared.tasks.running().len() > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(END, ended).await.is_err() {
            tracing::warn!(run = %self.shared.run, "an action of recovery did not end in time");
        }
        self.shared.news.all().await.durable().await;
        self.shared.tasks.abort();
        self.view()
    }

    /// What is shown of it.
    pub(crate) fn view(&self) -> RecoveryView {
        self.shared.board.view()
    }

    /// Chaos has told something at this stamp.
    pub(crate) fn fault_told(&self, at_unix_ns: i64, event: &Event) {
        lock(&self.shared.journal).told(at_unix_ns, event);
        self.shared.faults_told.send_modify(|told| *told += 1);
    }
}

impl Shared {
    /// Now.
    pub(crate) fn now(&self) -> Moment {
        Moment::now(&self.clock)
    }

    /// The ways of load as they are now.
    pub(crate) fn route(&self) -> Route {
        lock(&self.route).clone()
    }

    /// The address by which load reaches an instance now; `None` = its own.
    pub(crate) fn by(&self, target: &str, instance: usize) -> Option<String> {
        let phase = self.phase.borrow().map(|phase| phase.index);
        lock(&self.route).by(target, instance, phase)
    }

    /// Where an instance's own load leads to, once that was `found`.
    pub(crate) fn primary(&self, target: &str, instance: usize, found: Option<String>) -> Option<String> {
        let mut primaries = lock(&self.primaries);
        let key = (target.to_owned(), instance);
        if let Some(found) = found {
            primaries.insert(key.clone(), found);
        }
        primaries.get(&key).cloned()
    }

    /// Whether a fault is over, by what is known now.
    pub(crate) fn is_over(&self, fault: &str) -> bool {
        lock(&self.journal).is_over(fault)
    }

    /// The fault that explains it, by what is known now.
    pub(crate) fn explain(&self, onset: &Onset) -> Option<Cause> {
        lock(&self.journal).explain(onset)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is valid between any two statements.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells guards of starts and ends of their processes.
async fn listen(
    shared: Arc<Shared>,
    mut events: Box<dyn EventSource>,
    processes: BTreeMap<InstanceId, Vec<(Ear, usize)>>,
) -> Result<(), Infallible> {
    loop {
        let event = tokio::select! {
            biased;
            () = shared.stop.triggered() => return Ok(()),
            event = events.next() => event,
        };
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "the platform tells of no processes now");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(ears) = processes.get(&event.instance) else { continue };
        let ended = match event.kind {
            EventKind::Started => None,
            EventKind::Exited { status, .. } => {
                if runs_again(&shared, &event.instance, event.generation).await {
                    None
                } else {
                    Some(status.unwrap_or_else(|| "nobody knows how".to_owned()))
                }
            }
        };
        for (ear, instance) in ears {
            let heard = ended.clone().map_or(Heard::Started(*instance), |how| Heard::Ended(*instance, how));
            // A guard that has ended wants to know nothing more.
            let _ = ear.send(heard).await;
        }
    }
}

/// Whether a later life of it has begun than the one whose end was told.
async fn runs_again(shared: &Shared, id: &InstanceId, generation: u32) -> bool {
    let Some(platform) = &shared.platform else { return false };
    let found = platform.instance(id).await;
    found.is_ok_and(|found| found.generation > generation && found.state == InstanceState::Running)
}

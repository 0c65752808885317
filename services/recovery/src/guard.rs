//! The guard of one target: hears what is seen of its instances, opens and closes incidents, and has them acted upon.

mod decide;
mod tell;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use plan::model::Strategy;
use protocol::faults::ActionOutcome;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::actions::{Acted, Deed};
use crate::condition::Condition;
use crate::health::{Round, Watcher};
use crate::host::Host;
use crate::incident::Incident;
use crate::options::Moment;
use crate::place::Watched;
use crate::run::Shared;
use crate::trouble::Trouble;

/// What waits for a guard; when there is more, those who tell it wait, too.
const QUEUE: usize = 256;

/// The longest pause before load is led back once more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a guard waits at the run's end for what is being done.
const LAST_ACTIONS: Duration = Duration::from_secs(4);

/// What a guard hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An instance was looked at.
    Round(Round),
    /// An instance's process has ended, in these words.
    Ended(usize, String),
    /// An instance's process was started: it may be well sooner than the next look.
    Started(usize),
    /// All that is known is to be told now; then this is answered.
    Flush(oneshot::Sender<()>),
}

/// Where a guard is told things.
pub(crate) type Ear = mpsc::Sender<Heard>;

/// The guard of a target.
#[derive(Debug)]
pub(crate) struct Guard {
    shared: Arc<Shared>,
    watched: Arc<Watched>,
    conditions: Vec<Condition>,
    /// Those that are open.
    incidents: Vec<Incident>,
    /// Incidents so far.
    opened: u32,
    restarts: u32,
    /// Instances whose load is led to the backup.
    led: BTreeMap<usize, Led>,
    host: Host,
    /// Time between two probes.
    pace: watch::Sender<Duration>,
    nudges: Vec<Arc<Notify>>,
    acted: (mpsc::Sender<Acted>, mpsc::Receiver<Acted>),
    /// Actions that have not ended.
    under_way: usize,
}

/// An instance whose load goes to the backup.
#[derive(Debug)]
struct Led {
    /// For which incident.
    incident: String,
    /// The fault that explains that.
    fault: Option<String>,
    /// It was the way to it that was at fault: that it answers directly says nothing.
    way_alone: bool,
    /// It is being led back.
    returning: bool,
    /// Times that it was tried in vain.
    tries: u32,
    /// Not before then is it tried.
    from: Instant,
}

impl Led {
    fn new(incident: &Incident, now: Instant) -> Self {
        Self {
            incident: incident.id.clone(),
            fault: incident.cause.as_ref().map(|cause| cause.fault.clone()),
            way_alone: incident.onset.way_alone,
            returning: false,
            tries: 0,
            from: now,
        }
    }
}

impl Guard {
    /// Begins to watch a target; `number` = instances that are watched already. Its ear.
    pub(crate) fn start(shared: &Arc<Shared>, watched: Watched, number: usize) -> Ear {
        let watched = Arc::new(watched);
        let (ear, heard) = mpsc::channel(QUEUE);
        let (pace, paces) = watch::channel(watched.recovery.interval);
        let now = shared.now();
        let mut guard = Self {
            shared: Arc::clone(shared),
            watched: Arc::clone(&watched),
            conditions: Vec::new(),
            incidents: Vec::new(),
            opened: 0,
            restarts: 0,
            led: BTreeMap::new(),
            host: Host::default(),
            pace,
            nudges: Vec::new(),
            acted: mpsc::channel(QUEUE),
            under_way: 0,
        };
        for instance in 0..watched.places.len() {
            let nudge = Arc::new(Notify::new());
            guard.nudges.push(Arc::clone(&nudge));
            guard.conditions.push(Condition::new(now));
            let watcher = Watcher {
                shared: Arc::clone(shared),
                watched: Arc::clone(&watched),
                instance,
                shift: shift(watched.recovery.interval, number + instance),
                pace: paces.clone(),
                nudge,
                heard: ear.clone(),
            };
            shared.tasks.spawn("health", ::service::OnError::ShutDown, watcher.run());
        }
        guard.show();
        shared.tasks.spawn("guard", ::service::OnError::ShutDown, guard.run(heard));
        ear
    }

    async fn run(mut self, mut heard: mpsc::Receiver<Heard>) -> Result<(), Infallible> {
        let stop = self.shared.stop.clone();
        let mut told = self.shared.faults_told.subscribe();
        loop {
            let due = self.incidents.iter().filter_map(Incident::tell_by).min();
            tokio::select! {
                biased;
                () = stop.triggered() => break,
                Some(acted) = self.acted.1.recv() => self.acted(acted).await,
                changed = told.changed() => if changed.is_ok() { self.explain_again().await },
                heard = heard.recv() => match heard {
                    Some(heard) => self.heard(heard).await,
                    None => break,
                },
                () = at(due) => self.tell_due(false).await,
            }
        }
        self.tell_due(true).await;
        // What is being done is told, too, if it ends soon.
        let finished = async {
            while self.under_way > 0
                && let Some(acted) = self.acted.1.recv().await
            {
                self.acted(acted).await;
            }
        };
        if tokio::time::timeout(LAST_ACTIONS, finished).await.is_err() {
            tracing::warn!(run = %self.shared.run, target = self.watched.target.name, "an action did not end with the run");
        }
        Ok(())
    }

    async fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Round(mut round) => {
                let (instance, ended) = (round.instance, round.ended);
                self.host.read();
                if let Some(led) = self.led.get(&instance) {
                    if led.returning {
                        return;
                    }
                    // Load does not need it now.
                    round.trouble = round.trouble.filter(Trouble::is_felt_by_load);
                }
                if self.conditions.get_mut(instance).is_some_and(|condition| condition.saw(round)) {
                    self.look(instance, ended).await;
                }
            }
            Heard::Ended(instance, how) => {
                // An end that is our doing, or of what stands idle, is no news.
                if !self.is_acted_upon(instance) && !self.led.contains_key(&instance) {
                    let now = self.shared.now();
                    if let Some(condition) = self.conditions.get_mut(instance) {
                        condition.fell(Trouble::ended(how));
                        condition.bad = condition.bad.max(self.watched.recovery.fall);
                    }
                    self.look(instance, now).await;
                }
                self.nudge(instance);
            }
            Heard::Started(instance) => self.nudge(instance),
            Heard::Flush(done) => {
                self.tell_due(true).await;
                // Who asked may not wait any more.
                let _ = done.send(());
            }
        }
    }

    fn nudge(&self, instance: usize) {
        self.nudges.get(instance).into_iter().for_each(|nudge| nudge.notify_one());
    }

    /// Something was seen of an instance.
    async fn look(&mut self, instance: usize, at: Moment) {
        let Some(condition) = self.conditions.get(instance) else { return };
        if condition.is_bad() {
            // Silence on a busy host is looked at once more: it may be ours.
            let doubtful = self.host.is_busy() && condition.trouble.as_ref().is_some_and(Trouble::is_silence);
            let bad_enough = condition.bad >= self.watched.recovery.fall.saturating_add(u32::from(doubtful));
            match self.incidents.iter_mut().find(|incident| incident.covers(instance)) {
                Some(incident) => {
                    incident.instances.insert(instance);
                    // One look can be wrong about who asks directly, as on a busy host; what comes after it tells.
                    let way_alone = condition.trouble.as_ref().is_some_and(Trouble::way_alone);
                    incident.onset.way_alone |= way_alone && incident.done.is_empty();
                }
                None if bad_enough => self.open(instance, at),
                None => {}
            }
            if let Some(index) = self.incidents.iter().position(|incident| incident.covers(instance)) {
                self.act(index).await;
            }
        } else {
            self.close(at).await;
            self.lead_back(instance).await;
        }
        self.set_pace();
        self.show();
    }

    /// Ends incidents whose instances were well often enough.
    async fn close(&mut self, at: Moment) {
        let rise = self.watched.recovery.rise;
        let mut index = 0;
        while let Some(incident) = self.incidents.get(index) {
            let conditions =
                || incident.instances.iter().filter_map(|instance| self.conditions.get(*instance));
            let well =
                conditions().filter_map(|condition| condition.well_since).max_by_key(|well| well.monotonic);
            match well {
                Some(well) if !incident.acting && conditions().all(|condition| condition.good >= rise) => {
                    let incident = self.incidents.remove(index);
                    self.closed(incident, well, at).await;
                }
                _ => index += 1,
            }
        }
    }

    async fn closed(&mut self, mut incident: Incident, well: Moment, at: Moment) {
        self.explain(&mut incident);
        for led in self.led.values_mut().filter(|led| led.incident == incident.id) {
            led.fault = incident.cause.as_ref().map(|cause| cause.fault.clone());
        }
        self.tell_opened(&mut incident).await;
        self.shared.news.say(at.unix_ns, incident.closed(well, at)).await;
        self.shared.board.closed(&incident.id, at.unix_ns);
        if incident.done.contains(&Strategy::ShedLoad) {
            self.carry_out(incident.id, Deed::RestoreLoad, Vec::new());
        }
    }

    /// An action has ended.
    async fn acted(&mut self, acted: Acted) {
        self.under_way = self.under_way.saturating_sub(1);
        for instance in &acted.instances {
            if let Some(condition) = self.conditions.get_mut(*instance) {
                condition.acted(acted.ended.monotonic);
            }
            self.nudge(*instance);
        }
        let done = acted.outcome == ActionOutcome::Done;
        match acted.deed {
            Deed::Strategy(strategy) => {
                if let Some(incident) = self.incidents.iter_mut().find(|known| known.id == acted.incident) {
                    incident.acting = false;
                    incident.done.extend(done.then_some(strategy));
                    if strategy == Strategy::Failover && done {
                        let led = |instance: &usize| (*instance, Led::new(incident, acted.ended.monotonic));
                        self.led.extend(acted.instances.iter().map(led));
                    }
                }
            }
            Deed::FailBack => {
                let pause = self.watched.recovery.interval;
                for instance in &acted.instances {
                    match self.led.get_mut(instance) {
                        Some(_) if done => {
                            self.led.remove(instance);
                        }
                        Some(led) => {
                            led.tries += 1;
                            let pause = pause.saturating_mul(1 << led.tries.min(16)).min(LONGEST_PAUSE);
                            (led.returning, led.from) = (false, acted.ended.monotonic + pause);
                        }
                        None => {}
                    }
                }
            }
            Deed::RestoreLoad => {}
        }
        let took_ms = acted.ended.ms_since(acted.began);
        self.tell_acted(&acted.incident, acted.deed.name(), acted.outcome, acted.detail, took_ms).await;
        self.set_pace();
        self.show();
    }

    fn set_pace(&self) {
        let alert = !self.incidents.is_empty() || self.conditions.iter().any(Condition::is_bad);
        let wanted = if alert { self.watched.alert_interval() } else { self.watched.recovery.interval };
        // Watchers are told of changes only.
        self.pace.send_if_modified(|pace| std::mem::replace(pace, wanted) != wanted);
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Where in the interval the probes of the n-th instance are: spread evenly, whatever their number.
fn shift(interval: Duration, number: usize) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    interval.mul_f64((number as f64 * GOLDEN).fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_of_several_instances_are_spread_over_the_interval() {
        let mut shifts: Vec<Duration> = (0..5).map(|number| shift(Duration::from_secs(5), number)).collect();
        shifts.sort();
        assert!(shifts.iter().all(|shift| *shift < Duration::from_secs(5)));
        assert!(shifts.windows(2).all(|pair| pair[1] - pair[0] > Duration::from_millis(500)), "{shifts:?}");
    }
}

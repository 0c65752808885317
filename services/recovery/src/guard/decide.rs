//! What a guard opens incidents for, and what it has done about them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::service::OnError;
use protocol::faults::{ActionOutcome, Issue};
use tokio::time::Instant;

use super::Guard;
use crate::actions::{Deed, Facts, Order, Progress, Step};
use crate::cause::Onset;
use crate::condition::Condition;
use crate::incident::Incident;
use crate::options::Moment;
use crate::trouble::{Process, Trouble};

impl Guard {
    /// An instance is in trouble that no open incident covers.
    pub(super) fn open(&mut self, instance: usize, at: Moment) {
        let (Some(condition), Some(place)) =
            (self.conditions.get(instance), self.watched.places.get(instance))
        else {
            return;
        };
        let Some(trouble) = &condition.trouble else { return };
        let used_up = match trouble.process {
            Process::Runs => self.host.used_up(condition.pid),
            _ => None,
        };
        let bad = self.conditions.iter().filter(|condition| condition.is_bad()).count();
        let issue = trouble.issue(bad, self.conditions.len(), used_up.as_deref());
        let whole = issue == Issue::CascadingFailure;
        let covered = |instance: &usize| self.incidents.iter().any(|incident| incident.covers(*instance));
        let instances: BTreeSet<usize> = if whole {
            let bad = self.conditions.iter().enumerate().filter(|(_, condition)| condition.is_bad());
            bad.map(|(index, _)| index).filter(|index| !covered(index)).collect()
        } else {
            BTreeSet::from([instance])
        };
        let onset = Onset {
            target: self.watched.target.name.clone(),
            names: if whole { Vec::new() } else { place.names.clone() },
            well_ns: condition.well_ns,
            detected_ns: at.unix_ns,
            way_alone: trouble.way_alone(),
            linger_ns: i64::try_from(self.watched.recovery.interval.as_nanos()).unwrap_or(i64::MAX),
        };
        let mut seen = trouble.words();
        if whole {
            seen =
                format!("{bad} of {} instances are not well; {}: {seen}", self.conditions.len(), place.name);
        }
        if let Some(used_up) = used_up.filter(|_| issue == Issue::ResourceExhaustion) {
            seen = format!("{seen}; {used_up}");
        }
        self.opened += 1;
        let target = self.watched.target.name.clone();
        let mut incident = Incident {
            id: format!("{target}-{}", self.opened),
            target,
            instances,
            instance: (!whole).then(|| place.name.clone()),
            issue,
            seen,
            onset,
            detected: at,
            cause: None,
            told: false,
            acting: false,
            progress: Progress::default(),
            done: Vec::new(),
        };
        self.explain(&mut incident);
        tracing::info!(run = %self.shared.run, incident = incident.id, seen = incident.seen, "incident");
        self.shared.board.opened(incident.view());
        self.incidents.push(incident);
    }

    /// Does what can be done next about an incident.
    pub(super) async fn act(&mut self, index: usize) {
        let Some(incident) = self.incidents.get(index).filter(|incident| !incident.acting) else { return };
        let facts = self.facts(incident);
        let strategies = self.watched.recovery.strategy.clone();
        let Some(incident) = self.incidents.get_mut(index) else { return };
        let id = incident.id.clone();
        for step in incident.progress.next(&strategies, &facts, Instant::now()) {
            match step {
                Step::NotPossible(strategy, why) => {
                    let outcome = ActionOutcome::NotPossible;
                    self.tell_acted(&id, strategy.name(), outcome, why.to_owned(), 0).await;
                }
                Step::Act(strategy, instances) => {
                    if strategy == plan::model::Strategy::Restart {
                        self.restarts =
                            self.restarts.saturating_add(u32::try_from(instances.len()).unwrap_or(u32::MAX));
                    }
                    if let Some(incident) = self.incidents.get_mut(index) {
                        incident.acting = true;
                    }
                    self.carry_out(id.clone(), Deed::Strategy(strategy), instances);
                }
            }
        }
    }

    fn facts(&self, incident: &Incident) -> Facts {
        let name = &self.watched.target.name;
        let troubles: Vec<(usize, &Trouble)> = incident
            .instances
            .iter()
            .filter_map(|instance| Some((*instance, self.conditions.get(*instance)?.trouble.as_ref()?)))
            .collect();
        let places = &self.watched.places;
        let is_ours = |instance: usize| places.get(instance).is_some_and(|place| place.process.is_some());
        let which = |wanted: &dyn Fn(usize, &Trouble) -> bool| -> Vec<usize> {
            troubles
                .iter()
                .filter(|(instance, trouble)| wanted(*instance, trouble))
                .map(|(at, _)| *at)
                .collect()
        };
        let route = self.shared.route();
        Facts {
            restartable: which(&|instance, trouble| is_ours(instance) && !trouble.way_alone()),
            has_process: self.shared.platform.is_some() && incident.instances.iter().any(|at| is_ours(*at)),
            restarts_left: self.restarts_left(),
            leadable: which(&|instance, _| {
                !self.led.contains_key(&instance)
                    && self.shared.by(name, instance).is_some()
                    && route.leads(name, instance)
            }),
            led: incident.instances.iter().all(|instance| self.led.contains_key(instance)),
            in_phase: self.shared.phase.borrow().is_some_and(|phase| phase.is_on),
            pause: self.watched.alert_interval(),
        }
    }

    pub(super) fn restarts_left(&self) -> u32 {
        self.watched.recovery.restarts.saturating_sub(self.restarts)
    }

    /// Whether something is being done to an instance.
    pub(super) fn is_acted_upon(&self, instance: usize) -> bool {
        self.incidents.iter().any(|incident| incident.acting && incident.covers(instance))
    }

    /// Has something done; the guard hears of its end.
    pub(super) fn carry_out(&mut self, incident: String, deed: Deed, instances: Vec<usize>) {
        self.under_way += 1;
        let (shared, watched) = (Arc::clone(&self.shared), Arc::clone(&self.watched));
        let order = Order { shared, watched, incident, deed, instances };
        let acted = self.acted.0.clone();
        self.shared.tasks.spawn("recovery action", OnError::Log, async move {
            let done = order.carry_out().await;
            // A guard that has ended wants to know nothing more.
            let _ = acted.send(done).await;
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Leads an instance's load back to it once it is well by itself, and nothing else is wrong with it.
    pub(super) async fn lead_back(&mut self, instance: usize) {
        let rise = self.watched.recovery.rise;
        let well =
            self.conditions.get(instance).is_some_and(|condition: &Condition| condition.well_itself >= rise);
        let busy = self.incidents.iter().any(|incident| incident.covers(instance));
        let Some(led) = self.led.get_mut(&instance).filter(|_| well && !busy) else { return };
        // Whether a broken way is whole again is seen by those who broke it, or by trying it, which load feels: seldom.
        let pause = if led.way_alone && led.fault.is_none() {
            self.watched.recovery.interval
        } else {
            Duration::ZERO
        };
        let broken = led.way_alone && led.fault.as_ref().is_some_and(|fault| !self.shared.is_over(fault));
        if led.returning || broken || Instant::now() < led.from + pause {
            return;
        }
        led.returning = true;
        let incident = led.incident.clone();
        self.carry_out(incident, Deed::FailBack, vec![instance]);
    }
}

//! What a guard tells, in the order in which it happened.

use protocol::event::Event;
use protocol::faults::{ActionOutcome, TargetView};
use tokio::time::Instant;

use super::Guard;
use crate::condition::Condition;
use crate::incident::Incident;

impl Guard {
    /// Looks for an incident's cause by what is known now.
    pub(super) fn explain(&self, incident: &mut Incident) {
        let found = self.shared.explain(&incident.onset);
        // What explained it once is not taken away by what is known later.
        if found.is_some() && found != incident.cause {
            incident.cause = found;
            let fault = incident.cause.as_ref().map(|cause| cause.fault.as_str());
            self.shared.board.explained(&incident.id, fault);
        }
    }

    /// Chaos has told something.
    pub(super) async fn explain_again(&mut self) {
        let mut incidents = std::mem::take(&mut self.incidents);
        for incident in &mut incidents {
            self.explain(incident);
        }
        self.incidents = incidents;
        self.tell_due(false).await;
    }

    /// Tells of incidents that wait for it no longer: `all`, or those that are explained or due.
    pub(super) async fn tell_due(&mut self, all: bool) {
        let now = Instant::now();
        let mut incidents = std::mem::take(&mut self.incidents);
        for incident in &mut incidents {
            let due = incident.tell_by().is_some_and(|by| by <= now);
            if all || due || incident.is_explained() {
                self.tell_opened(incident).await;
            }
        }
        self.incidents = incidents;
    }

    /// Tells of an incident's beginning, unless that was done.
    pub(super) async fn tell_opened(&self, incident: &mut Incident) {
        if !std::mem::replace(&mut incident.told, true) {
            self.shared.news.say(incident.detected.unix_ns, incident.opened()).await;
        }
    }

    /// Tells of something that was done about an incident, or could not be.
    pub(super) async fn tell_acted(
        &mut self,
        incident: &str,
        action: &str,
        outcome: ActionOutcome,
        detail: String,
        took_ms: u64,
    ) {
        let untold = self.incidents.iter_mut().find(|known| known.id == incident && !known.told);
        let opened = untold.map(|known| {
            known.told = true;
            (known.detected.unix_ns, known.opened())
        });
        if let Some((at, event)) = opened {
            self.shared.news.say(at, event).await;
        }
        self.shared.board.acted(incident, action, outcome, &detail);
        tracing::info!(run = %self.shared.run, incident, action, ?outcome, detail, "recovery acted");
        let (incident, action) = (incident.to_owned(), action.to_owned());
        let target = self.watched.target.name.clone();
        let event = Event::RecoveryActed { incident, target, action, outcome, detail, took_ms };
        self.shared.news.say(self.shared.now().unix_ns, event).await;
    }

    /// Shows how the target is.
    pub(super) fn show(&self) {
        let troubles = self.conditions.iter().zip(&self.watched.places).filter_map(|(condition, place)| {
            Some(format!("{}: {}", place.name, condition.trouble.as_ref()?.words()))
        });
        let troubles: Vec<String> = troubles.collect();
        let all_seen = self.conditions.iter().all(|condition| condition.seen);
        let healthy = all_seen && self.incidents.is_empty() && !self.conditions.iter().any(Condition::is_bad);
        let seen = match (troubles.is_empty(), healthy) {
            (false, _) => troubles.join("; "),
            (true, false) if !all_seen => "it was not looked at yet".to_owned(),
            (true, false) => "it is well, and that is being confirmed".to_owned(),
            (true, true) if self.led.is_empty() => "it is well".to_owned(),
            (true, true) => "the backup stands in for it".to_owned(),
        };
        self.shared.board.target(TargetView {
            target: self.watched.target.name.clone(),
            healthy,
            seen,
            interval_ms: u64::try_from(self.pace.borrow().as_millis()).unwrap_or(u64::MAX),
            restarts: (self.restarts, self.restarts_left()),
        });
    }
}

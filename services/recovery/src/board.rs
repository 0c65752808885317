//! What is shown of a run: health, incidents, actions, budgets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::faults::{ActionOutcome, IncidentView, RecoveryView, TargetView};

/// Incidents that are shown; of more, the first are left out.
const INCIDENTS: usize = 1_000;
/// Actions that are shown of an incident; of more, the last are left out.
const ACTIONS: usize = 50;

/// What a run's guards write and queries read.
#[derive(Debug)]
pub(crate) struct Board {
    view: Mutex<RecoveryView>,
}

impl Board {
    /// A board on which nothing has happened.
    pub(crate) const fn new(view: RecoveryView) -> Self {
        Self { view: Mutex::new(view) }
    }

    fn lock(&self) -> MutexGuard<'_, RecoveryView> {
        // It is a list of views, valid between any two statements.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it.
    pub(crate) fn view(&self) -> RecoveryView {
        self.lock().clone()
    }

    /// The ids of the incidents that are open.
    pub(crate) fn open(&self) -> Vec<String> {
        let view = self.lock();
        let open = view.incidents.iter().filter(|incident| incident.closed_unix_ns.is_none());
        open.map(|incident| incident.incident.clone()).collect()
    }

    /// A target's health.
    pub(crate) fn target(&self, shown: TargetView) {
        let mut view = self.lock();
        match view.targets.iter_mut().find(|known| known.target == shown.target) {
            Some(known) => *known = shown,
            None => view.targets.push(shown),
        }
    }

    /// An incident began.
    pub(crate) fn opened(&self, incident: IncidentView) {
        let mut view = self.lock();
        view.incidents.push(incident);
        if view.incidents.len() > INCIDENTS
            && let Some(closed) = view.incidents.iter().position(|known| known.closed_unix_ns.is_some())
        {
            view.incidents.remove(closed);
        }
    }

    /// An incident's cause is known.
    pub(crate) fn explained(&self, incident: &str, fault: Option<&str>) {
        self.of(incident, |known| known.fault = fault.map(ToOwned::to_owned));
    }

    /// Something was done about an incident.
    pub(crate) fn acted(&self, incident: &str, action: &str, outcome: ActionOutcome, detail: &str) {
        let outcome = match outcome {
            ActionOutcome::Done => "done",
            ActionOutcome::Failed => "failed",
            ActionOutcome::NotPossible => "not possible",
        };
        self.of(incident, |known| {
            if known.actions.len() < ACTIONS {
                known.actions.push(format!("{action}: {outcome}: {detail}"));
            }
        });
    }

    /// An incident is over.
    pub(crate) fn closed(&self, incident: &str, at_unix_ns: i64) {
        self.of(incident, |known| known.closed_unix_ns = Some(at_unix_ns));
    }

    fn of(&self, incident: &str, change: impl FnOnce(&mut IncidentView)) {
        let mut view = self.lock();
        if let Some(known) = view.incidents.iter_mut().rev().find(|known| known.incident == incident) {
            change(known);
        }
    }
}

//! An incident: trouble of a target, from its detection until the target was seen to be well again.

use std::collections::BTreeSet;
use std::time::Duration;

use plan::model::Strategy;
use protocol::event::Event;
use protocol::faults::{IncidentView, Issue};
use tokio::time::Instant;

use crate::actions::Progress;
use crate::cause::{Cause, Onset};
use crate::options::Moment;

/// An incident is told when its cause is known to be there, or so long after its detection: news of the fault are on their
/// way. It is acted upon at once.
const TELL_WITHIN: Duration = Duration::from_millis(250);

/// An incident that is open.
#[derive(Debug)]
pub(crate) struct Incident {
    pub(crate) id: String,
    pub(crate) target: String,
    /// Those that have to be well for it to be over.
    pub(crate) instances: BTreeSet<usize>,
    /// The instance, if it is one.
    pub(crate) instance: Option<String>,
    pub(crate) issue: Issue,
    pub(crate) seen: String,
    pub(crate) onset: Onset,
    pub(crate) detected: Moment,
    pub(crate) cause: Option<Cause>,
    pub(crate) told: bool,
    /// Something is being done about it.
    pub(crate) acting: bool,
    pub(crate) progress: Progress,
    /// What was done and verified, in order.
    pub(crate) done: Vec<Strategy>,
}

impl Incident {
    /// Whether it is an incident of this instance, too.
    pub(crate) fn covers(&self, instance: usize) -> bool {
        self.instances.contains(&instance) || self.issue == Issue::CascadingFailure
    }

    /// When it is to be told at the latest; `None` = it was.
    pub(crate) fn tell_by(&self) -> Option<Instant> {
        (!self.told).then(|| self.detected.monotonic + TELL_WITHIN)
    }

    /// Whether all is known that is worth waiting for before it is told.
    pub(crate) fn is_explained(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.injected_ns.is_some())
    }

    /// Its beginning, as it is told.
    pub(crate) fn opened(&self) -> Event {
        Event::IncidentOpened {
            incident: self.id.clone(),
            target: self.target.clone(),
            issue: self.issue,
            instance: self.instance.clone(),
            seen: self.seen.clone(),
            fault: self.cause.as_ref().map(|cause| cause.fault.clone()),
            detected_after_ms: self.cause.as_ref().map(|cause| cause.ms_until(self.detected.unix_ns)),
        }
    }

    /// Its end: the target was well from `well` on, and was confirmed to be at `confirmed`.
    pub(crate) fn closed(&self, well: Moment, confirmed: Moment) -> Event {
        Event::IncidentClosed {
            incident: self.id.clone(),
            target: self.target.clone(),
            how: self.how(well).to_owned(),
            fault: self.cause.as_ref().map(|cause| cause.fault.clone()),
            recovered_after_ms: well.ms_since(self.detected),
            validated_after_ms: confirmed.ms_since(well),
        }
    }

    /// What ended it.
    fn how(&self, well: Moment) -> &'static str {
        let healing = self.done.iter().rev().find(|strategy| **strategy != Strategy::ShedLoad);
        let fault_ended =
            self.cause.as_ref().is_some_and(|cause| cause.ended_ns.is_some_and(|at| at <= well.unix_ns));
        match healing {
            Some(strategy) => strategy.name(),
            None if fault_ended => "the fault ended",
            None if self.done.contains(&Strategy::ShedLoad) => Strategy::ShedLoad.name(),
            None => "by itself",
        }
    }

    /// As it is shown.
    pub(crate) fn view(&self) -> IncidentView {
        IncidentView {
            incident: self.id.clone(),
            target: self.target.clone(),
            issue: self.issue,
            seen: self.seen.clone(),
            fault: self.cause.as_ref().map(|cause| cause.fault.clone()),
            opened_unix_ns: self.detected.unix_ns,
            closed_unix_ns: None,
            actions: Vec::new(),
        }
    }
}

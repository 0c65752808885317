//! The fault that explains an incident, by what chaos tells of its faults.

use std::collections::BTreeMap;

use protocol::event::Event;
use protocol::faults::PlannedFault;

/// Faults that are remembered; of more, those that began first are forgotten.
const REMEMBERED: usize = 10_000;
/// By so much the clocks of two hosts may differ.
const SLACK_NS: i64 = 100_000_000;

/// What is known of a run's faults.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    faults: BTreeMap<String, Fault>,
}

#[derive(Debug)]
struct Fault {
    planned: PlannedFault,
    began_ns: i64,
    injected_ns: Option<i64>,
    ended_ns: Option<i64>,
}

/// A fault that explains an incident. Stamps are chaos' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) fault: String,
    /// It was about to be injected.
    pub(crate) began_ns: i64,
    /// It was seen to be there.
    pub(crate) injected_ns: Option<i64>,
    /// It was seen to be gone.
    pub(crate) ended_ns: Option<i64>,
}

impl Cause {
    /// Milliseconds from the fault to a stamp.
    pub(crate) fn ms_until(&self, unix_ns: i64) -> u64 {
        let since = unix_ns.saturating_sub(self.injected_ns.unwrap_or(self.began_ns));
        u64::try_from(since / 1_000_000).unwrap_or(0)
    }
}

/// What is to be explained.
#[derive(Clone, Debug)]
pub(crate) struct Onset {
    pub(crate) target: String,
    /// What the instance is called, by its process and by its endpoint; empty = it is the target as a whole.
    pub(crate) names: Vec<String>,
    /// It was seen to be well at this stamp.
    pub(crate) well_ns: i64,
    /// It was seen not to be at this one.
    pub(crate) detected_ns: i64,
    /// Directly it answers: something is wrong with the way to it.
    pub(crate) way_alone: bool,
    /// How long after its end a fault may still be felt.
    pub(crate) linger_ns: i64,
}

/// What a recipe works on, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Process,
    Host,
    Network,
}

fn reach(recipe: &str) -> Reach {
    match recipe {
        "kill" | "pause" | "restart" | "clock-skew" => Reach::Process,
        "cpu" | "memory" | "connections" | "disk-full" => Reach::Host,
        _ => Reach::Network,
    }
}

impl Journal {
    /// Chaos told something at this stamp.
    pub(crate) fn told(&mut self, at_ns: i64, event: &Event) {
        match event {
            Event::FaultBeginning { fault } => {
                let known =
                    Fault { planned: fault.clone(), began_ns: at_ns, injected_ns: None, ended_ns: None };
                self.faults.entry(fault.fault.clone()).or_insert(known);
                self.forget();
            }
            Event::FaultInjected { fault, .. } => self.of(fault, |known| known.injected_ns = Some(at_ns)),
            Event::FaultEnded { fault, .. } => self.of(fault, |known| known.ended_ns = Some(at_ns)),
            // Nothing was touched after all.
            Event::FaultSkipped { fault, .. } => {
                self.faults.remove(fault);
            }
            _ => {}
        }
    }

    fn of(&mut self, fault: &str, change: impl FnOnce(&mut Fault)) {
        if let Some(known) = self.faults.get_mut(fault) {
            change(known);
        }
    }

    fn forget(&mut self) {
        while self.faults.len() > REMEMBERED {
            let oldest = self.faults.iter().min_by_key(|(_, fault)| fault.began_ns);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { return };
            self.faults.remove(&oldest);
        }
    }

    /// Whether a fault is over; also one that is not known any more.
    pub(crate) fn is_over(&self, fault: &str) -> bool {
        self.faults.get(fault).is_none_or(|known| known.ended_ns.is_some())
    }

    /// The fault that explains it: one that was there when it began and can do such a thing to it. Of several, one whose kind
    /// fits what was seen, then one of this target rather than of the host, then one that was not over, then the one that
    /// began last.
    pub(crate) fn explain(&self, onset: &Onset) -> Option<Cause> {
        let fitting = self.faults.values().filter_map(|fault| Some((fault.fit(onset)?, fault)));
        let lives = |fault: &Fault| fault.ended_ns.is_none_or(|ended| ended >= onset.detected_ns);
        let (_, best) = fitting.max_by_key(|(fit, fault)| (*fit, lives(fault), fault.began_ns))?;
        Some(Cause {
            fault: best.planned.fault.clone(),
            began_ns: best.began_ns,
            injected_ns: best.injected_ns,
            ended_ns: best.ended_ns,
        })
    }
}

impl Fault {
    /// How well it explains; more is better, `None` = not at all.
    fn fit(&self, onset: &Onset) -> Option<u8> {
        let began = self.began_ns <= onset.detected_ns.saturating_add(SLACK_NS);
        let ended = self.ended_ns.is_some_and(|ended| {
            ended.saturating_add(onset.linger_ns).saturating_add(SLACK_NS) < onset.well_ns
        });
        if !began || ended {
            return None;
        }
        let own = self.planned.target == onset.target;
        let victims = &self.planned.victims;
        let hit = own
            && (victims.is_empty()
                || onset.names.is_empty()
                || victims.iter().any(|victim| onset.names.contains(victim)));
        let reach = reach(&self.planned.recipe);
        match (reach, hit) {
            // The way to a target does nothing to who asks it directly.
            (Reach::Network, true) if !onset.way_alone => None,
            (Reach::Network, true) => Some(3),
            (Reach::Process | Reach::Host, true) if onset.way_alone => Some(1),
            (Reach::Process | Reach::Host, true) => Some(3),
            // What takes the host away takes it from all who run on it.
            (Reach::Host, false) if !onset.way_alone => Some(0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

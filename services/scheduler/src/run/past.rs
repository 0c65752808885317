//! How far a run had come when its scheduler died, read from its history: what was decided stands there, whoever decided it.

use std::collections::BTreeMap;
use std::time::Duration;

use plan::Plan;
use protocol::event::{Entry, Event, Life, PhaseChange, ScenarioNames};
use protocol::faults::ActionOutcome;
use protocol::id::{IncarnationId, WorkerId};
use tokio::time::Instant;

use super::collect::phase_reasons;
use super::fleet::{Fleet, Member};
use crate::control::shed_by;
use crate::decision::validity::Trap;
use crate::division::Strength;
use crate::objectives::evidence::Incident;
use crate::verdict::{Reason, code};

/// What recovery calls sending less, and sending all again.
const SHED_LOAD: &str = "shed-load";
const RESTORE_LOAD: &str = "restore load";

/// See the module.
#[derive(Default)]
pub(crate) struct Past {
    /// Workers that have part in the run.
    pub(super) fleet: Fleet,
    /// Names of the scenarios' parts; none = the run was not prepared.
    pub(super) names: Vec<ScenarioNames>,
    /// Start of each phase that was begun, Unix nanoseconds.
    pub(super) timed: BTreeMap<u32, i64>,
    /// Index of the phase after the last one that ended.
    pub(super) next: u32,
    /// The phase that was begun and has not ended.
    pub(super) begun: Option<Begun>,
    /// Why the verdict is not `passed`, as far as phases that ended tell.
    pub(super) reasons: Vec<Reason>,
    /// Why the run was to end, each time it was.
    pub(super) stops: Vec<Reason>,
    /// When the last entry was written, Unix nanoseconds.
    pub(super) last_unix_ns: i64,
    pub(super) incidents: Vec<Incident>,
    /// The last that was said of each threshold, by its phase and text.
    pub(super) thresholds: BTreeMap<(Option<u32>, String), Said>,
    pub(super) traps: Vec<(u32, Trap)>,
    /// By who asked for it: the share of the wanted rate that is sent.
    pub(super) keeps: BTreeMap<String, f64>,
}

/// A phase that was begun.
#[derive(Default)]
pub(super) struct Begun {
    pub(super) index: u32,
    pub(super) changes: Vec<Told>,
    /// Who skipped the rest of it.
    pub(super) skipped_by: Option<String>,
}

/// A change that workers were told, or were about to be.
pub(super) struct Told {
    /// When, Unix nanoseconds.
    pub(super) unix_ns: i64,
    /// Offset from the phase's start at which it takes effect.
    pub(super) at: Duration,
    pub(super) change: PhaseChange,
}

/// What the history says of a threshold.
pub(super) struct Said {
    pub(super) holds: bool,
    /// The value with its unit when it broke first.
    pub(super) broken_by: Option<String>,
}

impl Past {
    /// Reads a history from its first entry on.
    pub(crate) fn read(entries: &[Entry], plan: &Plan) -> Self {
        let mut past = Self::default();
        for entry in entries {
            past.take(entry, plan);
        }
        past
    }

    fn take(&mut self, entry: &Entry, plan: &Plan) {
        let unix_ns = entry.at_unix_ns;
        self.last_unix_ns = unix_ns;
        match &entry.event {
            Event::WorkersReady { scenarios, .. } => self.names.clone_from(scenarios),
            Event::PhaseStarted { phase, .. } => {
                self.begun = Some(Begun { index: *phase, ..Begun::default() });
            }
            Event::PhaseTimed { phase, t0_unix_ns } => {
                // A phase that is timed anew had begun nowhere.
                self.begun.iter_mut().for_each(|begun| begun.changes.clear());
                self.timed.insert(*phase, *t0_unix_ns);
            }
            Event::ChangeTold { at_ns, change, .. } => {
                let told = Told { unix_ns, at: Duration::from_nanos(*at_ns), change: *change };
                self.begun.iter_mut().for_each(|begun| begun.changes.push(Told { ..told }));
            }
            Event::LoadChanged { change, by, .. } if change == "skip" => {
                self.begun.iter_mut().for_each(|begun| begun.skipped_by = Some(by.clone()));
            }
            Event::PhaseEnded { phase, name, thresholds, validity, decision, reason, .. } => {
                self.begun = None;
                self.next = phase + 1;
                self.reasons.extend(phase_reasons(plan, name, thresholds, validity));
                if decision == "abort" && self.stops.is_empty() {
                    let failed = reason.contains("objective failed");
                    let code = if failed { code::FAILED } else { code::ABORTED };
                    self.stops.push(Reason::new(code, reason.clone()));
                }
            }
            // One that a threshold asked for stands there already, by the change of the threshold.
            Event::StopRequested { by, exit_code } if !by.starts_with("threshold ") => {
                self.stops.push(Reason::new(*exit_code, stopped(by)));
            }
            Event::ThresholdChanged { phase, threshold, holds, seen, abort } => {
                if *abort && !holds {
                    let text = format!("threshold `{threshold}` broke with abort: seen {seen}");
                    self.stops.push(Reason::new(code::FAILED, text));
                }
                let said = self
                    .thresholds
                    .entry((*phase, threshold.clone()))
                    .or_insert(Said { holds: true, broken_by: None });
                said.holds = *holds;
                if !holds {
                    said.broken_by.get_or_insert_with(|| seen.clone());
                }
            }
            Event::GuestFaulted { phase, scenario, offset_ns, .. } => {
                self.traps.push((*phase, Trap { scenario: *scenario, offset_ns: *offset_ns }));
            }
            Event::RecoveryActed { incident, target, action, outcome: ActionOutcome::Done, .. } => {
                let by = shed_by(incident);
                match (plan.recovery.get(target), action.as_str()) {
                    (Some(recovery), SHED_LOAD) => _ = self.keeps.insert(by, recovery.shed),
                    (_, RESTORE_LOAD) => _ = self.keeps.remove(&by),
                    _ => {}
                }
            }
            Event::IncidentClosed { incident, .. } => _ = self.keeps.remove(&shed_by(incident)),
            Event::TargetHealth { target, healthy, .. } => self.note_health(target, *healthy, unix_ns),
            Event::WorkerChanged { worker, change, life, .. } => {
                if let Ok(id) = worker.parse() {
                    self.note_worker(id, change, life.as_ref());
                }
            }
            _ => {}
        }
    }

    fn note_health(&mut self, target: &str, healthy: bool, unix_ns: i64) {
        if !healthy {
            let (target, began_unix_ns) = (target.to_owned(), unix_ns);
            self.incidents.push(Incident { target, began_unix_ns, ended_unix_ns: None });
            return;
        }
        let open = |incident: &&mut Incident| incident.target == target && incident.ended_unix_ns.is_none();
        if let Some(incident) = self.incidents.iter_mut().rfind(open) {
            incident.ended_unix_ns = Some(unix_ns);
        }
    }

    fn note_worker(&mut self, id: WorkerId, change: &str, life: Option<&Life>) {
        let phase = self.begun.as_ref().map(|begun| begun.index);
        match (change, life, phase) {
            ("joined" | "back", Some(life), _) => {
                if let Ok(incarnation) = life.incarnation.parse::<IncarnationId>() {
                    self.fleet.admit(Member {
                        id,
                        strength: Strength {
                            load_threads: life.load_threads,
                            weight: life.weight,
                            thread_speed: life.thread_speed,
                        },
                        incarnation: incarnation.to_bytes(),
                        admitted: Instant::now(),
                    });
                }
            }
            ("lost", ..) => _ = self.fleet.lose(id, phase),
            ("left", _, Some(phase)) => _ = self.fleet.leave(id, phase),
            _ => {}
        }
    }
}

/// The words for a run that was to end.
fn stopped(by: &str) -> String {
    if by.starts_with("lost service") { by.to_owned() } else { format!("stopped by {by}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let text = "[targets.shop]\nurl = \"http://127.0.0.1:1\"\n[[scenarios]]\nguest = \"http\"\ntarget = \"shop\"\n";
        plan::parse(text, std::path::Path::new("plan.toml")).unwrap()
    }

    fn read(events: Vec<Event>) -> Past {
        let entry = |(sequence, event)| Entry {
            sequence,
            at_unix_ns: i64::try_from(sequence).unwrap(),
            producer: "scheduler".to_owned(),
            event,
        };
        Past::read(&(1..).zip(events).map(entry).collect::<Vec<_>>(), &plan())
    }

    fn worker(id: WorkerId, change: &str, incarnation: IncarnationId) -> Event {
        let life = Some(Life {
            incarnation: incarnation.to_string(),
            load_threads: 2,
            weight: Some(1.5),
            thread_speed: None,
        });
        let (worker, detail) = (id.to_string(), String::new());
        Event::WorkerChanged { worker, change: change.to_owned(), detail, clock: None, life }
    }

    fn started(phase: u32) -> Event {
        let name = "baseline".to_owned();
        Event::PhaseStarted { phase, name, duration_ms: 1, rate: None, connections: 1, users: None }
    }

    fn ended(phase: u32, decision: &str, thresholds: Vec<protocol::event::Outcome>) -> Event {
        Event::PhaseEnded {
            phase,
            name: "baseline".to_owned(),
            lasted_ms: 1,
            objectives: Vec::new(),
            expectations: Vec::new(),
            thresholds,
            validity: Vec::new(),
            decision: decision.to_owned(),
            reason: "why".to_owned(),
        }
    }

    #[test]
    fn workers_are_those_that_joined_and_neither_were_lost_nor_left() {
        let (id, other, third) = (WorkerId::new(), WorkerId::new(), WorkerId::new());
        let lives = [(); 4].map(|()| IncarnationId::new());
        let past = read(vec![
            worker(id, "joined", lives[0]),
            worker(other, "joined", lives[1]),
            worker(third, "joined", lives[2]),
            started(0),
            worker(id, "lost", lives[0]),
            worker(id, "joined", lives[3]),
            worker(other, "lost", lives[1]),
            worker(other, "back", lives[1]),
            worker(third, "left", lives[2]),
        ]);
        let fleet = past.fleet;
        let mut both = vec![id, other];
        both.sort_unstable();
        assert_eq!(fleet.ids(), both);
        assert!(fleet.is_life(id, &lives[3].to_bytes()) && fleet.is_life(other, &lives[1].to_bytes()));
        assert_eq!(
            fleet.life(id).and_then(|life| life.weight),
            Some(1.5),
            "its part of the load stays the same"
        );
        let lost: Vec<_> = fleet.lost_in(0).map(|member| member.incarnation.clone()).collect();
        assert_eq!(lost, [lives[0].to_bytes(), lives[2].to_bytes()]);
    }

    #[test]
    fn the_phase_under_way_is_the_one_that_has_not_ended_with_all_that_was_told() {
        let told = |number, change| Event::ChangeTold { phase: 1, number, at_ns: 5, change };
        let past = read(vec![
            started(0),
            Event::PhaseTimed { phase: 0, t0_unix_ns: 10 },
            ended(0, "continue", Vec::new()),
            started(1),
            Event::PhaseTimed { phase: 1, t0_unix_ns: 20 },
            told(1, PhaseChange::Rate(5.0)),
            told(2, PhaseChange::Pause),
        ]);
        let begun = past.begun.unwrap();
        assert_eq!((past.next, begun.index, past.timed[&1]), (1, 1, 20));
        let changes: Vec<_> = begun.changes.iter().map(|told| (told.unix_ns, told.change)).collect();
        assert_eq!(changes, [(6, PhaseChange::Rate(5.0)), (7, PhaseChange::Pause)]);
        assert!(past.stops.is_empty() && begun.skipped_by.is_none());
    }

    #[test]
    fn load_that_was_shed_stays_shed_until_its_incident_is_closed() {
        let mut plan = plan();
        plan.recovery.insert("shop".to_owned(), plan::model::Recovery::of_target(false));
        let acted = |incident: &str, action: &str| Event::RecoveryActed {
            incident: incident.to_owned(),
            target: "shop".to_owned(),
            action: action.to_owned(),
            outcome: ActionOutcome::Done,
            detail: String::new(),
            took_ms: 1,
        };
        let closed = |incident: &str| Event::IncidentClosed {
            incident: incident.to_owned(),
            target: "shop".to_owned(),
            how: "by itself".to_owned(),
            fault: None,
            recovered_after_ms: 1,
            validated_after_ms: 1,
        };
        let mut past = Past::default();
        let mut take = |event| {
            let entry = Entry { sequence: 1, at_unix_ns: 1, producer: "recovery".to_owned(), event };
            past.take(&entry, &plan);
            past.keeps.clone()
        };
        let kept = |incident: &str| (format!("recovery {incident}"), 0.5);
        assert_eq!(take(acted("shop-1", SHED_LOAD)), BTreeMap::from([kept("shop-1")]));
        take(acted("shop-2", SHED_LOAD));
        assert_eq!(take(acted("shop-1", RESTORE_LOAD)), BTreeMap::from([kept("shop-2")]));
        assert_eq!(take(closed("shop-2")), BTreeMap::new());
    }

    #[test]
    fn what_was_decided_stays_decided() {
        let outcome = protocol::event::Outcome {
            name: "p(99) < 1ms".to_owned(),
            expected: String::new(),
            seen: "2 ms".to_owned(),
            result: protocol::event::OutcomeResult::Fail,
        };
        let past = read(vec![started(0), ended(0, "abort", vec![outcome])]);
        assert_eq!(past.reasons[0].text, "threshold `p(99) < 1ms` in phase baseline: seen 2 ms");
        assert_eq!(past.stops, [Reason::new(code::ABORTED, "why")]);
        let broken = Event::ThresholdChanged {
            phase: None,
            threshold: "error_rate < 1%".to_owned(),
            holds: false,
            seen: "3 %".to_owned(),
            abort: true,
        };
        let by = |by: &str| Event::StopRequested { by: by.to_owned(), exit_code: 99 };
        let stop = |events| read(events).stops.remove(0).text;
        let text = "threshold `error_rate < 1%` broke with abort: seen 3 %";
        assert_eq!(stop(vec![started(0), broken.clone(), by("threshold error_rate < 1%")]), text);
        assert_eq!(stop(vec![started(0), broken]), text, "killed before it was said who asked");
        assert_eq!(stop(vec![by("cli")]), "stopped by cli");
        assert_eq!(stop(vec![by("lost service metrics")]), "lost service metrics");
    }
}

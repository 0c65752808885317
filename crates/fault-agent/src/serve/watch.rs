//! What goes on while faults are held: beats, the guardian's life, hogs that become ready or end, newcomers of sessions.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use platform::identity::ProcessId;

use super::agent::Agent;
use super::fault::Fault;
use super::guard::Guard;
use super::hog_child::Said;
use crate::action::Action;
use crate::hog::Word;
use crate::inject::pause;
use crate::wait;
use crate::wire::{How, Injected, Reply};

/// How often stopped sessions are looked at.
const LOOK: Duration = Duration::from_millis(200);

impl Agent {
    /// What is to be woken for, beside the controller.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let guard = self.guard.iter().map(Guard::fd);
        guard.chain(self.faults.values().filter_map(|fault| fault.hog.as_ref()).map(|hog| hog.fd())).collect()
    }

    /// How long until something is to be done.
    pub(super) fn until_next(&self, now: Instant) -> Duration {
        let mut next = self.next_beat;
        if self.faults.values().any(|fault| matches!(fault.entry.action, Action::Pause { .. })) {
            next = next.min(self.next_look);
        }
        for fault in self.faults.values() {
            next = next.min(fault.ends().0);
        }
        next.saturating_duration_since(now)
    }

    /// Does what is due. `away` = since it was last called.
    pub(super) fn watch(&mut self, now: Instant, away: Duration) {
        self.watch_guard(now, away);
        self.watch_hogs();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.watch_sessions();
        }
        if !self.stuck.is_empty() && now >= self.next_retry {
            self.retry();
        }
        if now >= self.next_beat {
            self.next_beat = now + self.settings.beat();
            self.beat_now();
        }
    }

    pub(super) fn beat_now(&self) {
        self.guard.iter().for_each(Guard::beat);
        self.faults.values().filter_map(|fault| fault.hog.as_ref()).for_each(|hog| hog.beat());
    }

    fn watch_guard(&mut self, now: Instant, away: Duration) {
        let lease = self.settings.lease;
        let lost = match &mut self.guard {
            None => None,
            Some(guard) => {
                if !guard.hear(now) {
                    Some("it died")
                } else if away > lease / 2 {
                    // We were away ourselves, and what it said meanwhile may not be here yet.
                    guard.forgive(now);
                    None
                } else {
                    (guard.silent_for(now) > lease).then_some("it hung")
                }
            }
        };
        if let Some(why) = lost {
            let status = self.guard.take().map(Guard::end).unwrap_or_default();
            self.unguarded.get_or_insert(now);
            self.start_guard(&format!("{why} ({status})"));
        } else if let Some(since) = self.unguarded {
            self.start_guard("none could be started");
            if self.guard.is_none() && now.saturating_duration_since(since) > lease {
                self.end_all(How::NoGuardian);
            }
        }
    }

    fn start_guard(&mut self, why: &str) {
        if let Ok(guard) = Guard::start(&self.dir, &self.settings) {
            let guardian = guard.id().clone();
            self.watched_by(guard);
            self.output.say(&Reply::Guardian { guardian, why: why.to_owned() });
        }
    }

    fn watch_hogs(&mut self) {
        let mut over = Vec::new();
        for (id, fault) in &mut self.faults {
            let Some(hog) = &mut fault.hog else { continue };
            match hog.hear() {
                Said::Nothing => {}
                Said::Word(Word::Ready(_)) => match hog.seen() {
                    Ok(seen) => {
                        fault.held = Some(Instant::now());
                        let (began_ms, at_ms) = (fault.began_ms, wait::unix_ms());
                        self.output.say(&Reply::Injected(Injected { id: id.clone(), began_ms, at_ms, seen }));
                    }
                    Err(problem) => {
                        over.push((id.clone(), Some((problem, "see that the system allows it".to_owned()))));
                    }
                },
                Said::Word(Word::Failed { problem, mend }) => over.push((id.clone(), Some((problem, mend)))),
                Said::End => over.push((id.clone(), None)),
            }
        }
        for (id, failed) in over {
            match failed {
                None => self.end(&id, How::BrokeOff),
                Some((problem, mend)) => {
                    let Some(fault) = self.faults.remove(&id) else { continue };
                    self.refuse_begun(fault.entry, problem, &mend);
                    if let Some(hog) = fault.hog {
                        hog.reap();
                    }
                }
            }
        }
    }

    fn watch_sessions(&mut self) {
        let sessions = |fault: &Fault| match &fault.entry.action {
            Action::Pause { victims } => Some(victims.clone()),
            _ => None,
        };
        let paused: Vec<(String, Vec<ProcessId>)> =
            self.faults.iter().filter_map(|(id, fault)| Some((id.clone(), sessions(fault)?))).collect();
        for (id, leaders) in paused {
            let Some(mut fault) = self.faults.remove(&id) else { continue };
            // Not all can be held: then none is, and the fault ends.
            let known = fault.entry.victims.len();
            let held = self.stop_sessions(&leaders, &mut fault.entry, known).is_ok();
            let alive = pause::any_alive(&fault.entry.victims);
            self.faults.insert(id.clone(), fault);
            if !held {
                self.end(&id, How::BrokeOff);
            } else if !alive {
                self.end(&id, How::VictimsGone);
            }
        }
    }
}

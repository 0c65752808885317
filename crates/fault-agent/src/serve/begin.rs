//! Injecting a fault: refused without a touch, or in the journal first.

use std::time::{Duration, Instant};

use platform::freeze;
use platform::identity::ProcessId;

use super::agent::Agent;
use super::fault::Fault;
use super::hog_child::HogChild;
use crate::action::Action;
use crate::inject::{self, Prepared, Refusal, Work, clock, kill, pause};
use crate::journal::{Entry, Record, Undo};
use crate::wait;
use crate::wire::{Injected, Reply};

/// Faults held at once.
const MOST: usize = 256;
/// The shortest lease: the agent beats ten times in it.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);
/// How far a fault has come.
enum Begun {
    /// It is in effect, as was seen.
    Held(String),
    /// A process of ours is about to take what it is to take.
    Starting(HogChild),
}

impl Agent {
    pub(super) fn inject(
        &mut self,
        id: String,
        action: Action,
        duration_ms: u64,
        lease_ms: Option<u64>,
        now: Instant,
    ) {
        let duration = Duration::from_millis(duration_ms);
        let lease = lease_ms.map_or(self.settings.lease, Duration::from_millis);
        let prepared = self
            .allowed(&id, duration, lease)
            .and_then(|()| inject::prepare(&id, &action, &self.settings))
            .and_then(|prepared| self.alone(&prepared).map(|()| prepared));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(Refusal { problem, mend }) => return self.refuse(id, problem, mend),
        };
        let Prepared { undo, victims, work } = prepared;
        let boot = ProcessId::current().map(|id| id.boot).unwrap_or_default();
        let expires_ms = wait::unix_ms().saturating_add(duration_ms);
        let mut entry = Entry { id, action, undo, victims, expires_ms, boot };
        if let Err(error) = self.journal.append(&Record::Begin(entry.clone())) {
            let problem = format!("the journal in {} cannot be written: {error}", self.dir.path().display());
            return self.refuse(entry.id, problem, "make room there");
        }
        let began_ms = wait::unix_ms();
        match self.begin(&mut entry, work, duration, lease) {
            Ok(begun) => {
                let (held, hog, seen) = match begun {
                    Begun::Held(seen) => (Some(Instant::now()), None, Some(seen)),
                    Begun::Starting(hog) => (None, Some(hog), None),
                };
                let id = entry.id.clone();
                let fault = Fault { entry, began_ms, duration, lease, renewed: now, held, began: now, hog };
                self.faults.insert(id.clone(), fault);
                if let Some(seen) = seen {
                    self.output.say(&Reply::Injected(Injected {
                        id,
                        began_ms,
                        at_ms: wait::unix_ms(),
                        seen,
                    }));
                }
            }
            Err(problem) => {
                self.refuse_begun(entry, problem, "see that the system allows it");
            }
        }
    }

    /// Whether a fault of this name and length may be.
    fn allowed(&self, id: &str, duration: Duration, lease: Duration) -> Result<(), Refusal> {
        let letters = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
        let longest = self.settings.longest;
        if !letters || id.is_empty() || id.len() > 100 || id.starts_with('.') {
            return Err(Refusal::new(
                format!("{id:?} is no name of a fault"),
                "use 1 to 100 letters, digits and . _ - : with no . first",
            ));
        }
        if self.faults.contains_key(id) {
            return Err(Refusal::new(
                format!("fault {id} is held already"),
                "give each fault a name of its own",
            ));
        }
        if duration.is_zero() || duration > longest {
            return Err(Refusal::new(
                format!(
                    "a duration of {} ms is not from 1 to {} ms",
                    duration.as_millis(),
                    longest.as_millis()
                ),
                "ask for a duration within, or start the agent with a larger --longest",
            ));
        }
        if lease < SHORTEST_LEASE || lease > longest {
            return Err(Refusal::new(
                format!(
                    "a lease of {} ms is not from {} to {} ms",
                    lease.as_millis(),
                    SHORTEST_LEASE.as_millis(),
                    longest.as_millis()
                ),
                "ask for a lease within",
            ));
        }
        if self.faults.len() >= MOST {
            return Err(Refusal::new(format!("{MOST} faults are held"), "end some first"));
        }
        if let Some(problem) = self.not_recovered() {
            return Err(Refusal::new(
                problem,
                "undo that first; the agent looks again each second, and takes faults once it is gone",
            ));
        }
        if self.guard.is_none() {
            return Err(Refusal::new(
                "there is no guardian",
                "allow more processes (ulimit -u), and try again",
            ));
        }
        Ok(())
    }

    /// Two faults that each undo the other's work would leave something.
    fn alone(&self, prepared: &Prepared) -> Result<(), Refusal> {
        let other = self.faults.values().find(|fault| match (&fault.entry.undo, &prepared.undo) {
            (Undo::Continue, Undo::Continue) => {
                prepared.victims.iter().any(|victim| fault.entry.victims.contains(victim))
            }
            (Undo::Restore(held), Undo::Restore(new)) => {
                new.iter().any(|new| held.iter().any(|held| held.file == new.file))
            }
            _ => false,
        });
        match other {
            None => Ok(()),
            Some(fault) => Err(Refusal::new(
                format!("fault {} holds the same ({})", fault.entry.id, fault.entry.action),
                "wait until it has ended, or choose another instance",
            )),
        }
    }

    /// The deed. What it has done when it fails is undone by the caller.
    fn begin(
        &mut self,
        entry: &mut Entry,
        work: Option<Work>,
        duration: Duration,
        lease: Duration,
    ) -> Result<Begun, String> {
        if let Some(work) = work {
            let hog = HogChild::start(&self.dir, &self.settings, &entry.id, work, lease, duration);
            return hog.map(Begun::Starting).map_err(|error| format!("no process can be started: {error}"));
        }
        let seen = match &entry.action {
            Action::Pause { victims } => {
                let leaders = victims.clone();
                self.stop_sessions(&leaders, entry, 0)?;
                pause::stopped(&entry.victims)?
            }
            Action::Kill { victims } => kill::kill(victims, &entry.victims)?,
            Action::Clock { offset_ms, .. } => match &entry.undo {
                Undo::Restore(files) => clock::set(files, *offset_ms)?,
                _ => return Err("the clock files are not known".to_owned()),
            },
            // Done by a process of ours.
            action => return Err(format!("nothing carries out {action}")),
        };
        Ok(Begun::Held(seen))
    }

    /// Stops the victims from the `first` on, and processes that are started in the sessions until all stand still. They are
    /// in the journal before they are touched.
    pub(super) fn stop_sessions(
        &mut self,
        leaders: &[ProcessId],
        entry: &mut Entry,
        first: usize,
    ) -> Result<(), String> {
        let stopped = wait::until(pause::TAKES, || match self.stop_round(leaders, entry, first) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(problem) => Some(Err(problem)),
        });
        stopped.unwrap_or_else(|| {
            let seconds = pause::TAKES.as_secs();
            Err(format!(
                "processes are started in the session faster than they can be stopped, for {seconds} s"
            ))
        })
    }

    /// Whether all stand still and nobody is new.
    fn stop_round(&mut self, leaders: &[ProcessId], entry: &mut Entry, first: usize) -> Result<bool, String> {
        let new = pause::newcomers(leaders, &entry.victims)
            .map_err(|error| format!("the session cannot be looked at: {error}"))?;
        if !new.is_empty() {
            let more = Record::More { id: entry.id.clone(), victims: new.clone() };
            self.journal.append(&more).map_err(|error| format!("the journal cannot be written: {error}"))?;
            entry.victims.extend(new.iter().cloned());
        }
        let left = freeze::stop(entry.victims.get(first..).unwrap_or_default())
            .map_err(|error| format!("SIGSTOP was refused: {error}"))?;
        Ok(new.is_empty() && left.is_empty())
    }
}

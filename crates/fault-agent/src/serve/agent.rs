//! What an agent holds, and what it is asked.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use platform::identity::ProcessId;

use super::fault::Fault;
use super::guard::Guard;
use super::lines::Output;
use crate::journal::{Done, Entry, Journal, Replayed};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::state_dir::StateDir;
use crate::undo;
use crate::wait;
use crate::wire::{Ended, How, Refused, Reply, Request, Unrecovered};

/// How often what could not be undone is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long the last answers may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The agent's state.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) settings: Settings,
    pub(super) dir: StateDir,
    pub(super) journal: Journal,
    pub(super) output: Output,
    pub(super) guard: Option<Guard>,
    /// Since when there is no guardian.
    pub(super) unguarded: Option<Instant>,
    pub(super) faults: BTreeMap<String, Fault>,
    /// What could not be undone.
    pub(super) stuck: Vec<Stuck>,
    pub(super) next_retry: Instant,
    pub(super) next_beat: Instant,
    pub(super) next_look: Instant,
}

/// A fault that could not be undone so far.
#[derive(Debug)]
pub(super) struct Stuck {
    entry: Entry,
    how: How,
    pub(super) detail: String,
}

impl Agent {
    pub(super) fn new(settings: Settings, dir: StateDir, journal: Journal) -> Self {
        let now = Instant::now();
        Self {
            settings,
            dir,
            journal,
            output: Output::default(),
            guard: None,
            unguarded: None,
            faults: BTreeMap::new(),
            stuck: Vec::new(),
            next_retry: now,
            next_beat: now,
            next_look: now,
        }
    }

    pub(super) fn watched_by(&mut self, guard: Guard) {
        self.guard = Some(guard);
        self.unguarded = None;
    }

    /// Undoes what a former agent left, and tells of all that its journal has: nobody may have heard of their ends.
    pub(super) fn clean(&mut self, replayed: Replayed) {
        let mut unread = replayed.damaged;
        let aside = self.dir.path().join("journal.damaged");
        if !unread.is_empty() && !aside.exists() {
            // For whoever has to find out what the lines meant.
            if let Err(error) = fs::copy(self.dir.journal(), &aside) {
                unread.push(format!("it could not be kept as {}: {error}", aside.display()));
            }
        }
        for (entry, done) in replayed.faults {
            match done {
                Some(done) => self.say_ended(done),
                None => self.undo(entry, How::LeftOver),
            }
            self.beat_now();
        }
        if aside.exists() {
            let found =
                if unread.is_empty() { "lines could not be read".to_owned() } else { unread.join("; ") };
            let detail = format!(
                "the journal is damaged: {found}; see what is left of the faults in {}, then remove that file",
                aside.display()
            );
            self.output.say(&Reply::Unrecovered(Unrecovered { id: "journal".to_owned(), detail }));
        }
    }

    /// Tells that requests are taken now.
    pub(super) fn ready(&mut self, agent: &ProcessId) {
        if let Some(guardian) = self.guard.as_ref().map(|guard| guard.id().clone()) {
            self.output.say(&Reply::Ready { agent: agent.clone(), guardian });
        }
        self.say_all();
        if self.output.is_empty() {
            // What is in the pipe is heard, even if we die now.
            self.forget_ended();
        }
    }

    /// Does what a line asks; `true` = it is to quit.
    pub(super) fn request(&mut self, line: &[u8]) -> bool {
        let now = Instant::now();
        match serde_json::from_slice(line) {
            Ok(Request::Quit) => return true,
            Ok(Request::Inject { id, action, duration_ms, lease_ms }) => {
                self.inject(id, action, duration_ms, lease_ms, now);
            }
            Ok(Request::Renew) => {
                self.faults.values_mut().for_each(|fault| fault.renewed = now);
                self.output.say(&Reply::Renewed);
            }
            Ok(Request::End { id }) => {
                if self.faults.contains_key(&id) {
                    self.end(&id, How::Asked);
                } else {
                    let problem = format!("fault {id} is not held");
                    self.refuse(id, problem, "it has ended before, or never began");
                }
            }
            Ok(Request::List) => {
                let faults = self.faults.values().map(|fault| &fault.entry);
                let faults = faults.map(|entry| (entry.id.clone(), entry.action.to_string())).collect();
                self.output.say(&Reply::Faults { faults });
            }
            Err(error) => {
                let problem = format!("the line is no request: {error}");
                self.refuse(
                    String::new(),
                    problem,
                    "say one JSON object a line, as the documentation has it",
                );
            }
        }
        false
    }

    pub(super) fn refuse(&mut self, id: String, problem: impl Into<String>, mend: impl Into<String>) {
        self.output.say(&Reply::Refused(Refused { id, problem: problem.into(), mend: mend.into() }));
    }

    /// Ends a fault that is held or about to be.
    pub(super) fn end(&mut self, id: &str, how: How) {
        let Some(fault) = self.faults.remove(id) else { return };
        let mend = "try it again, or ask for less";
        let early = || format!("the fault ended before it was in effect ({how:?})");
        match (fault.held, how) {
            (Some(_), _) => self.undo(fault.entry, how),
            (None, How::Asked) => {
                // Both who asked for it and who asked for its end wait for an answer.
                self.refuse(id.to_owned(), early(), mend);
                self.undo(fault.entry, how);
            }
            (None, _) => self.refuse_begun(fault.entry, early(), mend),
        }
        if let Some(hog) = fault.hog {
            hog.reap();
        }
    }

    pub(super) fn end_all(&mut self, how: How) {
        while let Some(id) = self.faults.keys().next().cloned() {
            self.end(&id, how);
            self.beat_now();
        }
    }

    pub(super) fn end_those_over(&mut self, now: Instant) {
        let over: Vec<(String, How)> =
            self.faults.iter().filter_map(|(id, fault)| Some((id.clone(), fault.over(now)?))).collect();
        for (id, how) in over {
            self.end(&id, how);
            self.beat_now();
        }
    }

    /// Refuses a fault that could not be put into effect; what was done of it is undone first, and only told if that fails.
    pub(super) fn refuse_begun(&mut self, entry: Entry, problem: String, mend: &str) {
        let id = entry.id.clone();
        self.undo_and_note(entry, How::BrokeOff);
        self.refuse(id, problem, mend);
    }

    /// Undoes what is in the journal, and tells how that went.
    pub(super) fn undo(&mut self, entry: Entry, how: How) {
        if let Some(done) = self.undo_and_note(entry, how) {
            self.say_ended(done);
        }
    }

    fn undo_and_note(&mut self, entry: Entry, how: How) -> Option<Done> {
        match undo::undo_and_note(&self.dir, &mut self.journal, &entry, how) {
            Ok(done) => Some(done),
            Err(detail) => {
                let unrecovered = Unrecovered { id: entry.id.clone(), detail: detail.clone() };
                self.output.say(&Reply::Unrecovered(unrecovered));
                self.stuck.push(Stuck { entry, how, detail });
                self.next_retry = Instant::now() + RETRY;
                None
            }
        }
    }

    /// Tries what could not be undone again; whether nothing is left of that.
    pub(super) fn retry(&mut self) -> bool {
        self.next_retry = Instant::now() + RETRY;
        for stuck in std::mem::take(&mut self.stuck) {
            match undo::undo_and_note(&self.dir, &mut self.journal, &stuck.entry, stuck.how) {
                Ok(done) => self.say_ended(done),
                Err(detail) => self.stuck.push(Stuck { detail, ..stuck }),
            }
            self.beat_now();
        }
        self.stuck.is_empty()
    }

    /// What keeps faults from being injected.
    pub(super) fn not_recovered(&self) -> Option<String> {
        if let Some(stuck) = self.stuck.first() {
            return Some(format!("fault {} is not undone: {}", stuck.entry.id, stuck.detail));
        }
        let aside = self.dir.path().join("journal.damaged");
        aside.exists().then(|| format!("the journal was damaged, see {}", aside.display()))
    }

    fn say_ended(&mut self, done: Done) {
        let Done { id, how, at_ms, undo_ms, verified } = done;
        self.output.say(&Reply::Ended(Ended { id, how, at_ms, undo_ms, verified }));
    }

    /// A journal that cannot be written anew goes on being added to.
    fn forget_ended(&mut self) {
        let left: Vec<Entry> = self.stuck.iter().map(|stuck| stuck.entry.clone()).collect();
        let _ = self.journal.keep_only(&left);
    }

    fn say_all(&mut self) {
        wait::until(LAST_WORDS, || {
            self.output.flush();
            self.output.is_empty().then_some(())
        });
    }

    pub(super) fn flush(&mut self) -> bool {
        self.output.flush()
    }

    /// Says the last words and ends the guardian, which has nothing to do any more; `heard` = the controller is there to
    /// hear them, so that the next agent need not tell them.
    pub(super) fn leave(mut self, heard: bool) -> Result<(), Problem> {
        if heard {
            self.say_all();
            self.forget_ended();
        }
        if let Some(problem) = self.not_recovered() {
            return Err(Problem::Unrecovered(problem));
        }
        if let Some(guard) = self.guard.take() {
            guard.end();
        }
        Ok(())
    }
}

//! A guest whose turn is watched: what it asks for, what it is answered, and which of its checks fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandbox::{Fault, abi};

use crate::engine::{Generator, Source};

/// Requests of a turn that are remembered, and checks that failed: of a turn that has more the first show what is wrong.
const REMEMBERED: usize = 1_000;

/// A check of the guest that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Its name.
    pub(super) check: String,
    /// The request that it is about; `None` = it is about none.
    pub(super) asked: Option<Asked>,
    /// What the guest warned of when it judged so.
    pub(super) warnings: Vec<String>,
}

/// A request, and how it was answered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) step: String,
    /// Index into the scenario's targets.
    pub(super) endpoint: u32,
    /// Without the query, which may have a key.
    pub(super) path: String,
    /// 0 = it has no answer.
    pub(super) status: u32,
    /// In lower case, without parameters; empty = the guest does not see it, or there is none.
    pub(super) content_type: String,
}

/// How many of each the guest's setup has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) steps: u32,
    pub(super) checks: u32,
    pub(super) metrics: u32,
}

/// See the module: gives instances that are watched.
pub(super) struct Spy {
    guest: Arc<dyn Source>,
    seen: Seen,
}

/// What was seen; clones share it.
#[derive(Clone)]
pub(super) struct Seen {
    parts: Parts,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Debug, Default)]
struct Notes {
    begun: bool,
    requests: BTreeMap<(u32, u32), Asked>,
    failed: Vec<Failed>,
}

impl Spy {
    /// Watches a guest that takes this configuration; the error is what it says against it.
    pub(super) fn on(guest: Arc<dyn Source>, config: &str, seed: u64) -> Result<Self, String> {
        let instance = guest.instantiate(config, seed, 1)?;
        let setup = instance.setup();
        let count = |names: &[String]| u32::try_from(names.len()).unwrap_or(u32::MAX);
        let parts = Parts {
            steps: count(&setup.steps),
            checks: count(&setup.checks),
            metrics: count(&setup.metrics),
        };
        drop(instance);
        Ok(Self { guest, seen: Seen { parts, notes: Arc::default() } })
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.clone()
    }
}

impl Seen {
    pub(super) const fn parts(&self) -> Parts {
        self.parts
    }

    /// Whether the guest was told of its turn.
    pub(super) fn has_begun(&self) -> bool {
        self.notes().begun
    }

    /// The checks that failed, in their order.
    pub(super) fn take_failed(&self) -> Vec<Failed> {
        std::mem::take(&mut self.notes().failed)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Spy {
    fn instantiate(&self, config: &str, seed: u64, users: u32) -> Result<Box<dyn Generator>, String> {
        let guest = self.guest.instantiate(config, seed, users)?;
        Ok(Box::new(Watched { guest, seen: self.seen.clone() }))
    }
}

/// An instance that is watched.
struct Watched {
    guest: Box<dyn Generator>,
    seen: Seen,
}

impl Generator for Watched {
    fn setup(&self) -> &abi::Setup {
        self.guest.setup()
    }

    fn step(
        &mut self,
        now_us: u64,
        starts: &[abi::Start],
        done: &[abi::Completion],
        arena: &[u8],
    ) -> Result<abi::Output, Fault> {
        let output = self.guest.step(now_us, starts, done, arena)?;
        let warnings = self.guest.take_warnings();
        let mut notes = self.seen.notes();
        notes.begun |= !starts.is_empty();
        done.iter().for_each(|done| notes.answered(done, arena));
        notes.judged(&output, self.guest.setup(), &warnings);
        notes.asked(&output, self.guest.setup());
        Ok(output)
    }
}

impl Notes {
    fn asked(&mut self, output: &abi::Output, setup: &abi::Setup) {
        for request in &output.requests {
            if self.requests.len() >= REMEMBERED {
                return;
            }
            let target = abi::slice(&output.arena, request.target).unwrap_or_default();
            let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
            let asked = Asked {
                step: named(&setup.steps, request.step),
                endpoint: request.endpoint,
                path: String::from_utf8_lossy(path).into_owned(),
                ..Asked::default()
            };
            self.requests.insert((request.user, request.seq), asked);
        }
    }

    fn answered(&mut self, done: &abi::Completion, arena: &[u8]) {
        let Some(asked) = self.requests.get_mut(&(done.user, done.seq)) else { return };
        if done.status != 0 {
            asked.status = done.status;
        }
        // An event's head is its own.
        if matches!(done.kind, abi::CompletionKind::Head | abi::CompletionKind::End)
            && let Some(kind) = abi::slice(arena, done.head).and_then(content_type)
        {
            asked.content_type = kind;
        }
    }

    fn judged(&mut self, output: &abi::Output, setup: &abi::Setup, warnings: &[String]) {
        for verdict in output.verdicts.iter().filter(|verdict| !verdict.pass) {
            if self.failed.len() >= REMEMBERED {
                return;
            }
            self.failed.push(Failed {
                check: named(&setup.checks, verdict.check),
                asked: self.requests.get(&(verdict.user, verdict.seq)).cloned(),
                warnings: warnings.to_vec(),
            });
        }
    }
}

fn named(names: &[String], index: u32) -> String {
    names.get(index as usize).cloned().unwrap_or_default()
}

/// The type that a head gives for its body, in lower case and without parameters.
fn content_type(head: &[u8]) -> Option<String> {
    let mut fields = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"content-type"))?;
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    Some(String::from_utf8_lossy(kind).to_lowercase())
}

//! A fault that an agent holds.

use std::time::{Duration, Instant};

use super::hog_child::HogChild;
use crate::journal::Entry;
use crate::wire::How;

/// How long a hog may take until it has what it is to take.
const STARTS: Duration = Duration::from_secs(30);

/// A fault in the journal whose end is ours to see to.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) entry: Entry,
    /// When it was begun, in milliseconds of Unix time.
    pub(super) began_ms: u64,
    pub(super) duration: Duration,
    pub(super) lease: Duration,
    /// When the controller was last heard.
    pub(super) renewed: Instant,
    /// Since when it is in effect; `None` = not yet.
    pub(super) held: Option<Instant>,
    pub(super) began: Instant,
    pub(super) hog: Option<HogChild>,
}

impl Fault {
    /// Why it must end now, if it must.
    pub(super) fn over(&self, now: Instant) -> Option<How> {
        let (ends, how) = self.ends();
        (now >= ends).then_some(how)
    }

    /// When it ends unless something happens, and why.
    pub(super) fn ends(&self) -> (Instant, How) {
        let lease = (self.renewed + self.lease, How::Lease);
        let own = match self.held {
            Some(held) => (held + self.duration, How::Duration),
            None => (self.began + STARTS, How::BrokeOff),
        };
        if lease.0 <= own.0 { lease } else { own }
    }
}

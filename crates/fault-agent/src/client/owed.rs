//! Which faults a controller has begun and not been told the end of.

use std::collections::BTreeSet;

/// Each fault is told once as ended, although an agent that dies right after it told may leave it to the next to tell again.
#[derive(Debug, Default)]
pub(super) struct Owed {
    held: BTreeSet<String>,
    ended: BTreeSet<String>,
    unrecovered: BTreeSet<String>,
}

impl Owed {
    /// A fault is in effect.
    pub(super) fn injected(&mut self, id: &str) {
        self.ended.remove(id);
        self.held.insert(id.to_owned());
    }

    /// A fault has ended; whether that is news.
    pub(super) fn ended(&mut self, id: &str) -> bool {
        self.held.remove(id);
        self.unrecovered.remove(id);
        self.ended.insert(id.to_owned())
    }

    /// A fault could not be undone; whether that is news.
    pub(super) fn unrecovered(&mut self, id: &str) -> bool {
        self.held.remove(id);
        self.unrecovered.insert(id.to_owned())
    }

    /// Those of which a new agent, which has told all that it found, or the last one, said nothing.
    pub(super) fn untold(&mut self) -> Vec<String> {
        std::mem::take(&mut self.held).into_iter().collect()
    }

    /// Those that were not undone.
    pub(super) fn left(&self) -> Vec<String> {
        self.unrecovered.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_and_a_late_one_after_all() {
        let mut owed = Owed::default();
        owed.injected("a");
        owed.injected("b");
        assert!(owed.ended("a"));
        assert!(!owed.ended("a"), "the next agent tells it again");
        assert!(owed.ended("of a former run"));
        assert!(owed.unrecovered("b"));
        assert!(!owed.unrecovered("b"));
        assert_eq!(owed.left(), ["b"]);
        assert!(owed.ended("b"), "it was undone in the end");
        assert!(owed.left().is_empty() && owed.untold().is_empty());
        owed.injected("a");
        assert_eq!(owed.untold(), ["a"], "its name was used anew");
    }
}

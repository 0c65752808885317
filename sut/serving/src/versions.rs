//! Versions of a target: knobs under a name, so that a bad one can be rolled out and back.

/// Versions that are kept; the oldest that is not active gives way.
const KEPT: usize = 16;
/// Longest name, bytes.
const MAX_NAME: usize = 64;

/// The name of the version that the target starts with.
pub const FIRST: &str = "1";

/// What was rolled out, oldest first, and what is active.
#[derive(Debug)]
pub struct Versions<K> {
    active: String,
    kept: Vec<(String, K)>,
}

impl<K: Clone> Versions<K> {
    /// The first one, with the knobs of the start.
    #[must_use]
    pub fn new(knobs: K) -> Self {
        Self { active: FIRST.to_owned(), kept: vec![(FIRST.to_owned(), knobs)] }
    }

    /// The name of the one that is in force.
    #[must_use]
    pub fn active(&self) -> &str {
        &self.active
    }

    /// Those that can be rolled back to, oldest first.
    #[must_use]
    pub fn kept(&self) -> &[(String, K)] {
        &self.kept
    }

    /// Whether a version can be called so.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
    }

    /// Rolls a version out, in place of another one of this name.
    pub fn roll_out(&mut self, name: &str, knobs: K) {
        self.kept.retain(|(kept, _)| kept != name);
        self.kept.push((name.to_owned(), knobs));
        name.clone_into(&mut self.active);
        if self.kept.len() > KEPT {
            // The active one is the last.
            self.kept.remove(0);
        }
    }

    /// Makes one that is kept active again, with the knobs that it was rolled out with.
    pub fn roll_back(&mut self, name: &str) -> Option<K> {
        let (_, knobs) = self.kept.iter().find(|(kept, _)| kept == name)?;
        name.clone_into(&mut self.active);
        Some(knobs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_the_active_one_stays() {
        let mut versions = Versions::new(1);
        for n in 2..40_u64 {
            versions.roll_out(&n.to_string(), n);
        }
        assert_eq!((versions.kept().len(), versions.active()), (KEPT, "39"));
        assert_eq!(versions.roll_back("1"), None);
        assert_eq!(versions.roll_back("30"), Some(30));
        assert_eq!(versions.active(), "30");
        versions.roll_out("24", 0);
        assert_eq!((versions.kept().len(), versions.active()), (KEPT, "24"));
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(Versions::<()>::is_name("2.1.0-rc_1+x"));
        assert!(
            ["", "a b", "a/b", "\u{e4}", &"x".repeat(65)].iter().all(|name| !Versions::<()>::is_name(name))
        );
    }
}

//! What an agent is told when it is started.

use std::ffi::OsString;
use std::time::Duration;

/// How an agent works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Arguments between the program and the agent's own, for its children.
    pub(crate) prefix: Vec<OsString>,
    /// How long faults outlive a silent controller, and a hung agent.
    pub(crate) lease: Duration,
    /// The longest duration of a fault.
    pub(crate) longest: Duration,
    /// Bytes of memory that stay available.
    pub(crate) memory_reserve: u64,
    /// Bytes of disk space that stay available.
    pub(crate) disk_reserve: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: Vec::new(),
            lease: Duration::from_secs(5),
            longest: Duration::from_secs(3600),
            memory_reserve: 512 << 20,
            disk_reserve: 16 << 20,
        }
    }
}

impl Settings {
    /// How often those who watch each other show that they live.
    pub(crate) fn beat(&self) -> Duration {
        (self.lease / 10).min(Duration::from_millis(500))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let expected = Settings {
            prefix: Vec::new(),
            lease: Duration::from_secs(5),
            longest: Duration::from_secs(3600),
            memory_reserve: 536_870_912,
            disk_reserve: 16_777_216,
        };
        assert_eq!(Settings::default(), expected);
        assert_eq!(expected.beat(), Duration::from_millis(500));
    }
}

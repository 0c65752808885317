//! What was seen of an instance that is not well, and what kind of trouble that is.

use std::time::Duration;

use prober::{Failure, Kind};
use protocol::faults::Issue;

/// An instance's process, as the platform shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// It is not ours to see.
    Unknown,
    /// It runs.
    Runs,
    /// It is there and stands still.
    Stopped,
    /// It has ended, in these words.
    Ended(String),
}

/// What was seen of an instance that is not well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) process: Process,
    /// As load reaches it; `None` = that was not looked at.
    pub(crate) way: Option<Failure>,
    /// Through which address, where that is not its own.
    pub(crate) by: Option<String>,
    /// Directly, where that is another way.
    pub(crate) direct: Option<Result<Duration, Failure>>,
}

impl Trouble {
    /// An instance whose process has ended.
    pub(crate) fn ended(how: String) -> Self {
        Self { process: Process::Ended(how), way: None, by: None, direct: None }
    }

    /// Whether it answers who asks it directly, so that only the way to it is at fault.
    pub(crate) fn way_alone(&self) -> bool {
        let stands = matches!(self.process, Process::Ended(_) | Process::Stopped);
        !stands && self.by.is_some() && matches!(self.direct, Some(Ok(_)))
    }

    /// Whether silence is all that speaks against it: where the host is busy it may be that who asks was kept waiting.
    pub(crate) fn is_silence(&self) -> bool {
        let stands = matches!(self.process, Process::Ended(_) | Process::Stopped);
        !stands && !self.way_alone() && self.own().is_some_and(|failure| failure.kind == Kind::Silent)
    }

    /// Whether load that is led elsewhere by the detour feels it.
    pub(crate) const fn is_felt_by_load(&self) -> bool {
        self.way.is_some() || self.by.is_none()
    }

    /// What who asks directly sees of it.
    fn own(&self) -> Option<&Failure> {
        match &self.direct {
            Some(direct) => direct.as_ref().err(),
            None => self.way.as_ref(),
        }
    }

    /// What kind of trouble it is. `bad` of `all` instances are not well; `used_up` = what is used up on the host or of the
    /// process.
    pub(crate) fn issue(&self, bad: usize, all: usize, used_up: Option<&str>) -> Issue {
        if bad >= 2 && bad * 2 >= all {
            return Issue::CascadingFailure;
        }
        if self.way_alone() {
            return Issue::NetworkPartition;
        }
        if self.process == Process::Runs && self.is_silence() && used_up.is_some() {
            return Issue::ResourceExhaustion;
        }
        Issue::ComponentFailure
    }

    /// In words.
    pub(crate) fn words(&self) -> String {
        let mut words = Vec::new();
        match &self.process {
            Process::Ended(how) => words.push(format!("its process has ended: {how}")),
            Process::Stopped => words.push("its process stands still".to_owned()),
            Process::Runs | Process::Unknown => {}
        }
        if let Some(failure) = &self.way {
            words.push(match &self.by {
                Some(by) => format!("by way of {by}: {failure}"),
                None => failure.to_string(),
            });
        }
        match &self.direct {
            Some(Ok(took)) => {
                words.push(format!("directly it answers within {} ms", took.as_millis().max(1)));
            }
            Some(Err(failure)) => words.push(format!("directly: {failure}")),
            None => {}
        }
        words.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind) -> Failure {
        Failure { kind, seen: "no answer within 600ms".to_owned() }
    }

    fn trouble(way: Kind, direct: Option<Result<Duration, Failure>>) -> Trouble {
        let by = direct.is_some().then(|| "127.0.0.1:4000".to_owned());
        Trouble { process: Process::Runs, way: Some(failure(way)), by, direct }
    }

    #[test]
    fn the_kind_of_trouble_follows_from_what_the_ways_see() {
        let well = || Some(Ok(Duration::from_millis(2)));
        let hangs = || Some(Err(failure(Kind::Silent)));
        let cut = trouble(Kind::Silent, well());
        assert_eq!(cut.issue(1, 3, None), Issue::NetworkPartition);
        assert_eq!(
            cut.words(),
            "by way of 127.0.0.1:4000: no answer within 600ms; directly it answers within 2 ms"
        );
        assert_eq!(trouble(Kind::Broken, hangs()).issue(1, 1, None), Issue::ComponentFailure);
        assert_eq!(trouble(Kind::Broken, hangs()).issue(1, 1, Some("cpu")), Issue::ResourceExhaustion);
        let stopped = Trouble { process: Process::Stopped, ..trouble(Kind::Silent, None) };
        assert_eq!(stopped.issue(1, 1, Some("cpu")), Issue::ComponentFailure, "why is plain");
        assert_eq!(trouble(Kind::Silent, None).issue(1, 1, Some("cpu")), Issue::ResourceExhaustion);
        assert_eq!(trouble(Kind::Refused, None).issue(1, 1, Some("cpu")), Issue::ComponentFailure);
        // It was stopped after it had answered.
        let stopped = Trouble { process: Process::Stopped, ..cut.clone() };
        assert_eq!(stopped.issue(1, 1, None), Issue::ComponentFailure);
        let silence = [&cut, &stopped, &trouble(Kind::Refused, None), &trouble(Kind::Silent, None)];
        assert_eq!(silence.map(Trouble::is_silence), [false, false, false, true]);
        let ended = Trouble::ended("signal 9".to_owned());
        assert_eq!(ended.issue(1, 2, Some("cpu")), Issue::ComponentFailure);
        assert_eq!(ended.words(), "its process has ended: signal 9");
    }

    #[test]
    fn half_of_several_instances_are_a_cascade() {
        let ended = Trouble::ended(String::new());
        let cascades = [(1, 1), (1, 2), (2, 2), (2, 4), (2, 5), (3, 5)]
            .map(|(bad, all)| ended.issue(bad, all, None) == Issue::CascadingFailure);
        assert_eq!(cascades, [false, false, true, true, false, true]);
    }
}

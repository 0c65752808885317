//! What the flags ask for, read and checked: all mistakes at once.

use std::time::Duration;

use plan::units::{parse_duration, parse_rate, parse_share, print_duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::search::{self, Limits};
use crate::args::KneeArgs;
use crate::failure::Failure;

/// A shorter stage has too few seconds to be judged by.
const SHORTEST_STAGE: Duration = Duration::from_secs(1);
/// The stage that looks whether the target is well again; shorter where stages are.
const CALM: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Asked {
    /// First rate, per second.
    pub(crate) start_per_second: f64,
    /// Highest rate, per second.
    pub(crate) max_per_second: f64,
    /// Gap between knee and lowest failure, as a share of the knee.
    pub(crate) precision: f64,
    /// Length of a stage, milliseconds.
    pub(crate) stage_ms: u64,
    /// Length of a confirming stage, milliseconds.
    pub(crate) confirm_ms: u64,
    /// How long the target may take to get well after a failed stage, milliseconds.
    pub(crate) cool_down_ms: u64,
}

/// How long a search may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Stages at most, confirming ones apart.
    pub(crate) stages: u64,
    /// Confirming stages at most.
    pub(crate) confirmations: u64,
    /// All of them, one after the other.
    pub(crate) load: Duration,
    /// The same with whatever is between them at its longest. No stage begins later.
    pub(crate) all: Duration,
}

impl Asked {
    /// Reads the flags.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn read(args: &KneeArgs) -> Result<Self, Failure> {
        let mut problems = Vec::new();
        let mut rate = |flag: &str, text: &str| {
            let read = parse_rate(text).filter(|rate| *rate > 0.0);
            read.unwrap_or_else(|| {
                problems.push(format!(
                    "{flag}: found {text:?}, expected requests per second over 0, such as 50 or 30/m"
                ));
                1.0
            })
        };
        let (start, max) = (rate("--start", &args.start), rate("--max", &args.max));
        if problems.is_empty() && max < start {
            problems.push(format!(
                "--max: found {max}/s, expected at least the rate of --start, which is {start}/s"
            ));
        }
        let mut length = |flag: &str, text: &str, least: Duration| {
            let read = parse_duration(text).filter(|length| *length >= least);
            read.unwrap_or_else(|| {
                problems.push(format!(
                    "{flag}: found {text:?}, expected a duration of at least {} such as 30s",
                    print_duration(least)
                ));
                SHORTEST_STAGE
            })
        };
        let stage = length("--stage", &args.stage, SHORTEST_STAGE);
        let confirm = length("--confirm", &args.confirm, SHORTEST_STAGE);
        let cool_down = length("--cool-down", &args.cool_down, Duration::ZERO);
        if problems.is_empty() && confirm < stage {
            problems.push(format!(
                "--confirm: found {}, expected at least the length of a stage, which is {}: a shorter one confirms nothing",
                print_duration(confirm),
                print_duration(stage)
            ));
        }
        let precision = parse_share(&args.precision).filter(|share| (0.01..=0.5).contains(share));
        if precision.is_none() {
            problems
                .push(format!("--precision: found {:?}, expected a share from 1% to 50%", args.precision));
        }
        if problems.is_empty() && start * stage.as_secs_f64() < 1.0 {
            problems.push(format!(
                "--start: {start}/s sends nothing within a stage of {}: raise it, or lengthen --stage",
                print_duration(stage)
            ));
        }
        if !problems.is_empty() {
            return Err(Failure::input(problems.join("\n")));
        }
        Ok(Self {
            start_per_second: start,
            max_per_second: max,
            precision: precision.unwrap_or(0.5),
            stage_ms: ms(stage),
            confirm_ms: ms(confirm),
            cool_down_ms: ms(cool_down),
        })
    }

    /// What the search goes by.
    pub(crate) const fn limits(&self) -> Limits {
        Limits { start: self.start_per_second, max: self.max_per_second, precision: self.precision }
    }

    /// Length of a stage of this purpose.
    pub(crate) const fn length(&self, purpose: search::Purpose) -> Duration {
        Duration::from_millis(match purpose {
            search::Purpose::Confirm => self.confirm_ms,
            _ => self.stage_ms,
        })
    }

    /// How long the target may take to get well.
    pub(crate) const fn cool_down(&self) -> Duration {
        Duration::from_millis(self.cool_down_ms)
    }

    /// Length of a stage that looks whether it is.
    pub(crate) fn calm(&self) -> Duration {
        CALM.min(Duration::from_millis(self.stage_ms))
    }

    /// How long all may take when each run needs `around` before and after its load.
    pub(crate) fn bound(&self, around: Duration) -> Bound {
        let stages = search::most_stages(&self.limits());
        let confirmations = search::CONFIRMATIONS;
        let (few, many) =
            (u32::try_from(confirmations).unwrap_or(u32::MAX), u32::try_from(stages).unwrap_or(u32::MAX));
        let (stage, confirm) = (Duration::from_millis(self.stage_ms), Duration::from_millis(self.confirm_ms));
        let load = stage.saturating_mul(many).saturating_add(confirm.saturating_mul(few));
        // The last look of a cool-down may begin just before its time is over.
        let pauses = self.cool_down() + self.calm() + around * 2;
        Bound {
            stages: u64::from(many),
            confirmations: u64::from(few),
            load,
            all: load.saturating_add(pauses.saturating_mul(many.saturating_add(few))),
        }
    }
}

/// Whole milliseconds.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn read(flags: &[&str]) -> Result<Asked, Failure> {
        let cli = Cli::parse_from([&["gauntlet", "knee", "plan.toml"], flags].concat());
        let Command::Knee(args) = cli.command else { panic!("knee") };
        Asked::read(&args)
    }

    #[test]
    fn defaults() {
        let asked = read(&[]).unwrap();
        let expected = Asked {
            start_per_second: 10.0,
            max_per_second: 100_000.0,
            precision: 0.05,
            stage_ms: 10_000,
            confirm_ms: 30_000,
            cool_down_ms: 60_000,
        };
        assert_eq!(asked, expected);
        let bound = asked.bound(Duration::from_secs(5));
        assert_eq!((bound.stages, bound.confirmations), (31, 5));
        assert_eq!(bound.load, Duration::from_secs(310 + 150));
        assert_eq!(bound.all, bound.load + Duration::from_secs(36 * 72));
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let flags = ["--start", "0", "--max", "fast", "--stage", "10", "--precision", "60%"];
        let text = read(&flags).unwrap_err().to_string();
        for flag in ["--start", "--max", "--stage", "--precision"] {
            assert!(text.contains(flag), "{flag}: {text}");
        }
        let says = |flags: &[&str], text: &str| {
            let found = read(flags).unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        says(&["--start", "50", "--max", "20"], "--max: found 20/s");
        says(&["--stage", "20s", "--confirm", "10s"], "confirms nothing");
        says(&["--start", "1/h", "--stage", "10s"], "sends nothing");
    }
}

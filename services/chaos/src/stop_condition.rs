//! What ends a fault before its time: a check over a sliding window, asked of `metrics` each second.

use std::time::Duration;

use bus::{Address, Bus};
use plan::model::Stop;
use plan::threshold::{Check, Threshold};
use protocol::id::RunId;
use protocol::v1;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::schedule;

/// How often it is evaluated.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take to be of use.
const ANSWER: Duration = Duration::from_secs(1);
/// So many questions in a row may go unanswered. A fault that nobody watches is not one that the plan allows.
const UNANSWERED: u32 = 5;

/// A stop condition of one fault.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) bus: Bus,
    pub(crate) run: RunId,
    pub(crate) phase: u32,
    /// Index of the target in the plan.
    pub(crate) target: u32,
    pub(crate) stop: Stop,
}

/// Why a fault is to end before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// The condition holds.
    Condition(String),
    /// It cannot be told whether it does.
    Blind(String),
}

impl Watch {
    /// Waits until the fault is to end; never, where the plan says `none`.
    pub(crate) async fn fired(self) -> Fired {
        let Stop::When { check, over } = self.stop else { return std::future::pending().await };
        let began = Instant::now();
        let mut ticks = interval_at(began + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        loop {
            ticks.tick().await;
            // What was there before the fault is none of its doing.
            let window = over.min(began.elapsed());
            let query = v1::QueryAggregate {
                run: self.run.to_bytes(),
                phase: Some(self.phase),
                window_ns: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
                target: Some(self.target),
                ..v1::QueryAggregate::default()
            };
            match self.bus.command(&Address::Service, &query, ANSWER).await {
                Ok(aggregate) => {
                    unanswered = 0;
                    if let Some(seen) = holds(check, &aggregate) {
                        let stop = schedule::stop(&self.stop);
                        return Fired::Condition(format!("stop condition {stop}: seen {seen}"));
                    }
                }
                Err(error) => {
                    unanswered += 1;
                    if unanswered >= UNANSWERED {
                        let stop = schedule::stop(&self.stop);
                        return Fired::Blind(format!("stop condition {stop} cannot be evaluated: {error}"));
                    }
                }
            }
        }
    }
}

/// What was seen, if the check holds. Nothing to evaluate, nothing to stop for.
fn holds(check: Check, aggregate: &v1::Aggregate) -> Option<String> {
    let value = series::evaluate(&Threshold::from(check), aggregate)?;
    series::holds(check.op, value, check.limit).then(|| check.measure.format(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aggregate(answered: u64, failed: u64) -> v1::Aggregate {
        let total = v1::Series { answered, failed, good: answered, ..v1::Series::default() };
        v1::Aggregate { total: Some(total), to_offset_ns: 5_000_000_000, ..v1::Aggregate::default() }
    }

    #[test]
    fn a_check_that_holds_says_what_was_seen() {
        let check: Check = "error_rate > 50%".parse().unwrap();
        assert_eq!(holds(check, &aggregate(39, 61)).as_deref(), Some("61%"));
        assert_eq!(holds(check, &aggregate(61, 39)), None);
        assert_eq!(holds(check, &aggregate(0, 0)), None);
    }
}

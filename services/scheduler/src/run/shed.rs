//! Sending less than the phase wants, for as long as recovery asks for it (requirement R7.1): the least of what open incidents
//! want. A lowered rate is a new wanted rate, and makes no run invalid (R9.4).

use std::time::Duration;

use protocol::event::PhaseChange;
use protocol::v1::change_phase::Change;
use store::StoreError;
use tokio::time::Instant;

use super::Run;
use super::live::Live;
use super::steer::Taken;
use crate::figures::share;

/// Who asks, where a phase begins with what was asked for before.
const BEFORE: &str = "recovery, before this phase";

impl Live {
    /// The share of the wanted rate that workers send, as they were told last.
    fn kept(&self) -> f64 {
        let factor = |(_, change): &(Duration, Change)| match change {
            Change::Factor(factor) => Some(*factor),
            _ => None,
        };
        self.changes.iter().rev().find_map(factor).unwrap_or(1.0)
    }
}

impl Run {
    /// Tells the workers how much of the load is sent now, if that is another share than before.
    pub(super) async fn shed(
        &mut self,
        live: &mut Live,
        at: Duration,
        by: &str,
    ) -> Result<Taken, StoreError> {
        let keep = self.inbox.kept();
        if !live.is_loaded() || same(keep, live.kept()) {
            return Ok(Ok(()));
        }
        let told = self.tell(live, at, PhaseChange::Factor(keep)).await?;
        if told.is_ok() {
            self.note_change(live, at, words(keep), by).await?;
        }
        Ok(told)
    }

    /// A phase begins with what was asked for before it.
    pub(super) async fn shed_from_the_start(&mut self, live: &mut Live) -> Result<(), StoreError> {
        // Its start may lie ahead.
        let at = (Instant::now() + self.ctx.lead).saturating_duration_since(live.t0);
        if let Err(error) = self.shed(live, at, BEFORE).await? {
            tracing::warn!(run = %self.ctx.id, error, "a phase begins with all of its load");
        }
        Ok(())
    }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < f64::EPSILON
}

/// `shed to 50 %`.
fn words(keep: f64) -> String {
    if keep < 1.0 { format!("shed to {}", share(keep)) } else { "all of it is sent again".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn what_is_kept_reads_as_a_change_of_the_load() {
        assert_eq!(
            (words(0.5), words(1.0)),
            ("shed to 50 %".to_owned(), "all of it is sent again".to_owned())
        );
    }
}

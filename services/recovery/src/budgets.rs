//! The budgets of a plan (requirement R7.2), as they are shown beside incidents. Whether one was kept is for who reads the
//! history: what is told of an incident has all three times.

use std::time::Duration;

use plan::model::Budgets;
use protocol::faults::BudgetsView;

/// A plan's budgets in milliseconds.
pub(crate) fn view(budgets: &Budgets) -> BudgetsView {
    let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    BudgetsView {
        detection_ms: ms(budgets.detection),
        recovery_ms: ms(budgets.recovery),
        validation_ms: ms(budgets.validation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_requirement() {
        let expected = BudgetsView { detection_ms: 30_000, recovery_ms: 120_000, validation_ms: 300_000 };
        assert_eq!(view(&Budgets::default()), expected);
    }
}

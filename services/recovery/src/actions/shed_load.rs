//! Asking the scheduler for less load.

use std::time::Duration;

use bus::{Address, CommandError};
use protocol::faults::ActionOutcome;
use protocol::v1;

use super::Order;

/// How long the scheduler may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks that this share of the wanted load is sent as far as the order's incident is concerned; 1 = all of it.
pub(super) async fn ask(order: &Order, keep: f64) -> (ActionOutcome, String) {
    let (run, incident) = (order.shared.run.to_bytes(), order.incident.clone());
    let command = v1::ShedLoad { run, incident, keep };
    match order.shared.bus.command(&Address::Service, &command, DEADLINE).await {
        Ok(reply) if reply.refused.is_empty() => {
            let sent = if keep >= 1.0 {
                "all of the wanted load is sent again as far as this incident is concerned".to_owned()
            } else {
                format!("{:.0} % of the wanted load is sent", keep * 100.0)
            };
            (ActionOutcome::Done, sent)
        }
        Ok(reply) => (ActionOutcome::NotPossible, reply.refused),
        Err(CommandError::Refused(why)) => (ActionOutcome::NotPossible, why),
        Err(error) => (ActionOutcome::Failed, error.to_string()),
    }
}

//! `gauntlet recovery`: health and incidents of a run that is under way.

use protocol::faults::{IncidentView, RecoveryView, TargetView};
use report::figures::{length, round_length};
use serde::Deserialize as _;

use super::live_run::{LiveRun, block_on};
use crate::args::{RecoveryArgs, RecoveryCommand};
use crate::failure::Failure;
use crate::{output, table};

pub(crate) fn dispatch(args: &RecoveryArgs) -> Result<u8, Failure> {
    let RecoveryCommand::Status = args.action;
    block_on(async {
        let answer = LiveRun::find(&args.run).await?.get("recovery").await?;
        if args.json {
            output::line(&answer.to_string());
            return Ok(0);
        }
        let view = RecoveryView::deserialize(&answer)
            .map_err(|error| Failure::environment(format!("the API's answer cannot be read: {error}")))?;
        output::print(&status(&view));
        Ok(0)
    })
}

fn status(view: &RecoveryView) -> String {
    let targets: Vec<Vec<String>> = view.targets.iter().map(target).collect();
    let mut text = table::left(&["target", "health", "probed every", "restarts", "seen"], &targets);
    text.push('\n');
    if view.incidents.is_empty() {
        text.push_str("no incident\n");
    } else {
        let incidents: Vec<Vec<String>> = view.incidents.iter().map(incident).collect();
        let head = ["incident", "state", "issue", "fault", "actions", "seen"];
        text.push_str(&table::left(&head, &incidents));
    }
    let budgets = view.budgets;
    text.push_str(&format!(
        "\nbudgets: detection {}, recovery {}, validation {}\n",
        round_length(budgets.detection_ms),
        round_length(budgets.recovery_ms),
        round_length(budgets.validation_ms)
    ));
    text
}

fn target(view: &TargetView) -> Vec<String> {
    let (done, left) = view.restarts;
    vec![
        view.target.clone(),
        if view.healthy { "healthy" } else { "NOT HEALTHY" }.to_owned(),
        round_length(view.interval_ms),
        format!("{done} done, {left} left"),
        view.seen.clone(),
    ]
}

fn incident(view: &IncidentView) -> Vec<String> {
    let state = match view.closed_unix_ns {
        Some(closed) => {
            let ms = closed.saturating_sub(view.opened_unix_ns).max(0).unsigned_abs() / 1_000_000;
            format!("closed after {}", length(ms))
        }
        None => "OPEN".to_owned(),
    };
    let or_none = |text: String| if text.is_empty() { "–".to_owned() } else { text };
    vec![
        view.incident.clone(),
        state,
        view.issue.name().to_owned(),
        or_none(view.fault.clone().unwrap_or_default()),
        or_none(view.actions.join(", ")),
        view.seen.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use protocol::faults::{BudgetsView, Issue};

    use super::*;

    #[test]
    fn a_status_reads_as_tables() {
        let view = RecoveryView {
            targets: vec![TargetView {
                target: "shop".to_owned(),
                healthy: false,
                seen: "connection refused".to_owned(),
                interval_ms: 1_000,
                restarts: (1, 4),
            }],
            incidents: vec![IncidentView {
                incident: "shop-1".to_owned(),
                target: "shop".to_owned(),
                issue: Issue::ComponentFailure,
                seen: "connection refused".to_owned(),
                fault: Some("a shop dies".to_owned()),
                opened_unix_ns: 0,
                closed_unix_ns: Some(1_500_000_000),
                actions: vec!["restart done".to_owned()],
            }],
            budgets: BudgetsView { detection_ms: 30_000, recovery_ms: 120_000, validation_ms: 300_000 },
        };
        assert_eq!(
            status(&view),
            "target  health       probed every  restarts        seen\n\
             shop    NOT HEALTHY  1 s           1 done, 4 left  connection refused\n\n\
             incident  state               issue              fault        actions       seen\n\
             shop-1    closed after 1.5 s  component failure  a shop dies  restart done  connection refused\n\n\
             budgets: detection 30 s, recovery 2 min, validation 5 min\n"
        );
        assert!(status(&RecoveryView::default()).contains("no incident"));
    }
}

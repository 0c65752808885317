//! `junit.xml`: each phase a test suite, each objective, threshold and validity rule a test case, so that a CI
//! server shows the verdict where its users look.
//!
//! Faults and incidents are suites of their own. A fault that is not known to be undone fails the build, as the run
//! does (exit code 97); one that was not injected is skipped with its reason. An incident over a budget is a finding,
//! as an objective is: skipped with a message, because only what the plan demands by a threshold fails a build.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::faults::{Fate, FaultSummary, IncidentSummary};
use crate::run_dir::WriteError;
use crate::summary::{Check, Summary};

/// The file's text.
pub(crate) fn render(summary: &Summary) -> Result<String, WriteError> {
    let mut report = Report::new(format!("gauntlet: {}", summary.name));
    report.set_time(Duration::from_millis(summary.lasted_ms));
    for phase in &summary.phases {
        let mut suite = TestSuite::new(format!("phase {}", phase.name));
        suite.set_time(Duration::from_millis(phase.lasted_ms));
        let groups = [
            ("objective", &phase.objectives),
            ("threshold", &phase.thresholds),
            ("validity", &phase.validity),
        ];
        for (group, checks) in groups {
            suite.add_test_cases(checks.iter().map(|check| case(group, check)));
        }
        report.add_test_suite(suite);
    }
    if !summary.faults.is_empty() {
        let mut suite = TestSuite::new("faults");
        suite.add_test_cases(summary.faults.iter().map(fault));
        report.add_test_suite(suite);
    }
    if !summary.incidents.is_empty() {
        let mut suite = TestSuite::new("incidents");
        suite.add_test_cases(summary.incidents.iter().map(incident));
        report.add_test_suite(suite);
    }
    let mut suite = TestSuite::new("run");
    suite.set_time(Duration::from_millis(summary.lasted_ms));
    suite.add_test_cases(summary.thresholds.iter().map(|check| case("threshold", check)));
    suite.add_test_case(verdict(summary));
    report.add_test_suite(suite);
    report.to_string().map_err(|error| WriteError::Render(format!("junit.xml: {error}")))
}

/// Objectives are findings: only thresholds, validity and the verdict fail a build.
fn case(group: &str, check: &Check) -> TestCase {
    let status = match (check.result.as_str(), group) {
        ("pass", _) => TestCaseStatus::success(),
        ("fail", "threshold" | "validity") => {
            failed(format!("expected {}; seen {}", check.expected, check.seen))
        }
        ("fail", _) => skipped(format!("not met: expected {}; seen {}", check.expected, check.seen)),
        _ => skipped(format!("not evaluable: {}", check.reason.as_deref().unwrap_or("no data"))),
    };
    let mut case = TestCase::new(check.name.clone(), status);
    case.set_classname(group);
    case
}

fn fault(fault: &FaultSummary) -> TestCase {
    let status = match fault.fate {
        Fate::Ended => TestCaseStatus::success(),
        Fate::Unrecovered => failed(format!("not undone: {}", fault.detail)),
        Fate::Beginning | Fate::Injected => failed("the history has no end of it".to_owned()),
        Fate::Skipped => skipped(format!("not injected: {}", fault.detail)),
        Fate::Planned => skipped("not injected: the run ended before its time came".to_owned()),
    };
    let mut case = TestCase::new(format!("{}: {}", fault.fault, fault.does), status);
    case.set_classname("fault");
    case.set_time(Duration::from_millis(fault.held_ms.unwrap_or(0)));
    case
}

fn incident(incident: &IncidentSummary) -> TestCase {
    let status = match incident.over_budget.as_slice() {
        [] => TestCaseStatus::success(),
        over => skipped(format!("over budget: {}", over.join("; "))),
    };
    let name = format!("{}: {} of {}", incident.incident, incident.issue, incident.target);
    let mut case = TestCase::new(name, status);
    case.set_classname("incident");
    let lasted = incident.closed_ms.map_or(0, |closed| closed.saturating_sub(incident.opened_ms));
    case.set_time(Duration::from_millis(lasted));
    case
}

fn failed(message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(message);
    status
}

fn skipped(message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}

fn verdict(summary: &Summary) -> TestCase {
    let name = summary.verdict.as_deref().unwrap_or("none");
    let status = if summary.exit_code == Some(0) {
        TestCaseStatus::success()
    } else {
        failed(format!("{name}: {}", summary.reasons.join("; ")))
    };
    let mut case = TestCase::new("verdict", status);
    case.set_classname("run");
    case
}

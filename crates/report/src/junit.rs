//! `junit.xml`: each phase a test suite, each objective, threshold and validity rule a test case, so that a CI
//! server shows the verdict where its users look.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

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
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(format!("expected {}; seen {}", check.expected, check.seen));
            status
        }
        ("fail", _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("not met: expected {}; seen {}", check.expected, check.seen));
            status
        }
        _ => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("not evaluable: {}", check.reason.as_deref().unwrap_or("no data")));
            status
        }
    };
    let mut case = TestCase::new(check.name.clone(), status);
    case.set_classname(group);
    case
}

fn verdict(summary: &Summary) -> TestCase {
    let name = summary.verdict.as_deref().unwrap_or("none");
    let status = if summary.exit_code == Some(0) {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!("{name}: {}", summary.reasons.join("; ")));
        status
    };
    let mut case = TestCase::new("verdict", status);
    case.set_classname("run");
    case
}

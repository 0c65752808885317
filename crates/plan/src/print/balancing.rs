//! How requests are divided among a target's endpoints.

use toml_edit::{InlineTable, Table, value};

use super::text;
use crate::model::{HealthCheck, OutlierDetection, Target};
use crate::units::{print_duration, print_share};

/// Says it of a target with several endpoints; of one with one endpoint there is nothing to say.
pub(super) fn print(target: &Target, table: &mut Table) {
    if target.urls.len() < 2 {
        return;
    }
    table["balance"] = text(target.balancing.policy.word());
    if let Some(check) = &target.balancing.health_check {
        table["health-check"] = value(health_check(check));
    }
    if let Some(detection) = &target.balancing.outlier_detection {
        table["outlier-detection"] = value(outlier_detection(detection));
    }
}

fn health_check(check: &HealthCheck) -> InlineTable {
    let mut table = InlineTable::new();
    if let Some(path) = &check.path {
        table.insert("path", path.into());
    }
    table.insert("interval", print_duration(check.interval).into());
    table.insert("timeout", print_duration(check.timeout).into());
    table.insert("unhealthy-threshold", i64::from(check.unhealthy_threshold).into());
    table.insert("healthy-threshold", i64::from(check.healthy_threshold).into());
    table
}

fn outlier_detection(detection: &OutlierDetection) -> InlineTable {
    let mut table = InlineTable::new();
    table.insert("consecutive-failures", i64::from(detection.consecutive_failures).into());
    table.insert("base-ejection", print_duration(detection.base_ejection).into());
    table.insert("max-ejected", print_share(detection.max_ejected).into());
    table
}

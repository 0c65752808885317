//! `balance`, `health-check` and `outlier-detection` of a target.

use crate::model::{Balance, Balancing, HealthCheck, OutlierDetection};
use crate::reader::{Field, Section};
use crate::spec;

/// In the order of [`spec::BALANCES`].
const POLICIES: [Balance; 4] =
    [Balance::RoundRobin, Balance::Random, Balance::LeastConnections, Balance::PowerOfTwo];

impl Balance {
    /// As the plan writes it.
    pub(crate) fn word(self) -> &'static str {
        let words = POLICIES.iter().zip(spec::BALANCES);
        words.filter(|(policy, _)| **policy == self).map(|(_, word)| *word).next().unwrap_or_default()
    }
}

/// What a target says of dividing requests among so many endpoints.
pub(super) fn balancing(target: &Section<'_>, endpoints: usize) -> Balancing {
    let several = |key: &'static str| {
        let field = target.get(key)?;
        // Without a URL that can be read there is another problem to mend first.
        if endpoints == 1 {
            field.misplaced(
                format!("found `{key}`, but the target has one URL: there is nothing to choose from"),
                "write a list of URLs, or leave it out",
            );
        }
        Some(field)
    };
    let policy = several("balance").and_then(|field| field.word(spec::BALANCES));
    Balancing {
        policy: policy.and_then(|at| POLICIES.get(at).copied()).unwrap_or_default(),
        health_check: several("health-check").and_then(|field| {
            let section = field.section(spec::HEALTH_CHECK)?;
            if target.has("proxy") && !section.has("path") {
                field.misplaced("a TCP connection to the proxy says nothing of the endpoint", "add `path`");
            }
            Some(health_check(section))
        }),
        outlier_detection: several("outlier-detection")
            .and_then(|field| field.section(spec::OUTLIER_DETECTION))
            .map(outlier_detection),
    }
}

fn health_check(section: Section<'_>) -> HealthCheck {
    let default = HealthCheck::default();
    let times = |key| section.get(key).and_then(|field| field.whole(1..=spec::MANY));
    let long = |key| section.get(key).and_then(|field| field.some_duration());
    let check = HealthCheck {
        path: section.get("path").and_then(|field| path(&field)),
        interval: long("interval").unwrap_or(default.interval),
        timeout: long("timeout").unwrap_or(default.timeout),
        unhealthy_threshold: times("unhealthy-threshold").unwrap_or(default.unhealthy_threshold),
        healthy_threshold: times("healthy-threshold").unwrap_or(default.healthy_threshold),
    };
    section.finish();
    check
}

fn path(field: &Field<'_>) -> Option<String> {
    let path = field.text()?;
    if !path.starts_with('/') {
        return field.wrong("a path, such as \"/health\"", "begin it with a slash");
    }
    if path.contains('#') || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return field.wrong("a path, such as \"/health\"", "leave out white space and what follows a #");
    }
    Some(path)
}

fn outlier_detection(section: Section<'_>) -> OutlierDetection {
    let default = OutlierDetection::default();
    let detection = OutlierDetection {
        consecutive_failures: section
            .get("consecutive-failures")
            .and_then(|field| field.whole(1..=spec::MANY))
            .unwrap_or(default.consecutive_failures),
        base_ejection: section
            .get("base-ejection")
            .and_then(|field| field.some_duration())
            .unwrap_or(default.base_ejection),
        max_ejected: section
            .get("max-ejected")
            .and_then(|field| field.share())
            .unwrap_or(default.max_ejected),
    };
    section.finish();
    detection
}

//! Dividing requests among the endpoints of a target.

use std::time::Duration;

use proptest::option;
use proptest::sample::select;
use proptest::strategy::Strategy;

use super::roundtrip::{duration, share};
use super::{Problems, parse};
use crate::Plan;
use crate::model::{Balance, Balancing, HealthCheck, OutlierDetection};

pub(super) fn any() -> impl Strategy<Value = Balancing> {
    let policy =
        select(vec![Balance::RoundRobin, Balance::Random, Balance::LeastConnections, Balance::PowerOfTwo]);
    let times = || 1..1_000_000_u32;
    let check = (option::of("/[a-z?=]{0,8}"), [duration(), duration()], [times(), times()]).prop_map(
        |(path, [interval, timeout], [unhealthy_threshold, healthy_threshold])| HealthCheck {
            path,
            interval,
            timeout,
            unhealthy_threshold,
            healthy_threshold,
        },
    );
    let detection =
        (times(), duration(), share()).prop_map(|(consecutive_failures, base_ejection, max_ejected)| {
            OutlierDetection { consecutive_failures, base_ejection, max_ejected }
        });
    (policy, option::of(check), option::of(detection)).prop_map(
        |(policy, health_check, outlier_detection)| Balancing { policy, health_check, outlier_detection },
    )
}

/// A plan whose target has these URLs and keys.
fn target(urls: &str, keys: &str) -> Result<Plan, Problems> {
    parse(&format!("targets.shop = {{ url = {urls}{keys} }}\n[[scenarios]]\nguest = \"http\"\n"))
}

fn two(keys: &str) -> Balancing {
    target("[\"http://a\", \"http://b\"]", keys).unwrap().targets[0].balancing.clone()
}

#[test]
fn nothing_is_checked_or_ejected_unless_asked_for() {
    assert_eq!(
        two(""),
        Balancing { policy: Balance::RoundRobin, health_check: None, outlier_detection: None }
    );
}

#[test]
fn policies_have_their_names() {
    for (word, policy) in [
        ("round-robin", Balance::RoundRobin),
        ("random", Balance::Random),
        ("least-connections", Balance::LeastConnections),
        ("power-of-two", Balance::PowerOfTwo),
    ] {
        assert_eq!(two(&format!(", balance = \"{word}\"")).policy, policy);
        assert_eq!(policy.word(), word);
    }
}

#[test]
fn defaults_of_checks_and_ejection() {
    let secs = Duration::from_secs;
    assert_eq!(
        two(", health-check = {}").health_check.unwrap(),
        HealthCheck {
            path: None,
            interval: secs(10),
            timeout: secs(5),
            unhealthy_threshold: 3,
            healthy_threshold: 2
        }
    );
    assert_eq!(
        two(", outlier-detection = {}").outlier_detection.unwrap(),
        OutlierDetection { consecutive_failures: 5, base_ejection: secs(30), max_ejected: 0.5 }
    );
}

#[test]
fn what_is_wrong_is_said_by_its_place() {
    let both = "[\"http://a\", \"http://b\"]";
    for (urls, keys, place, message) in [
        (both, ", balance = \"fastest\"", "balance", "expected one of round-robin"),
        ("\"http://a\"", ", balance = \"random\"", "balance", "one URL"),
        ("[\"http://a\"]", ", health-check = {}", "health-check", "one URL"),
        ("\"http://a\"", ", outlier-detection = {}", "outlier-detection", "one URL"),
        (both, ", health-check = { path = \"health\" }", "health-check.path", "expected a path"),
        (both, ", health-check = { path = \"/a b\" }", "health-check.path", "expected a path"),
        (both, ", proxy = \"http://p:1\", health-check = {}", "health-check", "says nothing of the endpoint"),
        (both, ", health-check = { interval = \"0s\" }", "health-check.interval", "0s"),
        (both, ", health-check = { unhealthy-threshold = 0 }", "health-check.unhealthy-threshold", "1"),
        (both, ", outlier-detection = { max-ejected = \"101%\" }", "outlier-detection.max-ejected", "101"),
        (
            both,
            ", outlier-detection = { consecutive-failures = 0 }",
            "outlier-detection.consecutive-failures",
            "1",
        ),
    ] {
        let problem = super::errors::only(target(urls, keys));
        assert_eq!(problem.key, format!("targets.shop.{place}"), "{problem}");
        assert!(problem.message.contains(message), "{keys}: {problem}");
    }
}

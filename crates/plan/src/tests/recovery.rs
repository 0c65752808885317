//! `[recovery.*]` and `[recovery-budgets]`: what is read, its defaults, and what is refused.

use std::time::Duration;

use super::errors::only;
use super::parse;
use crate::model::{Backup, Budgets, Recovery, Strategy};
use crate::{Plan, Problems};

const BASE: &str = r#"
processes.a.command = ["p"]
processes.spare.command = ["p"]
targets.shop.url = "http://shop"
targets.shop.platform.process = "a"
targets.far.url = "http://far"
scenarios = [{ guest = "http", target = "shop" }]
"#;

fn with(lines: &str) -> Result<Plan, Problems> {
    parse(&format!("{BASE}{lines}"))
}

#[test]
fn defaults() {
    let s = Duration::from_secs;
    let plan = with("[recovery.shop]\n[recovery.far]\n").unwrap();
    let expected = Recovery {
        strategy: vec![Strategy::Restart],
        backup: None,
        interval: s(5),
        timeout: Duration::from_millis(600),
        fall: 1,
        rise: 2,
        restarts: 5,
        shed: 0.5,
    };
    assert_eq!(plan.recovery["shop"], expected);
    assert_eq!(plan.recovery["far"], Recovery { strategy: vec![Strategy::ShedLoad], ..expected });
    assert_eq!(plan.budgets, Budgets { detection: s(30), recovery: s(120), validation: s(300) });
    let plan = with("").unwrap();
    assert!(plan.recovery.is_empty());
    assert_eq!(plan.budgets, Budgets::default());
}

#[test]
fn all_keys() {
    let plan = with(
        "[recovery.shop]\nstrategy = [\"shed-load\", \"failover\", \"restart\"]\n\
         backup = { url = \"http://spare\", process = \"spare\" }\n\
         interval = \"500ms\"\nfall = 3\nrise = 4\nrestarts = 0\nshed = 20\n\
         [recovery-budgets]\ndetection = \"1s\"\nrecovery = \"2s\"\nvalidation = \"3s\"\n",
    )
    .unwrap();
    assert_eq!(
        plan.recovery["shop"],
        Recovery {
            strategy: vec![Strategy::ShedLoad, Strategy::Failover, Strategy::Restart],
            backup: Some(Backup { url: "http://spare".into(), process: Some("spare".into()) }),
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(500),
            fall: 3,
            rise: 4,
            restarts: 0,
            shed: 0.2,
        }
    );
    assert_eq!(plan.budgets.validation, Duration::from_secs(3));
    assert!(plan.is_backup("spare") && !plan.is_backup("a"));
    assert_eq!(with("[recovery.far]\nstrategy = []").unwrap().recovery["far"].strategy, []);
    assert_eq!(with("[recovery.far]\nshed = \"25%\"").unwrap().recovery["far"].shed, 0.25);
}

#[test]
fn each_mistake_is_told_with_its_place_and_mend() {
    for (lines, key, message, mend) in [
        ("[recovery.shp]", "shp", "there is no target \"shp\"", "did you mean \"shop\"?"),
        (
            "[recovery.far]\nstrategy = [\"restart\"]",
            "far.strategy[0]",
            "nobody can restart it",
            "add `platform`",
        ),
        ("[recovery.shop]\nstrategy = [\"failover\"]", "shop.strategy[0]", "no `backup`", "add backup"),
        (
            "[recovery.shop]\nstrategy = [\"restart\", \"restart\"]",
            "shop.strategy[1]",
            "stands here twice",
            "leave it out",
        ),
        ("[recovery.shop]\nstrategy = [\"reboot\"]", "shop.strategy[0]", "expected one of restart", ""),
        ("[recovery.shop]\nbackup = { url = \"http://b\" }", "shop.backup", "no failover", "\"failover\"]"),
        (
            "[recovery.far]\nstrategy = [\"failover\"]\nbackup = { url = \"http://b\", process = \"a\" }",
            "far.backup.process",
            "runs the target shop",
            "no target's `platform`",
        ),
        (
            "[recovery.shop]\nstrategy = [\"failover\"]\nbackup = { url = \"http://b\", process = \"spar\" }",
            "shop.backup.process",
            "no process \"spar\"",
            "did you mean \"spare\"?",
        ),
        (
            "[recovery.shop]\nstrategy = [\"failover\"]\nbackup = { url = \"http://shop\" }",
            "shop.backup.url",
            "an instance of shop itself",
            "another URL",
        ),
        (
            "[recovery.shop]\nstrategy = [\"failover\"]\nbackup = {}",
            "shop.backup.url",
            "missing",
            "add `url`",
        ),
        (
            "[recovery.shop]\ninterval = \"1s\"\ntimeout = \"2s\"",
            "shop.timeout",
            "over `interval`",
            "lower it",
        ),
        ("[recovery.shop]\ninterval = \"0s\"", "shop.interval", "over zero", ""),
        ("[recovery.shop]\nfall = 0", "shop.fall", "from 1 to 1000", ""),
        ("[recovery.shop]\nrise = 0", "shop.rise", "from 1 to 1000", ""),
        ("[recovery.shop]\nrestarts = -1", "shop.restarts", "from 0 to 1000", ""),
        ("[recovery.shop]\nshed = 100", "shop.shed", "from 1 to 99", ""),
        ("[recovery.shop]\nshed = \"100%\"", "shop.shed", "below 100%", "such as 50"),
        ("[recovery.shop]\nsched = 5", "shop.sched", "unknown key", "did you mean `shed`?"),
    ] {
        let problem = only(with(lines));
        assert_eq!(problem.key, format!("recovery.{key}"), "{problem}");
        assert!(problem.line > 7, "{problem}");
        assert!(problem.message.contains(message) && problem.mend.contains(mend), "{lines}: {problem}");
    }
    let problem = only(with("[recovery-budgets]\ndetection = 30"));
    assert_eq!(problem.key, "recovery-budgets.detection");
}

#[test]
fn many_mistakes_come_at_once_in_the_order_of_the_text() {
    let problems = with(
        "[[chaos]]\nrecipe = \"kill\"\ntarget = \"far\"\nduration = 5\nmode = \"0%\"\n\
         [[chaos]]\nrecipe = \"latency\"\ntarget = \"shop\"\nlatency = 1\njitter = 2\nduration = \"1s\"\nstop = \"p99 > 1s\"\n\
         [recovery.shop]\nfall = 0\nrise = 0\n[recovery-budgets]\nvalidation = 1\n",
    )
    .unwrap_err();
    let keys: Vec<(usize, &str)> = problems.0.iter().map(|p| (p.line, p.key.as_str())).collect();
    assert_eq!(
        keys,
        [
            (8, "chaos[0].stop"),
            (10, "chaos[0].target"),
            (10, "chaos[0].target"),
            (11, "chaos[0].duration"),
            (12, "chaos[0].mode"),
            (15, "chaos[1].target"),
            (16, "chaos[1].latency"),
            (17, "chaos[1].jitter"),
            (19, "chaos[1].stop"),
            (21, "recovery.shop.fall"),
            (22, "recovery.shop.rise"),
            (24, "recovery-budgets.validation"),
        ],
        "{problems}"
    );
}

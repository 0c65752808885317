//! Wrong plans: each problem with its place, what was found, what was expected and the mend.

use super::{SMALLEST, and, parse, with};
use crate::Problem;

pub(super) fn only(result: Result<crate::Plan, crate::Problems>) -> Problem {
    let mut problems = result.unwrap_err().0;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn the_line_is_shown_with_a_caret() {
    let problems = parse(
        "name = \"x\"\n[targets.shop]\nurl = \"http://127.0.0.1\"\n[[scenarios]]\nguest = \"http\"\n\
        [phases.heavy]\nrate = \"fast\"\ndurration = \"3m\"\n",
    );
    assert_eq!(
        problems.unwrap_err().to_string(),
        "\
shop.toml:7:8: phases.heavy.rate: found the string \"fast\", expected requests per second such as 500 or \"30/m\"
   |
 7 | rate = \"fast\"
   |        ^^^^^^
   = a rate is from 0 to 100 000 000 a second

shop.toml:8:1: phases.heavy.durration: unknown key
   |
 8 | durration = \"3m\"
   | ^^^^^^^^^
   = did you mean `duration`?"
    );
}

#[test]
fn malformed_toml_names_its_place() {
    let problem = only(parse("name = \"x\"\ntargets = [1, 2\nseed = 3\n"));
    assert!(problem.line >= 2 && problem.column >= 1, "{problem}");
    assert!(problem.message.starts_with("not TOML: "), "{problem}");
    let problem = only(parse("seed = 1\nseed = 2\n"));
    assert_eq!(problem.line, 2, "{problem}");
    assert!(problem.message.contains("duplicate key"), "{problem}");
    only(parse("é = 'ü"));
}

#[test]
fn an_empty_plan_says_what_is_missing() {
    let problems = parse("").unwrap_err();
    let keys: Vec<&str> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["targets", "scenarios"]);
    assert!(problems.to_string().contains("add `targets`"), "{problems}");
}

#[test]
fn sections_of_later_versions_are_unknown_keys() {
    let problem = only(and("[[capacity]]\nfit = true"));
    assert_eq!((problem.key.as_str(), problem.message.as_str()), ("capacity", "unknown key"));
}

#[test]
fn many_errors_come_at_once_in_the_order_of_the_text() {
    let text = r#"
seed = -1
time-scale = 0
tier = "stres"
run-phases = ["warmup"]
[targets.shop]
url = "127.0.0.1:8080"
platform = { process = "shp" }
[[scenarios]]
guest = "sha256:abc"
target = "shopp"
weight = 0
[thresholds]
run = ["p99 < 1s"]
[control]
api = "0.0.0.0:80"
[phases.light]
duration = 5
"#;
    let problems = parse(text).unwrap_err();
    let lines: Vec<(usize, &str)> = problems.0.iter().map(|p| (p.line, p.key.as_str())).collect();
    assert_eq!(
        lines,
        [
            (2, "seed"),
            (3, "time-scale"),
            (4, "tier"),
            (5, "run-phases[0]"),
            (7, "targets.shop.url"),
            (8, "targets.shop.platform.process"),
            (10, "scenarios[0].guest"),
            (11, "scenarios[0].target"),
            (12, "scenarios[0].weight"),
            (14, "thresholds.run[0]"),
            (16, "control.api"),
            (18, "phases.light.duration"),
        ],
        "{problems}"
    );
    assert!(problems.0.iter().filter(|p| p.mend.is_empty()).count() <= 4, "{problems}");
}

#[test]
fn impossible_phases() {
    for (keys, place, message) in [
        ("rate = 100\nusers = 5", "rate", "closed model"),
        ("connections = 0", "connections", "without a connection"),
        ("max-users = 0", "max-users", "without a user"),
        ("duration = \"0s\"", "duration", "over zero"),
        ("rate = 0", "rate", "idle"),
        ("rate = -5", "rate", "expected requests per second"),
        ("ramp = \"2h\"", "ramp", "longer than its phase"),
        ("ramp = \"0s\"\nstart-rate = 5", "ramp", "no length"),
        ("floor = 5", "floor", "chaos phase"),
        ("think = \"1s\"", "users", "missing"),
        ("users = 5\narrivals = \"poisson\"", "arrivals", "when they are free"),
        ("arrivals = { burst = 0 }", "arrivals.burst", "from 1"),
        ("cpu = [\"50%\", \"10%\"]", "cpu", "above the upper end"),
        ("objectives.cache-hit-ration = 0.5", "objectives.cache-hit-ration", "no such parameter"),
        ("scenarios.nobody.x = 1", "scenarios.nobody", "no scenario"),
        ("on-objective-failure = { hold = \"0s\" }", "on-objective-failure.hold", "over zero"),
    ] {
        let problem = only(and(&format!("[phases.light]\n{keys}")));
        assert_eq!(problem.key, format!("phases.light.{place}"), "{problem}");
        assert!(problem.message.contains(message), "{keys}: {problem}");
    }
    for (keys, place, message) in [
        ("idle.rate = 5", "idle.rate", "without load"),
        ("idle.users = 5", "idle.users", "without load"),
        ("idle.connections = 5", "idle.connections", "no connections"),
        ("chaos.floor = 10\nchaos.ceiling = 5", "chaos.floor", "above the ceiling"),
        ("chaos.step = \"0s\"", "chaos.step", "over zero"),
        ("chaos.rate = 5\nchaos.floor = 1", "chaos.floor", "or a random walk"),
        ("chaos.ramp = \"1s\"", "chaos.ramp", "no ramp"),
    ] {
        let problem = only(and(&format!("[phases]\n{keys}")));
        assert_eq!(problem.key, format!("phases.{place}"), "{problem}");
        assert!(problem.message.contains(message), "{keys}: {problem}");
    }
}

#[test]
fn urls() {
    for (url, message) in [
        ("127.0.0.1:8080", "did you mean \\\"http://127.0.0.1:8080\\\"?"),
        ("ftp://a", "expected a URL with http or https"),
        ("http://", "name the host"),
        ("http://a:0", "a port is from 1"),
        ("http://a:99999", "a port is from 1"),
        ("http://::1/", "IPv6"),
        ("http://user:pw@a", "without user and password"),
        ("http://a b", "white space"),
    ] {
        let problem = only(parse(&format!("targets.a.url = \"{url}\"\n[[scenarios]]\nguest = \"http\"\n")));
        let shown = format!("{:?}", problem.to_string());
        assert!(shown.contains(message), "{url}: {problem}");
    }
    for url in ["http://[::1]:80", "https://a.example/base/", "http://a:8080"] {
        parse(&format!("targets.a.url = \"{url}\"\n[[scenarios]]\nguest = \"http\"\n")).unwrap();
    }
}

#[test]
fn two_scenarios_of_one_name() {
    let problem = only(and("[[scenarios]]\nguest = \"http\""));
    assert!(problem.message.contains("second scenario"), "{problem}");
}

#[test]
fn several_targets_want_a_choice() {
    let problem = only(parse(
        "targets.a.url = \"http://a\"\ntargets.b.url = \"http://b\"\n[[scenarios]]\nguest = \"http\"\n",
    ));
    assert_eq!(problem.key, "scenarios[0].target");
}

#[test]
fn thresholds_name_what_the_plan_has() {
    let problem = only(with("thresholds.run = [{ check = \"avg < 1s\", scenario = \"htp\" }]"));
    assert_eq!(problem.mend, "did you mean \"http\"?");
}

#[test]
fn certificates_come_in_pairs() {
    let problem = only(parse(&format!("targets.shop.tls.client-cert = \"a.pem\"\n{SMALLEST}")));
    assert!(problem.message.contains("`client-key` is missing"), "{problem}");
}

#[test]
fn versions_of_tls_stand_in_order() {
    let said = |keys: &str| only(parse(&format!("targets.shop.tls = {{ {keys} }}\n{SMALLEST}"))).to_string();
    let crossed = said("min-version = \"1.3\", max-version = \"1.2\"");
    assert!(crossed.contains("`max-version` is \"1.2\"") && crossed.contains("min-version"), "{crossed}");
    let unknown = said("max-version = \"1.1\"");
    assert!(unknown.contains("one of 1.2, 1.3"), "{unknown}");
}

#[test]
fn streams_are_of_http_2() {
    let said = |keys: &str| {
        only(parse(&format!(
            "targets.shop = {{ url = \"http://a\", {keys} }}\n[[scenarios]]\nguest = \"http\"\n"
        )))
    };
    for (keys, place, message, mend) in [
        ("http = \"3\"", "http", "expected one of 1.1, 2", ""),
        ("http = 2", "http", "expected one of 1.1, 2", ""),
        ("streams = 8", "streams", "HTTP/1.1 has one request", "write http = \"2\""),
        ("http = \"1.1\", streams = 8", "streams", "HTTP/1.1 has one request", "write http = \"2\""),
        ("http = \"2\", streams = 0", "streams", "1", ""),
        ("http = \"2\", streams = 10001", "streams", "10", ""),
    ] {
        let problem = said(keys);
        assert_eq!(problem.key, format!("targets.shop.{place}"), "{problem}");
        assert!(problem.message.contains(message) && problem.mend.contains(mend), "{keys}: {problem}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let load = |path: &str| crate::load(path.as_ref(), &crate::Overrides::default()).unwrap_err().to_string();
    assert!(load("/nowhere/plan.toml").contains("gauntlet plan init"));
    let file = std::env::temp_dir().join(format!("not-utf8-{}.toml", std::process::id()));
    std::fs::write(&file, b"name = \"x\"\nseed = \xff").unwrap();
    let said = load(file.to_str().unwrap());
    std::fs::remove_file(&file).unwrap();
    assert!(said.contains(":2:8") && said.contains("UTF-8"), "{said}");
}

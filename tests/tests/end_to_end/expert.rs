//! The expert guest in whole runs: what it says of answers, tokens, retries and votes is what the servers know.

pub(crate) mod aimock;
mod aimock_times;
pub(crate) mod model;
mod patterns;

use std::collections::BTreeSet;
use std::time::Duration;

use gauntlet_tests::setting::Setting;
use model::{Asked, End, Entry, Model, Reply};
use serde_json::Value;

use crate::plans::{assert_closes, count, phase};

const APIS: [&str; 4] = ["anthropic", "gemini", "deepseek", "openrouter"];
const PATHS: [&str; 4] = [
    "/e0/v1/messages",
    "/e1/v1beta/models/m:streamGenerateContent?alt=sse",
    "/e2/chat/completions",
    "/e3/api/v1/chat/completions",
];

/// One phase; `config` are lines of the scenario's configuration.
fn plan(url: &str, phase: &str, config: &str) -> String {
    format!(
        r#"name = "experts"
seed = 7
run-phases = ["baseline"]

[targets.models]
url = "{url}"

[[scenarios]]
name = "experts"
guest = "expert"
target = "models"
trial = false

[scenarios.config]
prompt = "Query {{arrival}}."
{config}

[phases.baseline]
{phase}

[validity]
judge = false
"#
    )
}

/// One expert of each API, all on one server.
fn one_of_each() -> String {
    let experts = APIS.iter().zip(PATHS).map(|(api, path)| {
        format!(r#"{{ name = "{api}", api = "{api}", model = "m", key = "k", path = "{path}" }}"#)
    });
    format!("experts = [{}]", experts.collect::<Vec<_>>().join(", "))
}

/// (passed, failed) of a check; both 0 when it was never made.
fn check(phase: &Value, name: &str) -> (u64, u64) {
    let found = phase["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    found.map_or((0, 0), |check| (check["passed"].as_u64().unwrap(), check["failed"].as_u64().unwrap()))
}

/// Values of the metric of a step whose name begins with this.
fn metric<'a>(phase: &'a Value, step: &str, name: &str) -> &'a Value {
    let metrics = phase["metrics"].as_array().unwrap();
    let found = metrics
        .iter()
        .find(|metric| metric["step"] == step && metric["name"].as_str().unwrap().starts_with(name));
    &found.unwrap_or_else(|| panic!("no {name} of {step} in {metrics:?}"))["values"]
}

/// The sum of a metric's values, as far as its resolution of a thousandth allows.
fn sum(values: &Value) -> f64 {
    values["mean"].as_f64().unwrap() * values["count"].as_f64().unwrap()
}

const fn contents(arrival: u64) -> u32 {
    // 6 to 12, by the arrival.
    6 + (arrival % 7) as u32
}

/// Of twenty queries: one stream is truncated, one ends with an error, one is first limited and one first overloaded.
fn stream(asked: Asked) -> Reply {
    let gap = Duration::from_millis(10);
    let end = match asked.arrival % 20 {
        3 => End::Truncated,
        8 => End::Error,
        13 if asked.attempt == 0 => return Reply::Status(429, "Retry-After: 1\r\n"),
        17 if asked.attempt == 0 && asked.expert < 3 => return Reply::Status(503, ""),
        17 if asked.attempt == 0 => return Reply::Status(429, ""),
        _ => End::Proper,
    };
    Reply::Stream { contents: contents(asked.arrival), first: Duration::from_millis(30), gap, end }
}

/// Streams of an expert in the log.
fn streams(log: &[Entry], expert: u64, wanted: impl Fn(End) -> bool) -> Vec<&Entry> {
    let is = |entry: &&Entry| {
        entry.asked.expert == expert && matches!(entry.reply, Reply::Stream { end, .. } if wanted(end))
    };
    log.iter().filter(is).collect()
}

#[test]
fn streams_of_all_four_apis_are_counted_as_they_were_written() {
    let setting = Setting::embedded();
    let model = Model::start(stream);
    let config = format!(
        "stream = true\nretries = 1\nbackoff = \"10ms\"\nretry-budget = false\nslo = {{ e2e = \"1h\" }}\n{}",
        one_of_each()
    );
    let phase_lines = "rate = 50\nduration = \"4s\"\nconnections = 100";
    let summary = setting.run(&plan(&model.url(), phase_lines, &config)).summary();
    let (phase, log) = (phase(&summary), model.entries());
    assert_closes(phase);
    assert_eq!((count(phase, "scheduled"), count(phase, "answered")), (200, 200));
    // Two in twenty fail twice, two are retried with success.
    assert_eq!(phase["requests"], log.len());
    assert_eq!((phase["retries"].as_u64().unwrap(), log.len()), (40, 240));
    let mut answered = 0;
    for (expert, api) in (0..).zip(APIS) {
        let asked = log.iter().filter(|entry| entry.asked.expert == expert);
        let queries: BTreeSet<u64> = asked.map(|entry| entry.asked.arrival).collect();
        let good = streams(&log, expert, |end| end == End::Proper);
        let total = queries.len() as u64;
        let bad = total - good.len() as u64;
        answered += good.len();
        assert_eq!(check(phase, &format!("{api}: answers")), (good.len() as u64, bad), "{api}");
        assert_eq!(check(phase, &format!("{api}: token counts")), (good.len() as u64, 0), "{api}");
        assert_eq!(check(phase, &format!("{api}: within its objectives")), (good.len() as u64, bad), "{api}");
        let attempts = |wanted: &dyn Fn(&Reply) -> bool| {
            log.iter().filter(|e| e.asked.expert == expert && wanted(&e.reply)).count() as u64
        };
        for (cause, wanted) in [
            ("truncated", attempts(&|r| matches!(r, Reply::Stream { end: End::Truncated, .. }))),
            ("server error", attempts(&|r| matches!(r, Reply::Stream { end: End::Error, .. }))),
            ("rate limited", attempts(&|r| matches!(r, Reply::Status(429, _)))),
            ("overloaded", attempts(&|r| matches!(r, Reply::Status(503, _)))),
        ] {
            assert_eq!(check(phase, &format!("{api}: cause: {cause}")), (0, wanted), "{api}: {cause}");
        }
        // Exactly the tokens that were counted, one more than contents.
        let tokens: u32 = good.iter().map(|entry| contents(entry.asked.arrival) + 1).sum();
        let output = metric(phase, api, "output tokens,");
        assert_eq!(output["count"], good.len());
        assert!((sum(output) - f64::from(tokens)).abs() < 0.5, "{api}: {tokens} tokens, {output}");
        assert!((sum(metric(phase, api, "input tokens")) - 9.0 * good.len() as f64).abs() < 0.5);
        assert_eq!(metric(phase, api, "TTFT")["count"], good.len(), "{api}");
        assert_eq!(metric(phase, api, "TPOT")["count"], good.len(), "{api}");
        let gaps: usize = streams(&log, expert, |_| true).iter().map(|entry| entry.written.len() - 1).sum();
        assert_eq!(metric(phase, api, "ITL")["count"], gaps, "{api}");
        // Nothing is there before it was written.
        let first = good.iter().map(|entry| entry.written[0]).min().unwrap();
        let p50 = metric(phase, api, "TTFT")["p50"].as_f64().unwrap();
        assert!(
            p50 >= first.as_secs_f64() * 1e3,
            "{api}: {p50} ms, the earliest was written after {first:?}"
        );
    }
    assert_eq!(answered, 180);
    // What was asked for was waited for.
    let mut limited = 0;
    for second in log.iter().filter(|entry| entry.asked.attempt == 1 && entry.asked.arrival % 20 == 13) {
        let first = log.iter().find(|e| {
            e.asked.attempt == 0
                && (e.asked.expert, e.asked.arrival) == (second.asked.expert, second.asked.arrival)
        });
        assert!(second.at - first.unwrap().at >= Duration::from_secs(1));
        limited += 1;
    }
    assert_eq!(limited, 10);
}

/// Against the log: within a millisecond at the median. The cores are shared, so it is run where nothing else runs.
#[test]
#[ignore = "compares times of milliseconds: for a machine that does nothing else"]
fn ttft_and_itl_are_those_of_the_log() {
    let setting = Setting::embedded();
    let gap = Duration::from_millis(20);
    let model = Model::start(move |asked| Reply::Stream {
        contents: contents(asked.arrival),
        first: Duration::from_millis(50),
        gap,
        end: End::Proper,
    });
    let config = format!("stream = true\n{}", one_of_each());
    let phase_lines = "rate = 40\nduration = \"10s\"\nconnections = 40";
    let summary = setting.run(&plan(&model.url(), phase_lines, &config)).summary();
    let (phase, log) = (phase(&summary), model.entries());
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[(values.len() - 1) / 2] * 1e3
    };
    for (expert, api) in (0..).zip(APIS) {
        let streams = streams(&log, expert, |_| true);
        let first = median(streams.iter().map(|entry| entry.written[0].as_secs_f64()).collect());
        let gaps = streams
            .iter()
            .flat_map(|entry| entry.written.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()));
        let gap = median(gaps.collect());
        let seen = |name: &str| metric(phase, api, name)["p50"].as_f64().unwrap();
        println!(
            "{api}: TTFT {:.3} ms, log {first:.3}; ITL {:.3} ms, log {gap:.3}",
            seen("TTFT"),
            seen("ITL")
        );
        assert!((seen("TTFT") - first).abs() <= 1.0, "{api}: TTFT");
        assert!((seen("ITL") - gap).abs() <= 1.0, "{api}: ITL");
    }
}

const EXPERTS: u64 = 5;

/// What an expert does with a query: nothing when it fails, else its vote. Drawn for (query, expert).
fn truth(arrival: u64, expert: u64, failing: u64) -> Option<&'static str> {
    let key = draws::at(draws::text("circle"), arrival * EXPERTS + expert);
    if draws::up_to(99, draws::at(key, 0)) < failing {
        return None;
    }
    Some(if draws::up_to(99, draws::at(key, 1)) < 70 { "Yes." } else { "No." })
}

/// What must come of a circle's queries: (quorum, consensus, right outcomes, votes).
fn expected(queries: u64, failing: u64) -> (u64, u64, u64, u64) {
    let (mut quorum, mut consensus, mut right, mut all) = (0, 0, 0, 0);
    for arrival in 0..queries {
        let votes: Vec<_> = (0..EXPERTS).filter_map(|expert| truth(arrival, expert, failing)).collect();
        all += votes.len() as u64;
        if votes.len() < 3 {
            continue;
        }
        quorum += 1;
        let yes = votes.iter().filter(|vote| **vote == "Yes.").count();
        // Two choices: more than half, or a tie.
        consensus += u64::from(2 * yes != votes.len());
        right += u64::from(2 * yes > votes.len());
    }
    (quorum, consensus, right, all)
}

#[test]
fn outcomes_of_a_circle_are_those_of_its_experts_votes() {
    const QUERIES: u64 = 120;
    let setting = Setting::embedded();
    std::fs::write(setting.path().join("answers.csv"), "answer\nyes\n").unwrap();
    for failing in [0, 20, 40] {
        for early in [false, true] {
            let model = Model::start(move |asked| match truth(asked.arrival, asked.expert, failing) {
                Some(text) => Reply::Whole(text, 3),
                None => Reply::Status(500, ""),
            });
            let experts = (0..EXPERTS).map(|expert| {
                format!(r#"{{ name = "e{expert}", api = "deepseek", model = "m", key = "k", path = "/e{expert}/chat/completions" }}"#)
            });
            let config = format!(
                "feed = \"answers.csv\"\nexpect = \"answer\"\nretries = 0\nbreaker = false\n\
                 circle = {{ vote = [\"yes\", \"no\"], early = {early} }}\nexperts = [{}]",
                experts.collect::<Vec<_>>().join(", ")
            );
            let phase_lines = "rate = 60\nduration = \"2s\"\nconnections = 100\nmax-users = 20";
            let summary = setting.run(&plan(&model.url(), phase_lines, &config)).summary();
            let phase = phase(&summary);
            assert_closes(phase);
            let at = format!("{failing} % failing, early {early}: {phase}");
            let (quorum, consensus, right, votes) = expected(QUERIES, failing);
            let counts = (count(phase, "scheduled"), count(phase, "answered"), count(phase, "failed"));
            assert_eq!(counts, (QUERIES, consensus, QUERIES - consensus), "{at}");
            assert_eq!(check(phase, "circle: quorum"), (quorum, QUERIES - quorum), "{at}");
            assert_eq!(check(phase, "circle: consensus"), (consensus, QUERIES - consensus), "{at}");
            assert_eq!(check(phase, "circle: right outcome"), (right, QUERIES - right), "{at}");
            // A failure of one expert makes no operation bad, a wrong outcome does.
            assert_eq!(phase["steps"][0]["step"], "circle", "{at}");
            if !early {
                let voters = metric(phase, "circle", "experts who voted");
                assert_eq!(voters["count"], QUERIES, "{at}");
                assert!((sum(voters) - votes as f64).abs() < 0.5, "{votes} votes: {at}");
                let coverage = metric(phase, "circle", "coverage");
                let exact = votes as f64 / (EXPERTS * QUERIES) as f64;
                assert!((coverage["mean"].as_f64().unwrap() - exact).abs() < 0.002, "{exact}: {at}");
                for expert in 0..EXPERTS {
                    let able = (0..QUERIES).filter(|k| truth(*k, expert, failing).is_some()).count() as u64;
                    let answers = check(phase, &format!("e{expert}: answers"));
                    assert_eq!(answers, (able, QUERIES - able), "e{expert}: {at}");
                }
                assert_eq!(phase["requests"], QUERIES * EXPERTS, "{at}");
            }
        }
    }
}

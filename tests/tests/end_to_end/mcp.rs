//! The mcp guest against real servers: what their answers break is the list of known deviations, and nothing else.

mod cluster;
mod conformance;
mod faults;
pub(crate) mod faulty;
mod held_streams;

use std::collections::BTreeMap;
use std::path::Path;

use gauntlet_tests::Beside;
use gauntlet_tests::gauntlet::{self, Ended};
use gauntlet_tests::mcp_servers::McpServer;
use gauntlet_tests::network::{self, Network, Side};
use serde_json::Value;

use crate::plans::{assert_closes, phase};

/// A plan of one scenario and one phase.
fn plan(url: &str, config: &str, phase: &str) -> String {
    format!(
        r#"name = "mcp"
seed = 7
run-phases = ["baseline"]

[targets.server]
url = "{url}"

[[scenarios]]
name = "clients"
guest = "mcp"

[scenarios.config]
{config}

[phases.baseline]
{phase}

[validity]
judge = false

[control]
validate = false
"#
    )
}

fn run_plan(dir: &Path, plan: &str) -> Ended {
    gauntlet::run(dir, plan)
}

/// A run of 50 users.
fn run(dir: &Path, url: &str, config: &str) -> Ended {
    let load = "users = 50\nthink = \"200ms\"\nconnections = 120\nduration = \"4s\"";
    run_plan(dir, &plan(url, config, load))
}

/// What is wrong with a server, by class of check, with the call that shows it.
type Deviation = (&'static str, &'static str);

/// A call of a tool that there is none of. Every revision wants an error of the protocol for it ("Unknown tools" under
/// "Protocol Errors" in `server/tools`, section "Error Handling"); SDKs give a result with `isError`.
const UNKNOWN: &str = r#"{ tool = "nope", weight = 1, expect = "protocol-error" },"#;
const UNKNOWN_TOOL: Deviation = ("tool-unknown", "tools/call nope");

/// Name of a check's class.
fn class(check: &Value) -> String {
    check["name"].as_str().unwrap_or_default().split(':').next().unwrap_or_default().to_owned()
}

fn checks(summary: &Value) -> Vec<Value> {
    phase(summary)["checks"].as_array().cloned().unwrap_or_default()
}

/// What the run's checks found broken, by class.
fn broken(summary: &Value) -> Vec<String> {
    let failed = |check: &&Value| check["failed"].as_u64().unwrap_or_default() > 0;
    checks(summary).iter().filter(failed).map(class).collect()
}

/// How often a check passed and failed.
fn checked(summary: &Value, name: &str) -> (u64, u64) {
    let count = |check: &Value, key: &str| check[key].as_u64().unwrap_or_default();
    let all = checks(summary);
    let found = all.iter().find(|check| class(check) == name);
    found.map_or((0, 0), |check| (count(check, "passed"), count(check, "failed")))
}

/// What `key` of each step is.
fn of_steps(summary: &Value, key: &str) -> BTreeMap<String, u64> {
    let steps = phase(summary)["steps"].as_array().cloned().unwrap_or_default();
    let name = |step: &Value| step["step"].as_str().unwrap_or_default().to_owned();
    steps.iter().map(|step| (name(step), step[key].as_u64().unwrap_or_default())).collect()
}

/// How many operations of each step were answered.
fn answered(summary: &Value) -> BTreeMap<String, u64> {
    of_steps(summary, "answered")
}

/// The run went well but for `deviations`; each of `steps` was answered at least so often. How often is for each of them a small part of
/// what its server does: a busy machine makes few calls in a run, and what is awaited is that none was left out. Returns the summary.
#[track_caller]
fn assert_sound(ended: Ended, deviations: &[Deviation], steps: &[(&str, u64)]) -> Value {
    let summary = ended.expect(0).summary();
    assert_closes(phase(&summary));
    let mut known: Vec<_> = deviations.iter().map(|(class, _)| *class).collect();
    if !known.is_empty() {
        known.insert(0, "valid");
    }
    assert_eq!(broken(&summary), known, "{:#?}\n{:#}", checks(&summary), phase(&summary)["steps"]);
    let (answered, good) = (answered(&summary), of_steps(&summary, "good"));
    for (step, least) in steps {
        assert!(answered.get(*step).is_some_and(|count| count >= least), "{step}: {answered:#?}");
    }
    let failed = of_steps(&summary, "failed");
    for (step, answered) in &answered {
        let deviates = deviations.iter().any(|(_, call)| call == step);
        // The phase's end may cut off a few more, which are neither.
        assert_eq!(good[step], if deviates { 0 } else { *answered }, "{step}: {answered:#?}");
        assert!(deviates || failed[step] == 0, "{step}: {failed:#?}");
    }
    // Everything was looked at: an exchange each, and several for an operation that opens a session.
    let (passed, _) = checked(&summary, "valid");
    assert!(passed >= good.values().sum(), "{passed} exchanges were valid, of {good:#?}");
    summary
}

/// The report has the guest's times of the calls of `step`, which tell their progress, in their order.
#[track_caller]
fn assert_times_of_progress(summary: &Value, step: &str) {
    let metrics = phase(summary)["metrics"].as_array().cloned().unwrap_or_default();
    let mean = |name: &str| {
        let found = metrics.iter().find(|metric| metric["step"] == step && metric["name"] == name);
        let values = &found.unwrap_or_else(|| panic!("no {name} of {step} in {metrics:#?}"))["values"];
        assert!(values["count"].as_u64().is_some_and(|count| count > 0), "{name}: {values}");
        values["mean"].as_f64().unwrap_or_default()
    };
    let [message, progress, end] =
        ["first message (ms)", "first progress (ms)", "final answer (ms)"].map(mean);
    // The first message is progress; histograms have three digits.
    assert!(0.0 < message && message <= progress * 1.01, "{message} ms, {progress} ms");
    assert!(progress < end, "progress after {progress} ms, the answer after {end} ms");
    let connects = phase(summary)["generator"]["connects"].as_u64();
    assert!(connects.is_some_and(|connects| connects > 0), "{connects:?}");
}

/// What the server of the reference implementation offers in both of its transports.
const EVERYTHING: &str = r#"
session = { calls = 5 }
capabilities = ["sampling", "roots"]
calls = [
    { tool = "echo", weight = 6, arguments = { message = "hello {uuid}" } },
    { tool = "get-sum", weight = 3, generate = true },
    { tool = "trigger-long-running-operation", name = "long", weight = 1, progress = true, arguments = { duration = 0.2, steps = 4 } },
    { tool = "trigger-sampling-request", name = "sampling", weight = 1, arguments = { prompt = "hello" } },
    { tool = "echo", name = "wrong arguments", weight = 1, arguments = { message = 7 }, expect = "tool-error" },
    { prompt = "nope", weight = 1, expect = "protocol-error" },
    { resource = "nope://nope", weight = 1, expect = "protocol-error" },
    { list = "prompts", weight = 1 },
    { list = "resources", weight = 1 },
"#;

/// Known deviations of server-everything 2026.8.31: for both transports, for the SDK makes them.
const EVERYTHING_DEVIATIONS: &[Deviation] = &[UNKNOWN_TOOL];

/// One stream in each session. The SDK of server-everything refuses a second one with 409 until it has seen that the first is
/// closed, which on a busy machine takes longer than a user thinks; the standard knows no such status (`basic/transports`, section
/// "Listening for Messages from the Server").
const ONE_STREAM: &str = "session = { calls = 1 }\ncalls = [{ listen = \"300ms\" }]";

/// In a network namespace of its own, where nothing outside is reached and nobody reaches in.
pub(crate) fn alone_on_a_network(test: &str, work: impl FnOnce()) {
    match Network::new() {
        Ok(network) => network.inside(Side::Near, work),
        Err(why) => network::skipped(test, &why),
    }
}

#[test]
fn server_everything_over_streamable_http() {
    alone_on_a_network("server-everything over streamable HTTP (run as root)", || {
        let dir = Beside::new();
        let server = McpServer::everything(dir.path(), "streamableHttp");
        for revision in ["2025-03-26", "2025-06-18", "2025-11-25", "auto"] {
            let more = "{ ping = true, weight = 1 },";
            let config = format!("revision = \"{revision}\"\n{EVERYTHING}{UNKNOWN} {more} ]");
            let steps = [
                ("initialize", 20),
                ("tools/list", 20),
                ("tools/call echo", 20),
                ("end of session", 2),
                ("long", 1),
                ("sampling", 1),
                ("answer to the server", 1),
                ("ping", 1),
            ];
            let summary =
                assert_sound(run(dir.path(), &server.url(), &config), EVERYTHING_DEVIATIONS, &steps);
            assert_times_of_progress(&summary, "long");
            let config = format!("revision = \"{revision}\"\n{ONE_STREAM}");
            assert_sound(run(dir.path(), &server.url(), &config), &[], &[("initialize", 20), ("listen", 20)]);
        }
    });
}

#[test]
fn a_call_that_server_everything_never_ends_holds_nobody() {
    alone_on_a_network("cancelled calls of server-everything (run as root)", || {
        let dir = Beside::new();
        let server = McpServer::everything(dir.path(), "streamableHttp");
        let config = r#"
revision = "2025-11-25"
calls = [
    { tool = "trigger-long-running-operation", name = "long", progress = true, cancel-after = "300ms", arguments = { duration = 60, steps = 100 } },
]"#;
        // Four seconds have room for several such calls of each user, of which each would take a minute: without the end that
        // this is about there would be none.
        let steps = [("long", 50), ("notifications/cancelled", 50)];
        assert_sound(run(dir.path(), &server.url(), config), &[], &steps);
    });
}

#[test]
fn server_everything_over_one_event_stream() {
    alone_on_a_network("server-everything over an event stream (run as root)", || {
        let dir = Beside::new();
        let server = McpServer::everything(dir.path(), "sse");
        // Here the server has a way to ask for roots, whoever calls.
        let more = r#"{ tool = "get-roots-list", weight = 1 },"#;
        // Who asks for the era first learns from what the address says to POST that it is one for a stream.
        for revision in ["2024-11-05", "auto"] {
            let config =
                format!("revision = \"{revision}\"\nendpoint = \"/sse\"\n{EVERYTHING}{UNKNOWN}{more} ]");
            let steps = [
                ("initialize", 20),
                ("tools/list", 20),
                ("tools/call echo", 20),
                ("long", 1),
                ("sampling", 1),
                ("tools/call get-roots-list", 1),
                ("answer to the server", 2),
            ];
            let summary =
                assert_sound(run(dir.path(), &server.url(), &config), EVERYTHING_DEVIATIONS, &steps);
            assert_times_of_progress(&summary, "long");
        }
    });
}

/// What the FastMCP server of the tests offers.
const FAST: &str = r#"
session = { calls = 5 }
calls = [
    { tool = "add", weight = 6, generate = true },
    { tool = "add", name = "wrong arguments", weight = 1, arguments = { a = "x" }, expect = "tool-error" },
    { tool = "count", weight = 2, progress = true, arguments = { steps = 3 } },
    { tool = "fail", weight = 1, expect = "tool-error" },
    { resource = "test://{user}", name = "thing", weight = 1 },
    { resource = "nope://nope", weight = 1, expect = "protocol-error" },
    { prompt = "greet", weight = 1, arguments = { name = "user {user}" } },
    { list = "prompts", weight = 1 },
"#;

/// Known deviations of FastMCP 4.1.2, in both eras.
const FAST_DEVIATIONS: &[Deviation] = &[UNKNOWN_TOOL];

#[test]
fn fastmcp_of_both_eras() {
    let dir = Beside::new();
    let server = McpServer::fast(dir.path(), None);
    for revision in ["2025-06-18", "2025-11-25", "2026-07-28", "auto"] {
        let config = format!("revision = \"{revision}\"\n{FAST}{UNKNOWN}]");
        let steps =
            [("tools/list", 20), ("tools/call add", 8), ("tools/call count", 1), ("tools/call fail", 1)];
        assert_sound(run(dir.path(), &server.url(), &config), FAST_DEVIATIONS, &steps);
    }
}

#[test]
fn fastmcp_with_a_token_and_without() {
    let dir = Beside::new();
    let server = McpServer::fast(dir.path(), Some("good"));
    for revision in ["2025-06-18", "2026-07-28"] {
        let config = |token: &str| {
            format!("revision = \"{revision}\"\nauth = {{ bearer = \"{token}\" }}\n{FAST}{UNKNOWN}]")
        };
        let steps = [("tools/list", 20), ("tools/call add", 8)];
        assert_sound(run(dir.path(), &server.url(), &config("good")), FAST_DEVIATIONS, &steps);
        // No threshold of this plan judges checks.
        let summary = run(dir.path(), &server.url(), &config("bad")).expect(0).summary();
        assert_eq!(broken(&summary), ["valid", "401"], "{revision}");
        let started = of_steps(&summary, "started");
        assert!(started.keys().all(|step| !step.starts_with("tools/call")), "{started:?}");
    }
}

#[test]
fn pages_of_a_list_and_subscriptions_on_the_official_sdk() {
    let dir = Beside::new();
    let server = McpServer::paged(dir.path());
    let read = |from: u32| server.said().lines().filter(|line| *line == format!("tools from {from}")).count();
    for revision in ["2025-11-25", "2026-07-28"] {
        // The tool of the last page is known when all were read.
        let config = format!(
            r#"
revision = "{revision}"
session = {{ calls = 5 }}
calls = [
    {{ tool = "four", weight = 3, generate = true }},
    {{ tool = "change", weight = 2, arguments = {{}} }},
    {{ list = "tools", name = "all pages", weight = 2 }},
    {{ list = "tools", name = "first page", pages = 1, weight = 2 }},
    {{ listen = "300ms", weight = 2 }},
]"#
        );
        let before = [0, 2, 4].map(read);
        let steps = [
            ("tools/list", 20),
            ("tools/call four", 8),
            ("tools/call change", 4),
            ("all pages", 6),
            ("first page", 2),
            ("listen", 2),
        ];
        let summary = assert_sound(run(dir.path(), &server.url(), &config), &[], &steps);
        let [first, second, third] = [(0, before[0]), (2, before[1]), (4, before[2])]
            .map(|(from, before)| read(from).saturating_sub(before) as u64);
        assert!(
            first > second && second >= third && third > 20,
            "{first}, {second} and {third} reads of pages"
        );
        // Those that the phase's end cut off were read as well.
        let first_only = answered(&summary)["first page"];
        assert!(
            first - second >= first_only,
            "{first} and {second} reads, {first_only} of the first page alone"
        );
    }
}

#[test]
fn aimock_with_batches() {
    let dir = Beside::new();
    let server = McpServer::aimock(dir.path());
    let config = format!(
        r#"
revision = "2025-03-26"
session = {{ calls = 5 }}
calls = [
    {{ tool = "echo", weight = 3, arguments = {{ message = "hello" }} }},
    {{ tool = "echo", name = "batch", weight = 1, batch = 4, arguments = {{ message = "hello" }} }},
    {{ ping = true, weight = 1 }},
    {UNKNOWN}
]"#
    );
    let steps =
        [("initialize", 20), ("tools/call echo", 20), ("batch", 2), ("ping", 2), ("tools/call nope", 2)];
    // It has no known deviation.
    assert_sound(run(dir.path(), &server.url(), &config), &[], &steps);
    // It agrees on its one revision, whatever is asked for: with whoever speaks another alone, no call is made.
    let other = config.replace("2025-03-26", "2025-11-25").replace("batch = 4, ", "");
    let summary = run(dir.path(), &server.url(), &other).expect(0).summary();
    assert_eq!(broken(&summary), ["valid", "version-unsupported"]);
    assert_eq!(of_steps(&summary, "started").keys().collect::<Vec<_>>(), ["initialize"]);
}

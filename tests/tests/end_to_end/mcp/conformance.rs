//! The official conformance suite judges the mcp guest: each of its client scenarios, in each revision that has it.
//!
//! The suite calls a scenario passed in which nothing was looked at, so what counts is its checks: some must be successes, and
//! none a failure or a warning. What a scenario did not exercise it skips.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gauntlet_tests::mcp_servers::McpServer;
use gauntlet_tests::{Beside, gauntlet, program, wait};
use serde_json::Value;

/// Why a scenario has no place here.
enum Place {
    Applies,
    DoesNot(&'static str),
}

use Place::{Applies, DoesNot};

const V2025_06_18: &str = "2025-06-18";
const V2025_11_25: &str = "2025-11-25";
const V2026_07_28: &str = "2026-07-28";
/// The suite's word for what belongs to no revision.
const EXTENSION: &str = "extension";

const BOTH: &[&str] = &[V2025_11_25, V2026_07_28];
const MODERN: &[&str] = &[V2026_07_28];
const OLD: &[&str] = &["2025-03-26"];

const OAUTH: &str = "OAuth: a load generator is given its token (`auth.bearer`) and fetches none";
const SKILLS: &str = "the skills extension: the guest has no skills";

/// Each client scenario of the suite in the version that is installed, with the revisions that have it.
#[rustfmt::skip]
const SCENARIOS: &[(&str, &[&str], Place)] = &[
    ("initialize", &[V2025_06_18, V2025_11_25], Applies),
    ("tools_call", &[V2025_06_18, V2025_11_25, V2026_07_28], Applies),
    ("elicitation-sep1034-client-defaults", &[V2025_11_25], Applies),
    ("sse-retry", &[V2025_11_25], Applies),
    ("request-metadata", MODERN, Applies),
    ("sep-2322-client-request-state", MODERN, Applies),
    ("http-standard-headers", MODERN, Applies),
    ("http-custom-headers", MODERN, Applies),
    ("http-invalid-tool-headers", MODERN, Applies),
    ("json-schema-ref-no-deref", MODERN, Applies),
    ("json-schema-2020-12-preservation", BOTH,
        DoesNot("a listed schema is to be sent back as an argument, which no plan asks a user to do; no requirement set scores it")),
    ("sep-2640-client-no-prefetch", &[EXTENSION], DoesNot(SKILLS)),
    ("sep-2640-client-verify-digest", &[EXTENSION], DoesNot(SKILLS)),
    ("sep-2640-client-verify-size", &[EXTENSION], DoesNot(SKILLS)),
    ("sep-2640-client-verify-frontmatter", &[EXTENSION], DoesNot(SKILLS)),
    ("auth/metadata-default", BOTH, DoesNot(OAUTH)),
    ("auth/metadata-var1", BOTH, DoesNot(OAUTH)),
    ("auth/metadata-var2", BOTH, DoesNot(OAUTH)),
    ("auth/metadata-var3", BOTH, DoesNot(OAUTH)),
    ("auth/basic-cimd", BOTH, DoesNot(OAUTH)),
    ("auth/scope-from-www-authenticate", BOTH, DoesNot(OAUTH)),
    ("auth/scope-from-scopes-supported", BOTH, DoesNot(OAUTH)),
    ("auth/scope-omitted-when-undefined", BOTH, DoesNot(OAUTH)),
    ("auth/scope-step-up", BOTH, DoesNot(OAUTH)),
    ("auth/scope-retry-limit", BOTH, DoesNot(OAUTH)),
    ("auth/token-endpoint-auth-basic", &[V2025_06_18, V2025_11_25, V2026_07_28], DoesNot(OAUTH)),
    ("auth/token-endpoint-auth-post", &[V2025_06_18, V2025_11_25, V2026_07_28], DoesNot(OAUTH)),
    ("auth/token-endpoint-auth-none", &[V2025_06_18, V2025_11_25, V2026_07_28], DoesNot(OAUTH)),
    ("auth/pre-registration", BOTH, DoesNot(OAUTH)),
    ("auth/2025-03-26-oauth-metadata-backcompat", OLD, DoesNot(OAUTH)),
    ("auth/2025-03-26-oauth-endpoint-fallback", OLD, DoesNot(OAUTH)),
    ("auth/resource-mismatch", MODERN, DoesNot(OAUTH)),
    ("auth/offline-access-scope", MODERN, DoesNot(OAUTH)),
    ("auth/offline-access-not-supported", MODERN, DoesNot(OAUTH)),
    ("auth/authorization-server-migration", MODERN, DoesNot(OAUTH)),
    ("auth/iss-supported", MODERN, DoesNot(OAUTH)),
    ("auth/iss-not-advertised", MODERN, DoesNot(OAUTH)),
    ("auth/iss-supported-missing", MODERN, DoesNot(OAUTH)),
    ("auth/iss-wrong-issuer", MODERN, DoesNot(OAUTH)),
    ("auth/iss-unexpected", MODERN, DoesNot(OAUTH)),
    ("auth/iss-normalized", MODERN, DoesNot(OAUTH)),
    ("auth/metadata-issuer-mismatch", MODERN, DoesNot(OAUTH)),
    ("auth/client-credentials-jwt", &[EXTENSION], DoesNot(OAUTH)),
    ("auth/client-credentials-basic", &[EXTENSION], DoesNot(OAUTH)),
    ("auth/enterprise-managed-authorization", &[EXTENSION], DoesNot(OAUTH)),
    ("auth/dpop", &[EXTENSION], DoesNot(OAUTH)),
    ("auth/dpop-nonce", &[EXTENSION], DoesNot(OAUTH)),
    ("auth/wif-jwt-bearer", &[EXTENSION], DoesNot(OAUTH)),
];

/// A process of the suite that does not outlive its test.
struct Suite(Child);

impl Drop for Suite {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the suite to its end: its exit code and what it said.
fn suite(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let script = std::env::var_os("GAUNTLET_TEST_MCP_CONFORMANCE")
        .map(PathBuf::from)
        .expect("GAUNTLET_TEST_MCP_CONFORMANCE is not set: run `cargo xtask test`");
    let said = dir.join("suite.log");
    let file = std::fs::File::create(&said).unwrap();
    let mut suite = Command::new(script);
    suite
        .current_dir(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(file.try_clone().unwrap())
        .stdout(file);
    let mut suite = Suite(suite.spawn().expect("start the suite"));
    let read = || std::fs::read_to_string(&said).unwrap_or_default();
    let ended = || suite.0.try_wait().expect("the suite's status");
    let status = wait::until("the suite to end", Duration::from_secs(150), ended, read);
    (status.code(), read())
}

/// Runs a client through a scenario: the suite's exit code, what it said, and its checks by status.
fn client(
    dir: &Path,
    command: &str,
    scenario: &str,
    revision: &str,
) -> (Option<i32>, String, BTreeMap<String, Vec<String>>) {
    let results = dir.join(format!("{scenario}-{revision}"));
    let out = results.to_string_lossy();
    let of_client = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision];
    let more = ["--timeout", "90000", "--output-dir", &out];
    let (code, said) = suite(dir, &[&of_client[..], &more].concat());
    let run = std::fs::read_dir(&results).unwrap().next().expect("results").unwrap();
    let text = std::fs::read_to_string(run.path().join("checks.json")).unwrap();
    let checks: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut by_status: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for check in checks {
        let text = |key: &str| check[key].as_str().unwrap_or_default();
        by_status.entry(text("status").to_owned()).or_default().push(format!(
            "{} {}",
            text("id"),
            text("errorMessage")
        ));
    }
    (code, said, by_status)
}

/// The scenarios that the suite lists, with what stands in brackets.
fn listed(said: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lines = said.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let scenario = |line: &str| {
        let (name, revisions) = line.split_once(" [").unwrap_or((line, ""));
        let revisions = revisions.trim_end_matches(']').split(',').map(str::to_owned).collect();
        (name.to_owned(), revisions)
    };
    lines.map(scenario).collect()
}

#[test]
fn each_client_scenario_of_the_suite_has_its_place_in_the_table() {
    let dir = Beside::new();
    let (_, said) = suite(dir.path(), &["list", "--client"]);
    let known = SCENARIOS.iter().map(|(name, revisions, _)| {
        ((*name).to_owned(), revisions.iter().map(|revision| (*revision).to_owned()).collect())
    });
    assert_eq!(listed(&said), known.collect(), "{said}");
    assert!(SCENARIOS.iter().all(|(_, _, place)| !matches!(place, DoesNot(why) if why.is_empty())));
}

#[test]
fn what_the_requirements_want_is_run_unless_it_does_not_apply() {
    let dir = Beside::new();
    for revision in [V2025_11_25, V2026_07_28] {
        let (_, said) = suite(dir.path(), &["list", "--requirements", revision]);
        assert!(said.contains("tools_call"), "{said}");
        let names: BTreeSet<String> = listed(&said).into_keys().collect();
        for (name, revisions, place) in SCENARIOS {
            if names.contains(*name) && matches!(place, Applies) {
                assert!(revisions.contains(&revision), "{name} is required in {revision}: {said}");
            }
        }
    }
}

#[test]
fn every_check_of_the_suite_that_applies_is_a_success() {
    let dir = Beside::new();
    let command = format!("{} mcp-conformance", program("gauntlet").display());
    let mut wrong = Vec::new();
    for (scenario, revisions, place) in SCENARIOS {
        let revisions = if matches!(place, Applies) { *revisions } else { &[] };
        for revision in revisions {
            let (code, said, checks) = client(dir.path(), &command, scenario, revision);
            let successes = checks.get("SUCCESS").map_or(0, Vec::len);
            let bad = ["FAILURE", "WARNING"].iter().any(|status| checks.contains_key(*status));
            if code != Some(0) || successes == 0 || bad {
                wrong.push(format!("{scenario} in {revision}: {checks:#?}\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_the_suite_a_session_is_opened_and_the_tools_are_listed() {
    let dir = Beside::new();
    let server = McpServer::fast(dir.path(), None);
    let url = format!("{}/mcp", server.url());
    for revision in [V2025_11_25, V2026_07_28] {
        let good =
            gauntlet::command(dir.path(), &["mcp-conformance", &url, "--revision", revision]).expect(0);
        assert!(
            good.stdout.contains("all tools/list") && good.stdout.ends_with("all was right\n"),
            "{good:#?}"
        );
    }
    let wrong = gauntlet::command(dir.path(), &["mcp-conformance", &server.url()]).expect(99);
    assert!(wrong.stdout.contains("wrong: status: "), "the path is wrong: {wrong:#?}");
    let unknown = ["mcp-conformance", &url, "--revision", "2099-01-01"];
    let unknown = gauntlet::command(dir.path(), &unknown).expect(2);
    assert!(unknown.stderr.contains("2099-01-01"), "{unknown:#?}");
    let nobody = format!("http://127.0.0.1:{}/mcp", test_servers::ports::free());
    let nobody = gauntlet::command(dir.path(), &["mcp-conformance", &nobody]).expect(99);
    assert!(nobody.stdout.contains("wrong: connect, "), "{nobody:#?}");
    // No report is kept unless it is wanted.
    assert!(!dir.path().join("runs").exists());
    let kept = ["mcp-conformance", &url, "--report-dir", "kept"];
    let kept = gauntlet::command(dir.path(), &kept).expect(0);
    let report = kept.stdout.lines().find_map(|line| line.strip_prefix("report: ")).unwrap();
    assert!(dir.path().join(report).is_file(), "{report}");
}

/// That successes are counted, and not what the suite calls passed, is no mere caution.
#[test]
fn a_client_that_does_nothing_has_no_success() {
    let dir = Beside::new();
    let (code, said, checks) = client(dir.path(), "true", "initialize", V2025_11_25);
    assert!(!checks.contains_key("SUCCESS"), "{checks:#?}\n{said}");
    assert_eq!(code, Some(0), "the suite has come to see it itself: {said}");
}

//! Each fault of a server is a class of its own in the report, and a call without an end holds nobody.

use gauntlet_tests::Beside;

use super::{answered, broken, checked, plan, run_plan};
use crate::mcp::faulty::{Faulty, TOOLS};
use crate::plans::{assert_closes, count, phase};

const LOAD: &str = "rate = 60\nduration = \"3s\"\nconnections = 200";

#[test]
fn each_fault_is_reported_as_its_own_class() {
    let dir = Beside::new();
    let server = Faulty::start();
    let calls = TOOLS.map(|tool| match tool {
        "silent-stream" => format!("{{ tool = \"{tool}\", timeout = \"500ms\" }}"),
        "endless" => format!("{{ tool = \"{tool}\", progress = true, cancel-after = \"100ms\" }}"),
        _ => format!("{{ tool = \"{tool}\" }}"),
    });
    let config =
        format!("revision = \"2025-11-25\"\nendpoint = \"/2025-11-25\"\ncalls = [{}]", calls.join(", "));
    let summary = run_plan(dir.path(), &plan(&server.url(), &config, LOAD)).expect(0).summary();
    let phase = phase(&summary);
    assert_closes(phase);
    let (made, steps) = (server.calls(), answered(&summary));
    assert_eq!(made.values().sum::<u64>(), 180, "an arrival is a call: {made:?}");
    let faults = &TOOLS[..9];
    for class in faults {
        let made = made.get(*class).copied().unwrap_or_default();
        assert!(made > 0, "{class} was not drawn");
        assert_eq!(checked(&summary, class), (0, made), "{class}: {}", phase["checks"]);
    }
    let mut wanted: Vec<_> =
        faults.iter().map(|class| (*class).to_owned()).chain(["valid".to_owned()]).collect();
    wanted.sort();
    let mut found = broken(&summary);
    found.sort();
    assert_eq!(found, wanted, "no fault is taken for another, and the framing of lines for none");
    // What got no whole answer failed; what was answered wrongly, or was given up as planned, did not.
    assert_eq!(count(phase, "failed"), made["silent-stream"], "{phase:#}");
    assert_eq!(steps["tools/call endless"], made["endless"]);
    assert_eq!(steps["notifications/cancelled"], made["endless"]);
}

#[test]
fn a_call_without_an_end_holds_nobody() {
    let dir = Beside::new();
    let server = Faulty::start();
    let config = r#"
revision = "2025-11-25"
endpoint = "/2025-11-25"
calls = [{ tool = "endless", progress = true, cancel-after = "100ms" }]"#;
    let load = "users = 4\nduration = \"3s\"\nconnections = 8";
    let summary = run_plan(dir.path(), &plan(&server.url(), config, load)).expect(0).summary();
    assert_closes(phase(&summary));
    let answered = answered(&summary)["tools/call endless"];
    assert!(answered >= 20, "four users made {answered} calls that never end");
    assert_eq!(broken(&summary), [""; 0]);
}

#[test]
fn a_wrong_revision_is_not_a_revision_that_nobody_published() {
    let dir = Beside::new();
    let server = Faulty::start();
    for (agreed, class) in [("2025-06-18", "version-unsupported"), ("1999-01-01", "version-unknown")] {
        let config =
            format!("revision = \"2025-11-25\"\nendpoint = \"/{agreed}\"\ncalls = [{{ tool = \"lf\" }}]");
        let load = "rate = 20\nduration = \"1s\"\nconnections = 50";
        let summary = run_plan(dir.path(), &plan(&server.url(), &config, load)).expect(0).summary();
        assert_eq!(broken(&summary), ["valid", class]);
        assert_eq!(checked(&summary, class), (0, 20));
        assert_eq!(server.calls().len(), 0, "whoever speaks another revision is not called");
    }
}

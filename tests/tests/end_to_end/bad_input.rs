//! Whatever is wrong gets an error with place and mend, its documented exit code, and nothing is left behind.

use std::net::TcpListener;
use std::path::Path;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::{Ended, run, start_run};

use crate::plans::OnePhase;

const PHASE: &str = "rate = 50\nduration = \"1s\"\nconnections = 5";

/// The plan is refused before anything starts.
fn refused(dir: &Path, plan: &str, code: i32, says: &[&str]) -> Ended {
    let ended = run(dir, plan).expect(code);
    for text in says {
        assert!(ended.stderr.contains(text), "{text:?} is missing in:\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

#[test]
fn malformed_toml() {
    let dir = Beside::new();
    refused(dir.path(), "name = \"x\"\nseed = = 3\n", 2, &["plan.toml:2"]);
}

#[test]
fn an_unknown_key_with_what_was_meant() {
    let dir = Beside::new();
    let plan = OnePhase::new("http://127.0.0.1:1", "rat = 50");
    refused(dir.path(), &plan.text(), 2, &["plan.toml:", "rat", "rate"]);
}

#[test]
fn an_impossible_phase() {
    let dir = Beside::new();
    let plan = OnePhase::new("http://127.0.0.1:1", "rate = 50\nusers = 5");
    refused(dir.path(), &plan.text(), 2, &["phases.baseline", "users"]);
}

#[test]
fn two_errors_at_once() {
    let dir = Beside::new();
    let mut plan = OnePhase::new("ftp://127.0.0.1:1", "duration = \"soon\"");
    plan.top = "time-scale = -1".to_owned();
    refused(dir.path(), &plan.text(), 2, &["targets.shop.url", "phases.baseline.duration", "time-scale"]);
}

#[test]
fn a_guest_of_another_digest() {
    let dir = Beside::new();
    let guests = std::env::var("GAUNTLET_GUESTS").expect("GAUNTLET_GUESTS: run `cargo xtask test`");
    let plan = OnePhase::new("http://127.0.0.1:1", PHASE)
        .text()
        .replace("guest = \"http\"", &format!("guest = \"{guests}/http.wasm#sha256:{}\"", "0".repeat(64)));
    refused(dir.path(), &plan, 2, &["http.wasm", "sha256:"]);
}

#[test]
fn a_guest_that_needs_a_newer_interface() {
    let dir = Beside::new();
    // A component that exports nothing but an interface of a later version.
    let wat = r#"(component (instance $i) (export "gauntlet:scenario/generator@0.2.0" (instance $i)))"#;
    std::fs::write(dir.path().join("newer.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    let plan = OnePhase::new("http://127.0.0.1:1", PHASE)
        .text()
        .replace("guest = \"http\"", "guest = \"./newer.wasm\"");
    refused(dir.path(), &plan, 2, &["newer.wasm", "0.2.0", "0.1"]);
}

#[test]
fn a_guest_that_is_not_there() {
    let dir = Beside::new();
    let plan = OnePhase::new("http://127.0.0.1:1", PHASE).text().replace("\"http\"", "\"htpp\"");
    refused(dir.path(), &plan, 2, &["htpp"]);
}

#[test]
fn a_configuration_that_the_guest_refuses() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), PHASE);
    plan.step = r#"{ name = "home", gett = "/" }, { name = "other", get = "/{nothing}" }"#.to_owned();
    refused(dir.path(), &plan.text(), 2, &["steps[0]", "gett", "steps[1]", "nothing"]);
}

#[test]
fn an_occupied_port() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let mut plan = OnePhase::new(&core.url(), PHASE);
    plan.end = format!("[control]\napi = \"{address}\"");
    refused(dir.path(), &plan.text(), 3, &[&address]);
}

#[test]
fn a_run_directory_that_cannot_be_made() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    // Permissions do not stop root: a file stands where the directory would be.
    std::fs::write(dir.path().join("occupied"), "").unwrap();
    let plan = OnePhase::new(&core.url(), PHASE);
    let ended = start_run(dir.path(), &plan.text(), &["--report-dir", "occupied/runs"])
        .wait(std::time::Duration::from_secs(30))
        .expect(3);
    assert!(ended.stderr.contains("occupied"), "{}", ended.stderr);
}

#[test]
fn a_full_disk_under_the_run_directory() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let full = dir.path().join("full");
    std::fs::create_dir(&full).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&full)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("skipped: a small tmpfs cannot be mounted here (needs root)");
        return;
    }
    let plan = OnePhase::new(&core.url(), PHASE);
    let ended = start_run(dir.path(), &plan.text(), &["--report-dir", "full/runs"])
        .wait(std::time::Duration::from_secs(60));
    let unmounted = std::process::Command::new("umount").arg(&full).status();
    assert!(unmounted.is_ok_and(|status| status.success()), "umount {}", full.display());
    let ended = ended.expect(3);
    assert!(ended.stderr.contains("full"), "{}", ended.stderr);
    assert!(ended.stderr.contains("space"), "{}", ended.stderr);
}

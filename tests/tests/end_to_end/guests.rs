//! A guest that breaks costs its own instance only, and the run says which guest did what.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use gauntlet_tests::setting::Setting;

use crate::plans::{assert_closes, count, phase};

gauntlet_tests::on_both_suites! {
    beside
    a_guest_that_traps_too_often_makes_the_run_invalid,
    a_guest_that_traps_is_named_and_the_others_go_on,
}

/// Answers 599 to a checkout: the SDK's example guest `basket` panics on that.
fn odd_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut buffer = [0_u8; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    let checkout = buffer[..n].windows(9).any(|part| part == b"/checkout");
                    let status = if checkout { "599 Odd" } else { "200 OK" };
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Two guests on one target: `basket`, which traps on its answers, and `http`.
fn plan(dir: &std::path::Path, traps_per_minute: u32) -> String {
    let url = odd_server();
    std::fs::write(dir.join("items.csv"), "id,name\n1,anvil\n2,barrel\n").unwrap();
    format!(
        r#"
name = "hostile"
run-phases = ["baseline"]
validity.traps-per-minute = {traps_per_minute}
validity.send-lag = "5s"

[targets.odd]
url = "{url}"

[[scenarios]]
name = "shopping"
guest = "basket"

[[scenarios]]
name = "browsing"
guest = "http"
config.steps = [{{ name = "item", get = "/{{id}}", feed = "items.csv" }}]

[phases.baseline]
rate = 40
duration = "3s"
connections = 8

[control]
validate = false
"#
    )
}

fn a_guest_that_traps_too_often_makes_the_run_invalid(setting: &Setting) {
    let summary = setting.run(&plan(setting.path(), 5)).expect(98).summary();
    assert!(summary["reasons"].to_string().contains("guest traps"), "{}", summary["reasons"]);
}

fn a_guest_that_traps_is_named_and_the_others_go_on(setting: &Setting) {
    // At most ten instances a second are made anew: three seconds stay short of this.
    let ended = setting.run(&plan(setting.path(), 60)).expect(0);
    let history = std::fs::read_to_string(ended.run_dir.clone().unwrap().join("history.ndjson")).unwrap();
    let fault =
        history.lines().find(|line| line.contains("guest-faulted")).expect("a guest fault in the history");
    assert!(fault.contains("basket") && fault.contains("the shop is on fire"), "{fault}");
    let summary = ended.summary();
    let phase = phase(&summary);
    assert_closes(phase);
    // 120 turns; a second operation of a turn counts as one more.
    assert!(count(phase, "scheduled") >= 120, "{phase}");
    let browsing =
        phase["steps"].as_array().unwrap().iter().find(|step| step["scenario"] == "browsing").unwrap();
    assert_eq!(
        browsing["answered"], browsing["started"],
        "the other guest's requests are untouched: {browsing}"
    );
    assert!(browsing["started"].as_u64().unwrap() > 20, "{browsing}");
}

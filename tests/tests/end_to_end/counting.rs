//! Our counts against nginx's access log (requirement R9.3).

use std::time::Duration;

use gauntlet_tests::nginx::Nginx;
use gauntlet_tests::setting::Setting;
use rustix::process::Signal;

use crate::plans::{OnePhase, assert_closes, count, phase};

gauntlet_tests::on_both_suites! {
    beside
    nginx_at_500_a_second,
    nginx_at_2000_a_second,
    nginx_over_tls,
    nginx_over_http_2_with_tls,
    nginx_over_http_2_without_tls,
    nginx_with_a_closed_model,
    nginx_with_poisson_arrivals,
    nginx_when_ctrl_c_ends_the_run_in_the_middle,
}

/// Runs the plan and compares started with nginx's log; returns the phase.
fn counts(plan: &OnePhase, nginx: &Nginx, setting: &Setting) -> serde_json::Value {
    let ended = setting.run(&plan.text()).expect(0);
    let summary = ended.summary();
    let phase = phase(&summary).clone();
    assert_closes(&phase);
    assert_eq!(
        nginx.lines().len() as u64,
        count(&phase, "started"),
        "lines of nginx's log; {}",
        phase["arrivals"]
    );
    phase
}

fn nginx_at_500_a_second(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan = OnePhase::new(&url, "rate = 500\nduration = \"20s\"\nconnections = 50");
    let phase = counts(&plan, &nginx, setting);
    assert_eq!(count(&phase, "scheduled"), 10_000);
    assert_eq!(count(&phase, "answered"), 10_000);
}

fn nginx_at_2000_a_second(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan = OnePhase::new(&url, "rate = 2000\nduration = \"10s\"\nconnections = 100");
    let phase = counts(&plan, &nginx, setting);
    assert_eq!(count(&phase, "scheduled"), 20_000);
}

fn nginx_over_tls(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("https://localhost:{}", nginx.https);
    let mut plan = OnePhase::new(&url, "rate = 500\nduration = \"10s\"\nconnections = 50");
    plan.target = format!("tls = {{ ca = \"{}\" }}", nginx.ca().display());
    let phase = counts(&plan, &nginx, setting);
    assert_eq!(count(&phase, "answered"), 5_000);
}

/// Every request was one of HTTP/2.
fn assert_http_2(nginx: &Nginx) {
    let other = nginx.lines().into_iter().find(|line| !line.contains(" HTTP/2.0 "));
    assert_eq!(other, None);
}

fn nginx_over_http_2_with_tls(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("https://localhost:{}", nginx.https);
    let mut plan = OnePhase::new(&url, "rate = 500\nduration = \"10s\"\nconnections = 4\nmax-users = 100");
    plan.target = format!("http = \"2\"\ntls = {{ ca = \"{}\" }}", nginx.ca().display());
    let phase = counts(&plan, &nginx, setting);
    assert_eq!(count(&phase, "answered"), 5_000);
    assert_http_2(&nginx);
}

fn nginx_over_http_2_without_tls(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("http://127.0.0.1:{}", nginx.h2c);
    // Two connections of 16 streams each: no more than 32 of the 40 users are ever served at a time.
    let mut plan = OnePhase::new(&url, "users = 40\nthink = \"20ms\"\nduration = \"10s\"\nconnections = 2");
    plan.target = format!("http = \"2\"\nstreams = 16\nhealth = \"http://127.0.0.1:{}/\"", nginx.http);
    plan.step = r#"{ name = "home", get = "/", check = { status = 200, body-contains = "ok", header = "content-type" } }"#
        .to_owned();
    let phase = counts(&plan, &nginx, setting);
    let (started, answered) = (count(&phase, "started"), count(&phase, "answered"));
    assert!((5_000..=20_000).contains(&started), "started {started}");
    assert!(answered + 40 >= started, "{}", phase["arrivals"]);
    assert_eq!(count(&phase, "failed"), 0);
    assert_http_2(&nginx);
}

fn nginx_with_a_closed_model(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan = OnePhase::new(&url, "users = 20\nthink = \"20ms\"\nduration = \"10s\"");
    let phase = counts(&plan, &nginx, setting);
    let started = count(&phase, "started");
    // 20 users, a turn each 20 ms and a little: at most 10 000.
    assert!((5_000..=10_000).contains(&started), "started {started}");
}

fn nginx_with_poisson_arrivals(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let plan =
        OnePhase::new(&url, "rate = 500\nduration = \"10s\"\nconnections = 50\narrivals = \"poisson\"");
    let phase = counts(&plan, &nginx, setting);
    let scheduled = count(&phase, "scheduled");
    // Five standard deviations around 5 000; the seed makes it the same number each time.
    assert!((4_646..=5_354).contains(&scheduled), "scheduled {scheduled}");
}

fn nginx_when_ctrl_c_ends_the_run_in_the_middle(setting: &Setting) {
    let nginx = Nginx::start(setting.path());
    let url = format!("http://127.0.0.1:{}", nginx.http);
    let mut plan = OnePhase::new(&url, "rate = 500\nduration = \"60s\"\nconnections = 50");
    plan.end = "[control]\nramp-down = \"1s\"".to_owned();
    let running = setting.start_run(&plan.text());
    gauntlet_tests::wait::until(
        "1 000 requests at nginx",
        Duration::from_secs(30),
        || (nginx.lines().len() > 1_000).then_some(()),
        || running.history(),
    );
    gauntlet_tests::signal(running.child(), Signal::INT);
    let summary = running.wait(Duration::from_secs(30)).expect(130).summary();
    assert_eq!(summary["verdict"], "aborted");
    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!(count(phase, "in_flight"), 0);
    assert_eq!(nginx.lines().len() as u64, count(phase, "started"));
    assert!(count(phase, "scheduled") < 29_000, "the run was not ended in the middle");
}

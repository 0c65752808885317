use super::*;

fn stage(purpose: &'static str, rate: f64, verdict: Verdict, p99_us: Option<f64>) -> Stage {
    let why =
        if verdict == Verdict::Kept { Vec::new() } else { vec!["p(99) < 50ms: seen <75.7> ms".to_owned()] };
    Stage {
        purpose,
        verdict,
        why,
        rate,
        achieved: rate,
        p50_us: p99_us.map(|us| us / 2.0),
        p95_us: p99_us,
        p99_us,
        service_p99_us: p99_us,
        queue_p99_us: Some(0.0),
        send_lag_p99_us: Some(80.0),
        error_share: 0.0,
        cool_down_ms: None,
        report: format!("run-at-{rate}/report.html"),
    }
}

fn page() -> Page {
    use Verdict::{Broken, Generator, Kept};
    Page {
        name: "shop".into(),
        gauntlet: "0.1.0".into(),
        phase: "heavy".into(),
        connections: 64,
        thresholds: vec!["p(99) < 50ms".into()],
        limits_us: vec![50_000.0],
        stage_ms: 2_000,
        confirm_ms: 6_000,
        precision: 0.05,
        least_sent: 0.99,
        lasted_ms: 40_000,
        headline: "knee 200/s, confidence high".into(),
        mood: Mood::Good,
        details: vec![("kept", "200/s for 6 s".into())],
        exit_code: Some(0),
        knee_per_second: Some(200.0),
        confidence: Some("high"),
        kept_per_second: Some(200.0),
        failed_per_second: Some(207.0),
        stages: vec![
            stage("rise", 100.0, Kept, Some(6_730.0)),
            stage("rise", 200.0, Kept, Some(7_880.0)),
            stage("rise", 400.0, Broken, Some(1_090_000.0)),
            stage("again", 400.0, Generator, None),
            stage("narrow", 207.0, Broken, Some(75_700.0)),
            stage("confirm", 200.0, Kept, Some(10_300.0)),
        ],
    }
}

/// The page, its slashes as they are read.
fn text(page: &Page) -> String {
    render(page).unwrap().replace("&#x2f;", "/")
}

#[test]
fn the_page_says_the_knee_first_and_shows_every_stage_with_its_verdict_and_a_way_to_its_report() {
    let html = text(&page());
    assert!(html.find("knee 200/s, confidence high").unwrap() < html.find("Rate against latency").unwrap());
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!html.contains(outside), "the page loads {outside}");
    }
    assert_eq!(html.matches("<circle ").count(), 6, "a point for each stage");
    assert_eq!(html.matches("<g class=\"kept").count(), 3);
    assert_eq!(html.matches("<g class=\"broken").count(), 2);
    assert_eq!(html.matches("<g class=\"generator").count(), 1);
    assert_eq!(html.matches("confirms\"><title>").count(), 1);
    // From its point and from its row.
    assert_eq!(html.matches("href=\"run-at-207/report.html\"").count(), 2);
    assert!(html.contains("seen &lt;75.7&gt; ms"), "reasons are text");
    assert!(html.contains("p99 limit 50.0 ms</text>"), "the threshold's line");
    assert!(html.contains("knee 200/s</text>"), "the knee's line");
}

#[test]
fn a_search_without_a_knee_or_without_stages_has_a_page_too() {
    let mut under_way = page();
    (under_way.knee_per_second, under_way.failed_per_second, under_way.confidence) = (None, None, None);
    (under_way.exit_code, under_way.mood) = (None, Mood::Plain);
    let html = text(&under_way);
    assert!(html.contains("not ended") && !html.contains("class=\"held\""));
    under_way.stages.clear();
    under_way.kept_per_second = None;
    assert!(text(&under_way).contains("No stage was run."));
}

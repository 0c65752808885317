//! What comes back from experts that are none.

use std::time::{Duration, SystemTime};

use circle_of_experts::Running;
use circle_of_experts::orchestrator::{Kind, Member, Options, Orchestrator, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::ask;

const VOTE: &str =
    r#"{"choices":[{"message":{"role":"assistant","content":"Answer: C"},"finish_reason":"stop"}]}"#;

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// Gives these answers, a connection each, and the last again and again.
async fn serve(listener: TcpListener, answers: Vec<String>) {
    for n in 0.. {
        let (mut stream, _) = listener.accept().await.unwrap();
        // All of the request: a connection that is closed over unread bytes is reset.
        let mut request = Vec::new();
        let mut byte = [0];
        // A chat's body ends with the list of its messages.
        while !request.ends_with(b"]}") && stream.read(&mut byte).await.unwrap() == 1 {
            request.push(byte[0]);
        }
        let answer = &answers[n.min(answers.len() - 1)];
        stream.write_all(answer.as_bytes()).await.unwrap();
        // A client that has read enough may have gone.
        let _ = stream.shutdown().await;
    }
}

/// What one expert's part in a question is, when it answers so.
async fn report(answers: Vec<String>) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = Member {
        kind: Kind::DeepseekExpert,
        url: format!("http://{}/chat/completions", listener.local_addr().unwrap()),
        weight: 1.0,
        model: "m".into(),
        key: "k".into(),
    };
    let settings = Settings { backoff_ms: 1, max_backoff_ms: 1, retries: 1, ..Settings::default() };
    let options = Options { members: vec![member], settings, ..Options::default() };
    let orchestrator = Running::<Orchestrator>::start(options).unwrap();
    let client = reqwest::Client::new();
    let url = orchestrator.url();
    let verdict = tokio::select! {
        () = serve(listener, answers) => unreachable!("it serves for ever"),
        (_, verdict) = ask(&client, &url, "Who is there?") => verdict,
    };
    verdict["experts"][0].clone()
}

#[tokio::test]
async fn what_is_no_answer_has_its_cause() {
    let long = format!("{{\"choices\":\"{}\"}}", "x".repeat(70_000));
    for (answers, cause, attempts) in [
        (vec!["SSH-2.0-OpenSSH_9.2\r\n".to_owned()], "no HTTP", 2),
        (vec![answer("200 OK", "", &long)], "no HTTP", 1),
        (vec![String::new()], "reset", 2),
        (vec![answer("200 OK", "", "{}")], "shape", 1),
        (vec![answer("302 Found", "location: /\r\n", "")], "shape", 1),
        (vec![answer("400 Bad Request", "", "no")], "bad request", 1),
        (vec![answer("503 Service Unavailable", "x-should-retry: false\r\n", "{}")], "overloaded", 1),
        (vec![answer("200 OK", "", &VOTE.replace("C\"", "C or D\""))], "no vote", 1),
    ] {
        let report = report(answers.clone()).await;
        assert_eq!(
            (&report["abstained"], &report["attempts"]),
            (&json!(cause), &json!(attempts)),
            "{answers:?}"
        );
    }
    let again = vec![answer("500 Internal Server Error", "", "{}"), answer("200 OK", "", VOTE)];
    let report = report(again).await;
    assert_eq!((&report["vote"], &report["attempts"]), (&json!("C"), &json!(2)), "{report}");
}

#[tokio::test]
async fn a_date_in_retry_after_is_waited_for() {
    // Dates have whole seconds.
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    let limited = answer("429 Too Many Requests", &format!("retry-after: {date}\r\n"), "{}");
    let report = report(vec![limited, answer("200 OK", "", VOTE)]).await;
    assert_eq!((&report["vote"], &report["attempts"]), (&json!("C"), &json!(2)), "{report}");
    assert!(SystemTime::now() >= httpdate::parse_http_date(&date).unwrap(), "{report}");
}

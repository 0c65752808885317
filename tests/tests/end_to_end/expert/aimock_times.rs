//! Times against aimock, beside those of a client that does nothing but read its socket and its clock.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gauntlet_tests::setting::Setting;
use serde_json::{Value, json};

use super::aimock::{Aimock, experts};
use super::{APIS, metric, plan};
use crate::plans::{assert_closes, phase};

const FIRST_MS: u32 = 200;
const PER_SECOND: u32 = 50;
/// What medians may differ by, milliseconds.
const MOST: f64 = 5.0;
/// Requests of the raw client for each API and way.
const RAW: usize = 15;
/// Turns of each, one after the other.
const TURNS: usize = 2;

/// Path and body of a request.
fn request(api: &str, stream: bool) -> (String, String) {
    const PROMPT: &str = "Query 7.";
    let chat = json!({ "model": "some/model", "stream": stream, "max_tokens": 64, "messages": [{ "role": "user", "content": PROMPT }] });
    let (path, body) = match (api, stream) {
        ("anthropic", _) => ("/v1/messages", chat),
        ("gemini", stream) => {
            let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": PROMPT }] }] });
            let path = "/v1beta/models/model:generateContent";
            (if stream { "/v1beta/models/model:streamGenerateContent?alt=sse" } else { path }, body)
        }
        ("deepseek", _) => ("/chat/completions", chat),
        _ => ("/api/v1/chat/completions", chat),
    };
    (path.to_owned(), body.to_string())
}

/// Whether an event has text of the answer.
fn is_content(event: &Value) -> bool {
    let texts = ["/delta/text", "/candidates/0/content/parts/0/text", "/choices/0/delta/content"];
    texts.iter().any(|at| event.pointer(at).and_then(Value::as_str).is_some_and(|text| !text.is_empty()))
}

/// Milliseconds from the send to each content, or to the last byte of an answer in one piece.
fn raw(port: u16, api: &str, stream: bool) -> Vec<f64> {
    let (path, body) = request(api, stream);
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer k\r\nx-api-key: k\r\nx-goog-api-key: k\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let sent = Instant::now();
    socket.write_all((head + &body).as_bytes()).unwrap();
    let (mut text, mut seen, mut times) = (String::new(), 0, Vec::new());
    let mut buffer = [0; 65_536];
    let mut last = 0.0;
    loop {
        let read = socket.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        last = sent.elapsed().as_secs_f64() * 1e3;
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        // Whole lines only.
        while let Some(end) = text[seen..].find('\n') {
            let line = text[seen..seen + end].trim_end();
            seen += end + 1;
            let event = line.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok());
            if event.is_some_and(|event: Value| is_content(&event)) {
                times.push(last);
            }
        }
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    if stream { times } else { vec![last] }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

#[test]
#[ignore = "compares times of milliseconds: for a machine that does nothing else"]
fn times_are_those_of_a_raw_client() {
    let setting = Setting::embedded();
    let aimock = Aimock::start(setting.path(), FIRST_MS, PER_SECOND);
    let url = format!("http://127.0.0.1:{}", aimock.port);
    // By API: time to the first content, between contents, and of an answer in one piece.
    let mut seen = vec![[const { Vec::new() }; 3]; APIS.len()];
    let mut compared = seen.clone();
    for _ in 0..TURNS {
        for stream in [true, false] {
            let config = format!("stream = {stream}\nretries = 1\nexperts = [{}]", experts());
            let phase_lines = "rate = 8\nduration = \"10s\"\nconnections = 20";
            let summary = setting.run(&plan(&url, phase_lines, &config)).summary();
            let phase = phase(&summary);
            assert_closes(phase);
            for (api, seen) in APIS.iter().zip(&mut seen) {
                let p50 = |name: &str| metric(phase, api, name)["p50"].as_f64().unwrap();
                if stream {
                    seen[0].push(p50("TTFT"));
                    seen[1].push(p50("ITL"));
                } else {
                    let steps = phase["steps"].as_array().unwrap();
                    let step = steps.iter().find(|step| step["step"] == *api).unwrap();
                    seen[2].push(step["service"]["p50"].as_f64().unwrap() / 1e3);
                }
            }
            for (api, compared) in APIS.iter().zip(&mut compared) {
                for times in (0..RAW).map(|_| raw(aimock.port, api, stream)) {
                    if stream {
                        compared[0].push(times[0]);
                        compared[1].extend(times.windows(2).map(|two| two[1] - two[0]));
                    } else {
                        compared[2].push(times[0]);
                    }
                }
            }
        }
    }
    let mut far = Vec::new();
    for (api, (seen, compared)) in APIS.iter().zip(seen.into_iter().zip(compared)) {
        for (what, (seen, compared)) in
            ["TTFT", "ITL", "whole answer"].iter().zip(seen.into_iter().zip(compared))
        {
            let (seen, raw) = (median(seen), median(compared));
            println!("{api}: {what} p50 {seen:.2} ms, raw client {raw:.2} ms");
            if (seen - raw).abs() > MOST {
                far.push(format!("{api}: {what}"));
            }
        }
    }
    assert!(far.is_empty(), "more than {MOST} ms apart: {far:?}");
}

use super::*;

/// The events of a stream: names with data.
fn events(api: &str, pieces: &[&str]) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    match api {
        "anthropic" => {
            let start = r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":11,"output_tokens":1}}}"#;
            all.push(("message_start", start.to_owned()));
            let block =
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
            all.push(("content_block_start", block.to_owned()));
            all.push(("ping", r#"{"type":"ping"}"#.to_owned()));
            for piece in pieces {
                let delta = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": piece } });
                all.push(("content_block_delta", delta.to_string()));
            }
            all.push(("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.to_owned()));
            let delta =
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":21}}"#;
            all.push(("message_delta", delta.to_owned()));
            all.push(("message_stop", r#"{"type":"message_stop"}"#.to_owned()));
        }
        "gemini" => {
            for (index, piece) in pieces.iter().enumerate() {
                let mut chunk = json!({
                    "candidates": [{ "content": { "parts": [{ "text": piece }], "role": "model" } }],
                    "usageMetadata": { "promptTokenCount": 11, "candidatesTokenCount": index + 1 },
                });
                if index + 1 == pieces.len() {
                    chunk["candidates"][0]["finishReason"] = json!("STOP");
                    chunk["usageMetadata"]["candidatesTokenCount"] = json!(21);
                }
                all.push(("", chunk.to_string()));
            }
        }
        _ => {
            // vLLM's bench takes this chunk for the first token.
            all.push((
                "",
                json!({ "choices": [{ "delta": { "role": "assistant", "content": "" } }], "usage": null })
                    .to_string(),
            ));
            for piece in pieces {
                all.push((
                    "",
                    json!({ "choices": [{ "delta": { "content": piece }, "finish_reason": null }] })
                        .to_string(),
                ));
            }
            all.push(("", json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }).to_string()));
            let usage = json!({ "choices": [], "usage": { "prompt_tokens": 11, "completion_tokens": 21 } });
            all.push(("", usage.to_string()));
            all.push(("", "[DONE]".to_owned()));
        }
    }
    all
}

/// Plays a stream whose n-th event comes after n times 10 ms; gives what was said at the end, observations of all of it.
fn play(config: &Value, events: &[(&str, String)]) -> Said {
    let mut bench = bench(config);
    let request = only(&bench.start(0, 0, &[]));
    let mut all = Vec::new();
    let mut at = 0;
    for (number, (name, data)) in (1..).zip(events) {
        at = number * 10_000;
        let said = bench.answer(&[Answer::event(&request, number, name, data).last_byte_us(at)]);
        assert!(said.requests.is_empty() && said.finished.is_empty() && said.verdicts.is_empty(), "{said:?}");
        all.extend(said.commands);
    }
    let end = Answer::to(&request).events(u32::try_from(events.len()).unwrap()).last_byte_us(at + 5_000);
    let mut said = bench.answer(&[end]);
    all.append(&mut said.commands);
    said.commands = all;
    said
}

#[test]
fn a_stream_is_measured_by_the_definitions_in_the_metrics_names() {
    for api in APIS {
        let config = one(api, json!({ "stream": true }));
        let setup = setup(&config);
        let events = events(api, &["Hel", "lo ", "you", "!"]);
        let said = play(&config, &events);
        assert_eq!(checks(&said, false), [""; 0], "{api}");
        assert_eq!((checks(&said, true).len(), said.finished.len(), ended(&said)), (3, 1, Some(true)));
        // Which event has the first content; the others follow every 10 ms.
        let before = match api {
            "anthropic" => 3.0,
            "gemini" => 0.0,
            _ => 1.0,
        };
        let (ttft, e2e) = (10.0 * (before + 1.0), 10.0 * (before + 4.0));
        assert_eq!(observed(&setup, &said, "TTFT"), [ttft], "{api}");
        assert_eq!(observed(&setup, &said, "ITL"), [10.0; 3], "{api}");
        assert_eq!(observed(&setup, &said, "E2E"), [e2e], "{api}");
        assert_eq!(observed(&setup, &said, "TPOT"), [(e2e - ttft) / 20.0], "{api}");
        assert_eq!(observed(&setup, &said, "input tokens"), [11.0], "{api}");
        assert_eq!(observed(&setup, &said, "output tokens,"), [21.0], "{api}");
        assert_eq!(observed(&setup, &said, "output tokens /"), [21.0 * 1e3 / e2e], "{api}");
    }
}

#[test]
fn a_stream_without_its_end_marker_is_truncated() {
    for api in APIS {
        let whole = events(api, &["a", "b", "c"]);
        // Without the last event; of Gemini that has the last piece, too.
        let said = play(&one(api, json!({ "stream": true, "retries": 0 })), &whole[..whole.len() - 1]);
        let failed = [format!("{api}: cause: truncated"), format!("{api}: answers")];
        assert_eq!(checks(&said, false), failed.iter().map(String::as_str).collect::<Vec<_>>(), "{api}");
        assert_eq!(ended(&said), Some(true), "the answer was whole as HTTP");
    }
    // [DONE] alone is not enough.
    let mut events = events("deepseek", &["a", "b"]);
    events.retain(|(_, data)| !data.contains("stop"));
    let said = play(&one("deepseek", json!({ "stream": true, "retries": 0 })), &events);
    assert!(checks(&said, false).contains(&"deepseek: cause: truncated"), "{said:?}");
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_found() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#;
    let gone = r#"{"id":"g","error":{"code":502,"message":"x"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#;
    for (api, name, data, cause) in
        [("anthropic", "error", overloaded, "overloaded"), ("openrouter", "", gone, "server error")]
    {
        let mut events = events(api, &["a", "b"]);
        events.truncate(4);
        events.push((name, data.to_owned()));
        let said = play(&one(api, json!({ "stream": true, "retries": 0 })), &events);
        assert!(checks(&said, false).contains(&format!("{api}: cause: {cause}").as_str()), "{said:?}");
    }
}

#[test]
fn garbage_in_a_stream_is_no_shape() {
    for api in APIS {
        let mut events = events(api, &["a", "b"]);
        events[1].1 = "{\"type\":".to_owned();
        let said = play(&one(api, json!({ "stream": true, "retries": 0 })), &events);
        assert!(checks(&said, false).contains(&format!("{api}: cause: shape").as_str()), "{said:?}");
    }
}

#[test]
fn an_answer_in_one_piece_is_no_stream_but_its_error_counts() {
    for (body, cause) in [
        (whole("openrouter", "Hello", 3), "shape"),
        (json!({ "error": { "code": 503, "message": "x" } }).to_string(), "overloaded"),
    ] {
        let mut bench = bench(&one("openrouter", json!({ "stream": true, "retries": 0 })));
        let request = only(&bench.start(0, 0, &[]));
        let said = bench.answer(&[Answer::to(&request).body(body)]);
        assert!(checks(&said, false).contains(&format!("openrouter: cause: {cause}").as_str()), "{said:?}");
    }
}

#[test]
fn reasoning_is_content_for_times_and_no_text() {
    let think = |key: &str, text: &str| {
        ("", json!({ "choices": [{ "delta": { key: text, "content": null } }] }).to_string())
    };
    let mut all = vec![think("reasoning_content", "hm"), think("reasoning", "hm")];
    all.extend(events("deepseek", &["x"]));
    let config = one("deepseek", json!({ "stream": true }));
    let said = play(&config, &all);
    assert_eq!(observed(&setup(&config), &said, "TTFT"), [10.0]);
    all.retain(|(_, data)| !data.contains("\"x\""));
    let said = play(&one("deepseek", json!({ "stream": true })), &all);
    assert!(checks(&said, false).contains(&"deepseek: cause: empty"), "{said:?}");
}

#[test]
fn objectives_of_streams_are_kept_by_all_or_not_at_all() {
    // First content after 20 ms, last after 50 ms, 21 tokens: 1.5 ms each.
    for (slo, kept) in [
        (json!({ "ttft": "20ms", "tpot": "1.5ms", "e2e": "50ms" }), true),
        (json!({ "ttft": "19ms", "tpot": "1.5ms", "e2e": "50ms" }), false),
        (json!({ "ttft": "20ms", "tpot": "1.4ms" }), false),
        (json!({ "e2e": "49ms" }), false),
    ] {
        let said = play(
            &one("deepseek", json!({ "stream": true, "slo": slo })),
            &events("deepseek", &["a", "b", "c", "d"]),
        );
        assert!(checks(&said, kept).contains(&"deepseek: within its objectives"), "{slo}: {said:?}");
    }
}

#[test]
fn events_of_an_attempt_that_is_over_say_nothing() {
    let config = one("gemini", json!({ "stream": true }));
    let mut bench = bench(&config);
    let first = only(&bench.start(0, 0, &[]));
    let events = events("gemini", &["a", "b"]);
    let second = only(&bench.answer(&[Answer::to(&first).status(503)]));
    let late = bench.answer(&[Answer::event(&first, 1, "", &events[1].1)]);
    assert_eq!(late, bench.answer(&[]), "nothing");
    let said = bench.answer(&[Answer::to(&second).events(1)]);
    assert!(checks(&said, false).contains(&"gemini: cause: truncated"), "{said:?}");
}

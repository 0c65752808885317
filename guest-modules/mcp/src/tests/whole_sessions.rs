use super::*;

/// A session that is one turn and makes each of the calls once.
#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn session(revision: &str, calls: Value, more: Value) -> Value {
    let mut config = json!({ "revision": revision, "turn": "session", "order": "sequence", "calls": calls });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

fn three() -> Value {
    json!([{ "list": "tools" }, { "tool": "echo", "arguments": { "message": "hi" } }, { "list": "prompts" }])
}

#[test]
fn a_turn_is_opened_called_in_and_ended() {
    let mut bench = bench(session("2025-11-25", three(), json!({})));
    for arrival in 0..2 {
        let turned = turn(&mut bench, 0, arrival, sound);
        let calls = ["tools/list", "tools/list", "tools/call", "prompts/list"];
        let mut methods = vec!["initialize", "notifications/initialized"];
        methods.extend(calls);
        methods.push("DELETE");
        assert_eq!(turned.methods(), methods, "the list that opens a session is not the call");
        assert_eq!((turned.failed(), turned.finished.len()), (vec![], 1));
        assert_eq!(turned.ended(), [(1, true), (2, true), (3, true), (3, true), (3, true)]);
    }
}

#[test]
fn without_sessions_a_turn_makes_all_calls_too() {
    let turned = turn(&mut bench(session("2026-07-28", three(), json!({}))), 0, 0, sound);
    assert_eq!(turned.methods(), ["tools/list", "tools/list", "tools/call", "prompts/list"]);
    assert_eq!((turned.failed(), turned.finished.len()), (vec![], 1));
}

#[test]
fn a_session_has_as_many_calls_as_it_is_given() {
    for (calls, expected) in [(1, 1), (7, 7)] {
        let config = session("2026-07-28", three(), json!({ "session": { "calls": calls } }));
        let turned = turn(&mut bench(config), 0, 0, sound);
        assert_eq!(turned.ended().iter().filter(|(operation, _)| *operation == 3).count(), expected);
    }
    // By weight it is one call, as in the oldest revision.
    let config = json!({ "revision": "2025-11-25", "turn": "session", "calls": [{ "ping": true }] });
    let methods = turn(&mut bench(config), 0, 0, sound).methods();
    assert_eq!(methods, ["initialize", "notifications/initialized", "ping", "DELETE"]);
}

#[test]
fn in_sequence_arrivals_take_one_call_after_another() {
    let config = json!({ "revision": "2026-07-28", "order": "sequence",
        "calls": [{ "list": "prompts" }, { "list": "resources" }] });
    let mut bench = bench(config);
    let methods = [0, 1, 2].map(|arrival| turn(&mut bench, 0, arrival, sound).methods());
    assert_eq!(methods, [["prompts/list"], ["resources/list"], ["prompts/list"]]);
}

#[test]
fn all_calls_of_a_turn_have_its_row() {
    let call = |name: &str| json!({ "tool": "echo", "name": name, "feed": "words.csv", "arguments": { "message": format!("{name} {{word}}") } });
    for (revision, turn_is) in [("2025-11-25", "session"), ("2026-07-28", "session"), ("2024-11-05", "call")]
    {
        let config = json!({ "revision": revision, "turn": turn_is, "order": "sequence", "list-tools": false,
            "endpoint": "/sse", "calls": [call("a"), call("b")] });
        let mut bench = bench(config);
        let mut turned = Turned::default();
        let mut sent = turned.add(bench.start(0, 0, &[&["x"]]));
        let mut server = event_stream::Server::new();
        while !sent.is_empty() {
            let answers: Vec<_> = sent
                .iter()
                .flat_map(|sent| if revision == "2024-11-05" { server.answer(sent) } else { sound(sent) })
                .collect();
            sent = turned.add(bench.answer(&answers));
        }
        let said: Vec<_> = turned
            .sent
            .iter()
            .filter(|sent| method(sent) == "tools/call")
            .map(|sent| body(sent)["params"]["arguments"]["message"].clone())
            .collect();
        assert_eq!(said, ["a x", "b x"], "{revision}");
    }
}

#[test]
fn a_call_that_cannot_be_made_is_passed_over() {
    let server = |sent: &Sent| match method(sent).as_str() {
        "tools/list" => {
            let mut list = result("tools/list");
            let mark = json!({ "type": "number", "x-mcp-header": "Score" });
            let bad =
                json!({ "name": "bad", "inputSchema": { "type": "object", "properties": { "a": mark } } });
            list["tools"].as_array_mut().unwrap().push(bad);
            vec![as_json(sent, &response(sent, list))]
        }
        _ => sound(sent),
    };
    let calls = json!([{ "tool": "bad" }, { "tool": "bad", "name": "drawn", "generate": true },
        { "tool": "echo", "generate": true }]);
    let turned = turn(&mut bench(session("2026-07-28", calls, json!({}))), 0, 0, server);
    assert_eq!(turned.methods(), ["tools/list", "tools/call"]);
    assert_eq!((turned.failed(), turned.finished.len()), (vec!["header-marks"], 1));
    // A list with a bad tool is bad, but what it says of the others is true.
    assert_eq!(body(turned.last())["params"]["name"], "echo");
    // Where none can be made the turn ends all the same, however many there are to be.
    let none = session("2026-07-28", json!([{ "tool": "bad" }]), json!({ "session": { "calls": 1_000 } }));
    let turned = turn(&mut bench(none), 0, 0, server);
    assert_eq!((turned.methods(), turned.finished.len()), (vec!["tools/list".to_owned()], 1));
}

fn with_stream() -> Value {
    let calls = json!([{ "tool": "echo", "arguments": { "message": "hi" } }]);
    let mut config = session("2025-11-25", calls, json!({ "stream": true, "list-tools": false }));
    config["capabilities"] = json!(["roots"]);
    config
}

fn head(sent: &Sent) -> Answer {
    Answer::to(sent).kind(CompletionKind::Head).header("content-type", "text/event-stream")
}

#[test]
fn the_server_is_heard_beside_the_calls() {
    let mut stream = None;
    let turned = turn(&mut bench(with_stream()), 0, 0, |sent| match method(sent).as_str() {
        "GET" => {
            stream = Some(sent.clone());
            vec![head(sent)]
        }
        // It asks on the stream before it answers.
        "tools/call" => {
            let asks = r#"{"jsonrpc":"2.0","id":"r1","method":"roots/list"}"#;
            let notes = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
            let stream = stream.as_ref().unwrap();
            let told = [asks, notes].map(|text| Answer::event(stream, 1, "message", text));
            told.into_iter().chain(sound(sent)).collect()
        }
        _ => sound(sent),
    });
    let methods = ["initialize", "notifications/initialized", "GET", "tools/call", "response", "DELETE"];
    assert_eq!((turned.methods(), turned.failed()), (methods.map(str::to_owned).to_vec(), vec![]));
    let stream = stream.unwrap();
    assert_eq!((stream.step.as_str(), stream.operation), ("session stream", 4));
    assert_eq!(
        (stream.header("mcp-session-id"), stream.header("accept")),
        (Some("s-1"), Some("text/event-stream"))
    );
    assert_eq!(body(&turned.sent[4])["id"], "r1");
    assert!(turned.commands.contains(&Command::Cancel { user: 0, seq: stream.seq }), "given up at the end");
    assert_eq!(turned.ended(), [(1, true), (3, true), (4, true)]);
}

#[test]
fn answers_do_not_belong_on_the_stream_beside_them() {
    let mut stream = None;
    let turned = turn(&mut bench(with_stream()), 0, 0, |sent| match method(sent).as_str() {
        "GET" => {
            stream = Some(sent.clone());
            vec![head(sent)]
        }
        "tools/call" => {
            let text = response(sent, result("tools/call"));
            let astray = Answer::event(stream.as_ref().unwrap(), 1, "message", &text);
            [astray].into_iter().chain(sound(sent)).collect()
        }
        _ => sound(sent),
    });
    assert_eq!((turned.failed(), turned.finished.len()), (vec!["id-mismatch"], 1));
}

#[test]
fn a_server_without_such_a_stream_is_asked_once() {
    let mut bench = bench(with_stream());
    let server = |status: u32| {
        move |sent: &Sent| match method(sent).as_str() {
            "GET" => vec![Answer::to(sent).status(status)],
            _ => sound(sent),
        }
    };
    let wrong = turn(&mut bench, 0, 0, server(500));
    assert_eq!((wrong.failed(), wrong.methods().last().unwrap().as_str()), (vec!["status"], "DELETE"));
    let none = turn(&mut bench, 0, 1, server(405));
    assert_eq!((none.failed(), none.ended()), (vec![], vec![(1, true), (4, true), (3, true)]));
    assert!(!turn(&mut bench, 0, 2, server(405)).methods().contains(&"GET".to_owned()));
}

#[test]
fn a_head_that_is_kept_back_holds_nobody() {
    let mut bench = bench(with_stream());
    let mut turned = turn(&mut bench, 0, 0, |sent| if sent.method == "GET" { vec![] } else { sound(sent) });
    assert_eq!(turned.methods().last().unwrap(), "GET");
    let Some(Command::WakeAt { seq, .. }) = turned.commands.last().cloned() else { panic!("{turned:?}") };
    let sent = turned.add(bench.answer(&[Answer::timer(0, seq)]));
    assert_eq!(method(&sent[0]), "tools/call");
}

#[test]
fn a_stream_that_the_server_ends_is_gone_and_no_failure() {
    let mut stream = None;
    let turned = turn(&mut bench(with_stream()), 0, 0, |sent| match method(sent).as_str() {
        "GET" => {
            stream = Some(sent.clone());
            vec![head(sent)]
        }
        "tools/call" => [Answer::to(stream.as_ref().unwrap())].into_iter().chain(sound(sent)).collect(),
        _ => sound(sent),
    });
    assert_eq!((turned.failed(), turned.finished.len()), (vec![], 1));
    assert_eq!(turned.ended(), [(1, true), (4, true), (3, true)]);
    assert!(!turned.commands.iter().any(|command| matches!(command, Command::Cancel { .. })));
}

#[test]
fn a_turn_that_was_cut_off_leaves_no_session_behind() {
    let mut bench = bench(session("2025-11-25", three(), json!({})));
    bench.start(0, 0, &[]);
    assert_eq!(turn(&mut bench, 0, 1, sound).methods()[0], "initialize");
}

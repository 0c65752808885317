use super::*;

#[test]
fn a_session_is_opened_once_and_then_called_in() {
    let mut bench = bench(echo("2025-11-25"));
    let first = turn(&mut bench, 1, 0, sound);
    assert_eq!(first.methods(), ["initialize", "notifications/initialized", "tools/list", "tools/call"]);
    assert_eq!(first.ended(), [(1, true), (2, true), (3, true)]);
    assert_eq!(first.failed(), [""; 0]);
    assert_eq!(first.finished.len(), 1);
    let steps: Vec<_> = first.sent.iter().map(|sent| sent.step.as_str()).collect();
    assert_eq!(steps, ["initialize", "initialize", "tools/list", "tools/call echo"]);

    let open = &first.sent[0];
    assert_eq!((open.method.as_str(), open.target.as_str()), ("POST", "/mcp"));
    assert_eq!(open.header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(open.header("mcp-protocol-version"), None);
    assert_eq!(body(open)["params"]["protocolVersion"], "2025-11-25");
    for later in &first.sent[1..] {
        assert_eq!(later.header("mcp-session-id"), Some("s-1"));
        assert_eq!(later.header("mcp-protocol-version"), Some("2025-11-25"));
    }
    let call = body(first.last());
    assert_eq!(call["params"], json!({ "name": "echo", "arguments": { "message": "hi" } }));

    let second = turn(&mut bench, 1, 1, sound);
    assert_eq!(second.methods(), ["tools/call"], "the session is open");
    assert_ne!(body(second.last())["id"], call["id"]);
    let other = turn(&mut bench, 2, 2, sound);
    assert_eq!(other.methods()[0], "initialize", "each user has its own");
}

#[test]
fn the_version_is_said_in_a_header_since_there_is_one() {
    for (revision, header) in [("2025-03-26", None), ("2025-06-18", Some("2025-06-18"))] {
        let turned = turn(&mut bench(echo(revision)), 0, 0, sound_as(revision));
        assert_eq!(turned.last().header("mcp-protocol-version"), header);
        assert_eq!(turned.failed(), [""; 0], "{revision}");
    }
}

#[test]
fn a_server_of_another_version_is_not_called() {
    let turned = turn(&mut bench(echo("2025-11-25")), 0, 0, sound_as("2025-03-26"));
    assert_eq!(turned.methods(), ["initialize"]);
    assert_eq!(turned.failed(), ["version-unsupported"]);
    assert_eq!((turned.ended(), turned.finished.len()), (vec![(1, true)], 1));
    let turned = turn(&mut bench(echo("2025-11-25")), 0, 0, sound_as("2099-01-01"));
    assert_eq!(turned.failed(), ["version-unknown"]);
}

#[test]
fn a_session_ends_after_its_calls() {
    let mut config = echo("2025-11-25");
    config["session"] = json!({ "calls": 2 });
    let mut bench = bench(config);
    let first = turn(&mut bench, 0, 0, sound);
    assert_eq!(first.methods().last().unwrap(), "tools/call");
    let second = turn(&mut bench, 0, 1, sound);
    assert_eq!(second.methods(), ["tools/call", "DELETE"]);
    assert_eq!(second.last().header("mcp-session-id"), Some("s-1"));
    assert_eq!(second.last().step, "end of session");
    assert_eq!((second.failed(), second.finished.len()), (vec![], 1));
    assert_eq!(turn(&mut bench, 0, 2, sound).methods()[0], "initialize");
}

#[test]
fn a_server_without_delete_is_asked_once() {
    let mut config = echo("2025-11-25");
    config["session"] = json!({ "calls": 1 });
    let mut bench = bench(config);
    let server = |sent: &Sent| match method(sent).as_str() {
        "DELETE" => vec![Answer::to(sent).status(405)],
        _ => sound(sent),
    };
    let methods = [0, 1].map(|arrival| turn(&mut bench, 0, arrival, server).methods());
    assert_eq!(methods[0].last().unwrap(), "DELETE");
    assert_eq!(methods[1].last().unwrap(), "tools/call");
    assert_eq!(methods[1][0], "initialize", "the session is over for the user all the same");
}

#[test]
fn a_session_that_the_server_forgot_is_opened_anew() {
    for (status, check) in [(404, "session-expired"), (400, "status"), (401, "401")] {
        let mut bench = bench(echo("2025-11-25"));
        turn(&mut bench, 0, 0, sound);
        let gone = turn(&mut bench, 0, 1, |sent| vec![Answer::to(sent).status(status)]);
        assert_eq!((gone.failed(), gone.ended()), (vec![check], vec![(3, true)]));
        let anew = turn(&mut bench, 0, 2, sound);
        assert_eq!(anew.methods()[0], "initialize");
        assert_eq!(anew.sent[0].header("mcp-session-id"), None);
    }
}

#[test]
fn the_era_is_found_out_by_asking() {
    let config = || json!({ "calls": [{ "tool": "echo" }] });
    let refuse = |status: u32, text: &'static str| {
        move |sent: &Sent| match method(sent).as_str() {
            "server/discover" => vec![as_json(sent, text).status(status)],
            _ => sound(sent),
        }
    };
    let modern = turn(&mut bench(config()), 0, 0, sound);
    assert_eq!(modern.methods(), ["server/discover", "tools/list", "tools/call"]);
    assert_eq!(modern.failed(), [""; 0]);

    let legacy = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request"},"id":null}"#;
    for server in [refuse(400, legacy), refuse(404, "<html>"), refuse(200, legacy)] {
        let mut bench = bench(config());
        let turned = turn(&mut bench, 0, 0, &server);
        let first =
            ["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"];
        assert_eq!(turned.methods(), first);
        assert_eq!((turned.failed(), turned.ended()), (vec![], vec![(1, true), (2, true), (3, true)]));
        assert_eq!(turn(&mut bench, 1, 1, &server).methods()[0], "initialize", "one user asks for all");
    }

    let names = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"m","data":{"supported":["2025-06-18"]}}}"#;
    let turned = turn(&mut bench(config()), 0, 0, |sent| match method(sent).as_str() {
        "server/discover" => vec![as_json(sent, names).status(400)],
        _ => sound_as("2025-06-18")(sent),
    });
    assert_eq!(body(&turned.sent[1])["params"]["protocolVersion"], "2025-06-18");
    assert_eq!(turned.failed(), [""; 0]);

    let refused = turn(&mut bench(config()), 0, 0, |sent| vec![Answer::to(sent).status(401)]);
    assert_eq!((refused.methods().len(), refused.failed()), (1, vec!["401"]));
}

#[test]
fn a_server_that_takes_no_initialize_is_tried_in_the_oldest_dialect() {
    let turned =
        turn(&mut bench(json!({ "calls": [{ "tool": "echo" }] })), 0, 0, |sent| match sent.method.as_str() {
            "POST" => vec![Answer::to(sent).status(405)],
            _ => vec![Answer::to(sent).status(404)],
        });
    assert_eq!(turned.methods(), ["server/discover", "initialize", "GET"]);
    assert_eq!((turned.failed(), turned.finished.len()), (vec!["status"], 1));
}

#[test]
fn the_token_goes_with_every_request() {
    let mut config = echo("2025-11-25");
    config["auth"] = json!({ "bearer": "t{user}" });
    config["headers"] = json!({ "X-Tenant": "acme" });
    let turned = turn(&mut bench(config), 3, 0, sound);
    for sent in &turned.sent {
        assert_eq!(sent.header("authorization"), Some("Bearer t3"));
        assert_eq!(sent.header("x-tenant"), Some("acme"));
    }
}

#[test]
fn a_turn_that_was_cut_off_while_opening_begins_anew() {
    let mut bench = bench(echo("2025-11-25"));
    bench.start(0, 0, &[]);
    // The phase ended: nobody says so.
    assert_eq!(turn(&mut bench, 0, 1, sound).methods()[0], "initialize");
    bench.start(0, 2, &[]);
    assert_eq!(turn(&mut bench, 0, 3, sound).methods(), ["tools/call"], "its session is still there");
}

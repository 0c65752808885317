use super::*;

fn config() -> Value {
    echo("2026-07-28")
}

#[test]
fn each_request_says_all_about_itself() {
    let mut bench = bench(config());
    let turned = turn(&mut bench, 0, 0, sound);
    assert_eq!(turned.methods(), ["tools/list", "tools/call"]);
    assert_eq!((turned.failed(), turned.ended()), (vec![], vec![(2, true), (3, true)]));
    let call = turned.last();
    let headers =
        ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id"].map(|name| call.header(name));
    assert_eq!(headers, [Some("2026-07-28"), Some("tools/call"), Some("echo"), None]);
    let meta = &body(call)["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "gauntlet");
    assert_eq!(turned.sent[0].header("mcp-name"), None);
    assert_eq!(turn(&mut bench, 0, 1, sound).methods(), ["tools/call"]);
}

#[test]
fn statuses_and_codes_are_judged_together() {
    let failed = |status: u32, error: Value| {
        let turned = turn(&mut bench(config()), 0, 0, |sent| match method(sent).as_str() {
            "tools/call" => {
                let text = json!({ "jsonrpc": "2.0", "id": body(sent)["id"], "error": error }).to_string();
                vec![as_json(sent, &text).status(status)]
            }
            _ => sound(sent),
        });
        turned.failed().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let error = |code: i64| json!({ "code": code, "message": "m" });
    assert_eq!(failed(400, error(-32_020)), ["header-mismatch"]);
    assert_eq!(failed(400, error(-32_021)), ["capability-missing"]);
    assert_eq!(failed(400, error(-32_022)), ["version-unsupported"]);
    assert_eq!(failed(404, error(-32_601)), ["protocol-error"]);
    assert_eq!(failed(200, error(-32_601)), ["protocol-error", "status"]);
    assert_eq!(failed(200, error(-32_602)), ["protocol-error"]);
}

#[test]
fn results_say_what_they_are() {
    let turned = turn(&mut bench(config()), 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => vec![as_json(sent, &response(sent, json!({ "content": [] })))],
        _ => sound(sent),
    });
    assert_eq!(turned.failed(), ["result-type"]);
    let turned = turn(&mut bench(config()), 0, 0, |sent| match method(sent).as_str() {
        "tools/list" => {
            vec![as_json(sent, &response(sent, json!({ "tools": [], "resultType": "complete" })))]
        }
        _ => sound(sent),
    });
    assert_eq!((turned.failed(), turned.methods().len()), (vec!["cache-fields"], 1));
}

fn asks(sent: &Sent, rounds: u32) -> Vec<Answer> {
    let asked = body(sent)["params"]["requestState"].as_str().map_or(0, str::len) as u32;
    if method(sent) != "tools/call" || asked >= rounds {
        return sound(sent);
    }
    let state = "s".repeat(asked as usize + 1);
    let asks = json!({ "resultType": "input_required", "requestState": state,
        "inputRequests": { "name": { "method": "elicitation/create", "params": {} } } });
    vec![as_json(sent, &response(sent, asks))]
}

#[test]
fn a_call_that_needs_input_is_sent_again_with_it() {
    let mut with = config();
    with["capabilities"] = json!(["elicitation"]);
    let turned = turn(&mut bench(with.clone()), 0, 0, |sent| asks(sent, 1));
    assert_eq!(turned.methods(), ["tools/list", "tools/call", "tools/call"]);
    assert_eq!((turned.failed(), turned.ended()), (vec![], vec![(2, true), (3, true)]));
    let (first, again) = (body(&turned.sent[1]), body(&turned.sent[2]));
    assert_ne!(first["id"], again["id"]);
    assert_eq!(again["params"]["requestState"], "s");
    assert_eq!(again["params"]["inputResponses"], json!({ "name": { "action": "decline" } }));
    assert_eq!(
        (again["params"]["arguments"].clone(), turned.sent[2].operation),
        (json!({ "message": "hi" }), 3)
    );

    let endless = turn(&mut bench(with), 0, 0, |sent| asks(sent, 100));
    assert_eq!((endless.failed(), endless.methods().len()), (vec!["input-rounds"], 10));
    let undeclared = turn(&mut bench(config()), 0, 0, |sent| asks(sent, 1));
    assert_eq!((undeclared.failed(), undeclared.methods().len()), (vec!["server-request"], 2));
}

#[test]
fn arguments_that_the_server_marks_go_into_headers() {
    let list = |mark: &'static str| {
        move |sent: &Sent| match method(sent).as_str() {
            "tools/list" => {
                let mut list = result("tools/list");
                list["tools"][0]["inputSchema"]["properties"]["message"]["x-mcp-header"] = json!(mark);
                vec![as_json(sent, &response(sent, list))]
            }
            _ => sound(sent),
        }
    };
    let turned = turn(&mut bench(config()), 0, 0, list("Text"));
    assert_eq!((turned.last().header("mcp-param-text"), turned.failed()), (Some("hi"), vec![]));
    gauntlet_sdk::log::take_lines().clear();
    let refused = turn(&mut bench(config()), 0, 0, list("no name"));
    assert_eq!((refused.methods(), refused.failed()), (vec!["tools/list".to_owned()], vec!["header-marks"]));
    let lines = gauntlet_sdk::log::take_lines();
    assert!(lines.iter().any(|(_, line)| line.contains("echo is not called")), "{lines:?}");
}

#[test]
fn a_resource_is_named_in_a_header() {
    let config = json!({ "revision": "2026-07-28", "calls": [{ "resource": "file:///grüße/{user}" }] });
    let turned = turn(&mut bench(config), 2, 0, sound);
    assert_eq!(turned.methods(), ["resources/read"], "no tools, no list of them");
    assert_eq!(turned.last().header("mcp-name"), Some("=?base64?ZmlsZTovLy9ncsO8w59lLzI=?="));
    assert_eq!(
        (body(turned.last())["params"]["uri"].clone(), turned.failed()),
        (json!("file:///grüße/2"), vec![])
    );
}

#[test]
fn a_subscription_is_held_and_given_up() {
    let mut bench = bench(json!({ "revision": "2026-07-28", "calls": [{ "listen": "5s" }] }));
    let mut turned = Turned::default();
    let sent = turned.add(bench.start(0, 0, &[]));
    assert_eq!(method(&sent[0]), "subscriptions/listen");
    assert!(sent[0].timeout_us > 5_000_000);
    let held = Command::WakeAt { user: 0, seq: sent[0].seq, after_us: 5_000_000 };
    assert!(!turned.commands.contains(&held), "the server has its time to acknowledge it");
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": { "io.modelcontextprotocol/subscriptionId": body(&sent[0])["id"] } } });
    let mut answers = as_stream(&sent[0], &[&note.to_string()]);
    answers.pop();
    turned.add(bench.answer(&answers));
    assert!(turned.commands.contains(&held) && turned.finished.is_empty(), "it is held");
    turned.add(bench.answer(&[Answer::timer(0, sent[0].seq)]));
    assert!(turned.commands.contains(&Command::Cancel { user: 0, seq: sent[0].seq }));
    assert_eq!((turned.ended(), turned.finished.len(), turned.failed()), (vec![(3, true)], 1, vec![]));
}

#[test]
fn a_subscription_that_the_server_refuses_or_ends_unsaid_is_told() {
    let listened = |text: fn(&Sent) -> String, status: u32| {
        let mut bench = bench(json!({ "revision": "2026-07-28", "calls": [{ "listen": "5s" }] }));
        let turned = turn(&mut bench, 0, 0, |sent| vec![as_json(sent, &text(sent)).status(status)]);
        assert_eq!(turned.finished.len(), 1);
        turned.failed().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = |sent: &Sent| {
        let error = json!({ "code": -32_601, "message": "Method not found" });
        json!({ "jsonrpc": "2.0", "id": body(sent)["id"], "error": error }).to_string()
    };
    assert_eq!(listened(refused, 404), ["protocol-error"]);
    let ended = |sent: &Sent| response(sent, json!({ "resultType": "complete" }));
    assert_eq!(listened(ended, 200), ["acknowledgement"]);
}

#[test]
fn a_server_that_names_the_revision_which_it_refused_is_asked_once_more() {
    let refuses = |times: usize| {
        let mut left = times;
        move |sent: &Sent| {
            if left == 0 {
                return sound(sent);
            }
            left -= 1;
            let data = json!({ "supported": ["2026-07-28"], "requested": "2026-07-28" });
            let error = json!({ "code": -32_022, "message": "m", "data": data });
            let text = json!({ "jsonrpc": "2.0", "id": body(sent)["id"], "error": error }).to_string();
            vec![as_json(sent, &text).status(400)]
        }
    };
    let once = turn(&mut bench(echo("2026-07-28")), 0, 0, refuses(1));
    assert_eq!(once.methods(), ["tools/list", "tools/list", "tools/call"]);
    assert_ne!(body(&once.sent[0])["id"], body(&once.sent[1])["id"]);
    assert_eq!((once.failed(), once.ended()), (vec![], vec![(2, true), (3, true)]));
    let mut found_out = echo("2026-07-28");
    found_out["revision"] = json!("auto");
    let found_out = turn(&mut bench(found_out), 0, 0, refuses(1));
    assert_eq!(found_out.methods()[..2], ["server/discover", "server/discover"]);
    assert_eq!(found_out.failed(), [""; 0]);
    let twice = turn(&mut bench(echo("2026-07-28")), 0, 0, refuses(2));
    assert_eq!((twice.methods().len(), twice.failed()), (2, vec!["version-unsupported"]));
}

#[test]
fn the_pages_of_a_list_are_for_the_same_readers() {
    let read = |scopes: [&'static str; 3]| {
        let config = json!({ "revision": "2026-07-28", "calls": [{ "list": "prompts" }] });
        let turned = turn(&mut bench(config), 0, 0, |sent| {
            if method(sent) != "prompts/list" {
                return sound(sent);
            }
            let page = body(sent)["params"]["cursor"].as_str().map_or(0, str::len);
            let mut list = result("prompts/list");
            list["cacheScope"] = json!(scopes[page]);
            if page + 1 < scopes.len() {
                list["nextCursor"] = json!("p".repeat(page + 1));
            }
            vec![as_json(sent, &response(sent, list))]
        });
        let pages = turned.methods().iter().filter(|method| *method == "prompts/list").count();
        (pages, turned.failed().join(", "))
    };
    assert_eq!(read(["public"; 3]), (3, String::new()));
    assert_eq!(read(["private"; 3]), (3, String::new()));
    // A page that is wrong is the last one that is asked for.
    assert_eq!(read(["public", "private", "private"]), (2, "cache-fields".to_owned()));
    assert_eq!(read(["public", "public", "private"]), (3, "cache-fields".to_owned()));
}

use super::*;
use gauntlet_sdk::Failure;

fn with(call: &Value) -> Bench<Mcp> {
    bench(json!({ "revision": "2025-11-25", "calls": [call] }))
}

fn progress(sent: &Sent, progress: u32) -> String {
    let token = &body(sent)["params"]["_meta"]["progressToken"];
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": progress } })
        .to_string()
}

#[test]
fn progress_is_asked_for_and_timed() {
    let mut bench = with(&json!({ "tool": "echo", "progress": true }));
    let turned = turn(&mut bench, 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => as_stream(
            sent,
            &["", &progress(sent, 1), &progress(sent, 2), &response(sent, result("tools/call"))],
        ),
        _ => sound(sent),
    });
    assert_eq!(turned.failed(), [""; 0]);
    let observed: Vec<_> = turned
        .commands
        .iter()
        .filter_map(|command| match command {
            // The call's series is the first.
            Command::Observe { step: 0, metric, value } => Some((*metric, *value)),
            _ => None,
        })
        .collect();
    assert_eq!(observed, [(0, 2.0), (1, 2.0), (2, 4.0)], "first message, first progress, final answer");
}

#[test]
fn a_call_that_is_given_up_holds_nobody() {
    let mut bench = with(&json!({ "tool": "echo", "cancel-after": "50ms", "progress": true }));
    let mut turned = turn(&mut bench, 0, 0, |sent| match method(sent).as_str() {
        // The server says that it works, and never that it is done.
        "tools/call" => {
            let mut all = as_stream(sent, &[&progress(sent, 1)]);
            all.pop();
            all
        }
        _ => sound(sent),
    });
    let call = turned.last().clone();
    assert!(turned.finished.is_empty());
    assert!(turned.commands.contains(&Command::WakeAt { user: 0, seq: call.seq, after_us: 50_000 }));
    let sent = turned.add(bench.answer(&[Answer::timer(0, call.seq)]));
    assert_eq!(body(&sent[0])["params"]["requestId"], body(&call)["id"]);
    assert_eq!(sent[0].step, "notifications/cancelled");
    assert!(turned.commands.contains(&Command::Cancel { user: 0, seq: call.seq }));
    assert_eq!(
        (turned.ended().last(), turned.finished.len(), turned.failed()),
        (Some(&(3, true)), 1, vec![])
    );
    // What is heard late of it changes nothing.
    let late = [Answer::to(&sent[0]).status(202), Answer::to(&call).kind(CompletionKind::Cancelled)];
    assert_eq!(bench.answer(&late).requests, []);
    assert_eq!(turn(&mut bench, 0, 1, sound).methods(), ["tools/call"]);
}

#[test]
fn what_is_said_to_a_session_that_ends_meanwhile_is_not_judged() {
    let call = json!({ "tool": "echo", "cancel-after": "50ms" });
    let config = json!({ "revision": "2025-11-25", "session": { "calls": 1 }, "calls": [call] });
    for late in [false, true] {
        let mut bench = bench(config.clone());
        let mut turned = turn(&mut bench, 0, 0, |sent| match method(sent).as_str() {
            "tools/call" => vec![],
            _ => sound(sent),
        });
        let call = turned.last().seq;
        let sent = turned.add(bench.answer(&[Answer::timer(0, call)]));
        let (cancelled, end) = (Answer::to(&sent[0]).status(404), Answer::to(&sent[1]).status(200));
        assert_eq!((sent[0].step.as_str(), sent[1].method.as_str()), ("notifications/cancelled", "DELETE"));
        let both = if late { [end, cancelled] } else { [cancelled, end] };
        both.into_iter().for_each(|one| {
            turned.add(bench.answer(&[one]));
        });
        assert_eq!((turned.failed(), turned.finished.len()), (vec![], 1));
    }
}

#[test]
fn a_call_that_ends_in_time_is_not_given_up() {
    let mut bench = with(&json!({ "tool": "echo", "cancel-after": "50ms" }));
    let turned = turn(&mut bench, 0, 0, sound);
    let said = bench.answer(&[Answer::timer(0, turned.last().seq)]);
    assert_eq!((said.requests.len(), said.finished.len()), (0, 0));
}

#[test]
fn lists_are_read_to_their_end() {
    let pages = |last: u32| {
        move |sent: &Sent| match method(sent).as_str() {
            "prompts/list" => {
                let page = body(sent)["params"]["cursor"].as_str().map_or(0, str::len) as u32;
                let mut list = json!({ "prompts": [] });
                if page < last {
                    list["nextCursor"] = json!("p".repeat(page as usize + 1));
                }
                vec![as_json(sent, &response(sent, list))]
            }
            _ => sound(sent),
        }
    };
    let turned = turn(&mut with(&json!({ "list": "prompts" })), 0, 0, pages(3));
    assert_eq!(turned.methods()[2..], ["prompts/list"; 4]);
    assert_eq!((turned.failed(), turned.ended()), (vec![], vec![(1, true), (3, true)]));
    let some = turn(&mut with(&json!({ "list": "prompts", "pages": 2 })), 0, 0, pages(3));
    assert_eq!((some.methods().len(), some.failed()), (4, vec![]));
    let endless = turn(&mut with(&json!({ "list": "prompts" })), 0, 0, |sent| match method(sent).as_str() {
        "prompts/list" => {
            vec![as_json(sent, &response(sent, json!({ "prompts": [], "nextCursor": "again" })))]
        }
        _ => sound(sent),
    });
    assert_eq!((endless.failed(), endless.methods().len()), (vec!["cursor"], 4));
    // An empty cursor is one.
    let mut count = 0;
    let empty = turn(&mut with(&json!({ "list": "prompts" })), 0, 0, |sent| match method(sent).as_str() {
        "prompts/list" => {
            count += 1;
            let list = if count == 1 {
                json!({ "prompts": [], "nextCursor": "" })
            } else {
                json!({ "prompts": [] })
            };
            vec![as_json(sent, &response(sent, list))]
        }
        _ => sound(sent),
    });
    assert_eq!((empty.failed(), empty.methods().len()), (vec![], 4));
}

#[test]
fn the_server_is_answered() {
    let ask = |sent: &Sent, method: &str| {
        let asks = json!({ "jsonrpc": "2.0", "id": "srv-1", "method": method }).to_string();
        as_stream(sent, &[&asks, &response(sent, result("tools/call"))])
    };
    let answered = |capabilities: Value, asked: &'static str| {
        let config =
            json!({ "revision": "2025-11-25", "capabilities": capabilities, "calls": [{ "tool": "echo" }] });
        let turned = turn(&mut bench(config), 0, 0, |sent| match method(sent).as_str() {
            "tools/call" => ask(sent, asked),
            _ => sound(sent),
        });
        let reply = turned.sent.iter().find(|sent| method(sent) == "response").unwrap();
        assert_eq!(
            (body(reply)["id"].clone(), reply.step.as_str()),
            (json!("srv-1"), "answer to the server")
        );
        let failed: Vec<_> = turned.failed().into_iter().map(str::to_owned).collect();
        (body(reply), failed)
    };
    assert_eq!(
        answered(json!([]), "ping"),
        (json!({ "jsonrpc": "2.0", "id": "srv-1", "result": {} }), vec![])
    );
    let (reply, failed) = answered(json!(["roots"]), "roots/list");
    assert!(reply["result"]["roots"].is_array() && failed.is_empty());
    let (reply, failed) = answered(json!([]), "roots/list");
    assert_eq!((reply["error"]["code"].clone(), failed), (json!(-32_601), vec!["server-request".to_owned()]));
}

#[test]
fn a_stream_that_broke_off_is_taken_up_again() {
    let mut broken = 0;
    let turned = turn(&mut with(&json!({ "tool": "echo" })), 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => {
            let mut all = as_stream(sent, &[""]);
            broken += 1;
            all.pop();
            all.push(Answer::to(sent).failed(Failure::Reset));
            all
        }
        "GET" => {
            // The id of the request that waits is the call's.
            let id = json!({ "jsonrpc": "2.0", "id": sent.seq - 1, "result": { "content": [] } }).to_string();
            as_stream(sent, &[&id])
        }
        _ => sound(sent),
    });
    let again = turned.last();
    assert_eq!((again.method.as_str(), again.header("last-event-id")), ("GET", Some("e1")));
    assert_eq!((again.attempt, again.operation, again.header("mcp-session-id")), (1, 3, Some("s-1")));
    assert_eq!((turned.failed(), turned.ended().last(), broken), (vec![], Some(&(3, true)), 1));
}

#[test]
fn a_stream_is_left_alone_for_as_long_as_it_says() {
    let delays = |retry_ms: Option<u64>| {
        let turned =
            turn(&mut with(&json!({ "tool": "echo", "timeout": "10s" })), 0, 0, |sent| {
                match method(sent).as_str() {
                    "tools/call" => {
                        let mut all = as_stream(sent, &[""]);
                        if let Some(retry_ms) = retry_ms {
                            all[1] = all[1].clone().retry_ms(retry_ms);
                        }
                        all
                    }
                    "GET" => vec![Answer::to(sent).status(404)],
                    _ => sound(sent),
                }
            });
        turned.sent.iter().filter(|sent| sent.method == "GET").map(|sent| sent.delay_us).collect::<Vec<_>>()
    };
    assert_eq!(delays(None), [500_000]);
    assert_eq!(delays(Some(1_200)), [1_200_000]);
    assert_eq!(delays(Some(0)), [0]);
    assert_eq!(delays(Some(10_001)), [0; 0], "that would be too late");
}

#[test]
fn a_stream_that_was_taken_up_again_is_left_with_the_response() {
    let mut call = None;
    let turned = turn(&mut with(&json!({ "tool": "echo" })), 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => {
            call = Some(sent.clone());
            as_stream(sent, &[""])
        }
        // It stays open: more may come on it.
        "GET" => {
            let mut all = as_stream(sent, &["", &response(call.as_ref().unwrap(), result("tools/call"))]);
            all.pop();
            all
        }
        _ => sound(sent),
    });
    let stream = turned.sent.iter().find(|sent| sent.method == "GET").unwrap();
    assert!(turned.commands.contains(&Command::Cancel { user: 0, seq: stream.seq }));
    assert_eq!((turned.failed(), turned.ended().last()), (vec![], Some(&(3, true))));
    assert_eq!(turned.finished.len(), 1);
}

#[test]
fn a_stream_is_taken_up_again_a_few_times_only() {
    let turned = turn(&mut with(&json!({ "tool": "echo" })), 0, 0, |sent| match method(sent).as_str() {
        "tools/call" | "GET" => as_stream(sent, &[""]),
        _ => sound(sent),
    });
    assert_eq!(turned.sent.iter().filter(|sent| sent.method == "GET").count(), 5);
    assert_eq!(turned.failed(), ["missing-response"]);
}

#[test]
fn a_batch_is_one_body_and_one_operation() {
    let config = json!({ "revision": "2025-03-26", "calls": [{ "tool": "echo", "batch": 3 }] });
    let batch = |sent: &Sent, shuffled: bool| {
        let all = body(sent);
        let mut answers: Vec<_> = all
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| json!({ "jsonrpc": "2.0", "id": one["id"], "result": { "content": [] } }))
            .collect();
        if shuffled {
            answers.reverse();
        } else {
            answers.pop();
        }
        vec![as_json(sent, &Value::Array(answers).to_string())]
    };
    for (whole, expected) in [(true, vec![]), (false, vec!["missing-response"])] {
        let turned = turn(&mut bench(config.clone()), 0, 0, |sent| match method(sent).as_str() {
            "3 x tools/call" => batch(sent, whole),
            _ => sound_as("2025-03-26")(sent),
        });
        assert_eq!((turned.failed(), turned.ended().len()), (expected, 3));
    }
}

#[test]
fn a_tool_that_is_not_listed_is_unknown_however_the_server_says_so() {
    let mut bench = with(&json!({ "tool": "nope" }));
    gauntlet_sdk::log::take_lines().clear();
    let turned = turn(&mut bench, 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => {
            vec![as_json(sent, &response(sent, json!({ "content": [], "isError": true })))]
        }
        _ => sound(sent),
    });
    assert_eq!(turned.failed(), ["tool-unknown"]);
    let lines = gauntlet_sdk::log::take_lines();
    assert!(lines.iter().any(|(_, line)| line.contains("lists no tool nope")), "{lines:?}");
}

#[test]
fn a_stream_of_the_server_is_held() {
    let mut bench = with(&json!({ "listen": "1s" }));
    let mut turned = turn(&mut bench, 0, 0, |sent| match method(sent).as_str() {
        "GET" => {
            let mut all = as_stream(sent, &[r#"{"jsonrpc":"2.0","id":4,"method":"ping"}"#]);
            all.pop();
            all
        }
        _ => sound(sent),
    });
    assert_eq!(turned.methods()[2..], ["GET", "response"]);
    let seq = turned.sent[2].seq;
    turned.add(bench.answer(&[Answer::timer(0, seq)]));
    assert_eq!(
        (turned.failed(), turned.ended().last(), turned.finished.len()),
        (vec![], Some(&(3, true)), 1)
    );
}

#[test]
fn a_stream_is_held_from_when_it_is_open_and_told_when_it_never_opens() {
    let mut bench = with(&json!({ "listen": "1s" }));
    let mut turned = turn(&mut bench, 0, 0, |sent| if method(sent) == "GET" { vec![] } else { sound(sent) });
    let stream = turned.sent.last().unwrap().clone();
    let held = Command::WakeAt { user: 0, seq: stream.seq, after_us: 1_000_000 };
    assert!(!turned.commands.contains(&held), "the server has its time to open it");
    turned.add(bench.answer(&as_stream(&stream, &[])[..1]));
    assert!(turned.commands.contains(&held), "{:?}", turned.commands);
    turned.add(bench.answer(&[Answer::timer(0, stream.seq)]));
    assert_eq!((turned.failed(), turned.finished.len()), (vec![], 1));

    let mut turned = turn(&mut bench, 0, 1, |sent| if method(sent) == "GET" { vec![] } else { sound(sent) });
    let seq = turned.sent.last().unwrap().seq;
    turned.add(bench.answer(&[Answer::timer(0, seq)]));
    assert_eq!((turned.failed(), turned.finished.len()), (vec!["silent-stream"], 1));
}

use super::*;
use gauntlet_sdk::Failure;

fn config() -> Value {
    let mut config = echo("2024-11-05");
    config["endpoint"] = json!("/sse");
    config
}

/// A server of the oldest transport: what it says, it says on the stream.
pub(super) struct Server {
    stream: Option<Sent>,
    events: u32,
    address: &'static str,
}

impl Server {
    pub(super) fn new() -> Self {
        Self { stream: None, events: 0, address: "/message?sessionId=7" }
    }

    fn event(&mut self, name: &str, text: &str) -> Answer {
        self.events += 1;
        Answer::event(self.stream.as_ref().unwrap(), self.events, name, text)
    }

    pub(super) fn answer(&mut self, sent: &Sent) -> Vec<Answer> {
        let method = method(sent);
        if method == "GET" {
            self.stream = Some(sent.clone());
            let head =
                Answer::to(sent).kind(CompletionKind::Head).header("content-type", "text/event-stream");
            return vec![head, self.event("endpoint", self.address)];
        }
        let taken = Answer::to(sent).status(202).body("Accepted");
        if method.starts_with("notifications/") || method == "response" {
            return vec![taken];
        }
        let mut result = result(&method);
        if method == "initialize" {
            result["protocolVersion"] = json!("2024-11-05");
        }
        // Either may be told first.
        let said = self.event("message", &response(sent, result));
        if self.events.is_multiple_of(2) { vec![taken, said] } else { vec![said, taken] }
    }
}

#[test]
fn a_turn_is_a_session_on_one_stream() {
    let mut bench = bench(config());
    let mut server = Server::new();
    let turned = turn(&mut bench, 0, 0, |sent| server.answer(sent));
    let methods = ["GET", "initialize", "notifications/initialized", "tools/list", "tools/call"];
    assert_eq!(turned.methods(), methods);
    assert_eq!((turned.failed(), turned.ended()), (vec![], vec![(1, true), (2, true), (3, true)]));
    assert_eq!(
        (turned.sent[0].target.as_str(), turned.sent[0].header("accept")),
        ("/sse", Some("text/event-stream"))
    );
    for post in &turned.sent[1..] {
        assert_eq!(
            (post.target.as_str(), post.header("mcp-protocol-version")),
            ("/message?sessionId=7", None)
        );
    }
    let stream = Command::Cancel { user: 0, seq: turned.sent[0].seq };
    assert!(
        turned.commands.contains(&stream) && turned.finished.len() == 1,
        "the stream is given up at the end"
    );
    let mut server = Server::new();
    assert_eq!(
        turn(&mut bench, 0, 1, |sent| server.answer(sent)).methods(),
        methods,
        "each turn has its own"
    );
}

#[test]
fn who_takes_no_post_there_is_spoken_to_on_a_stream() {
    let mut config = config();
    config["revision"] = json!("auto");
    let mut bench = bench(config);
    // As the revision has it: an address for a stream alone, and another one for messages.
    let mut server = Server::new();
    let mut old = |sent: &Sent| match (sent.method.as_str(), sent.target.as_str()) {
        ("POST", "/sse") => vec![Answer::to(sent).status(405)],
        _ => server.answer(sent),
    };
    let turned = turn(&mut bench, 0, 0, &mut old);
    let session = ["GET", "initialize", "notifications/initialized", "tools/list", "tools/call"];
    assert_eq!(turned.methods(), [&["server/discover", "initialize"][..], &session].concat());
    assert_eq!((turned.failed(), turned.ended()), (vec![], vec![(1, true), (2, true), (3, true)]));
    assert_eq!((turned.sent[3].target.as_str(), turned.finished.len()), ("/message?sessionId=7", 1));
    // Whoever comes next knows.
    let next = turn(&mut bench, 1, 1, &mut old);
    assert_eq!((next.methods(), next.failed()), (session.map(str::to_owned).to_vec(), vec![]));
}

#[test]
fn users_who_begin_together_find_the_oldest_dialect_each() {
    let mut config = config();
    config["revision"] = json!("auto");
    let mut bench = bench(config);
    let begun = [bench.start(0, 0, &[]), bench.start(1, 1, &[])];
    let refuse = |said: &Said| vec![Answer::to(&said.requests[0]).status(405)];
    let initialize = begun.map(|said| bench.answer(&refuse(&said)));
    // The first one learns what the server is before the second one has its refusal.
    let mut server = Server::new();
    let stream = bench.answer(&refuse(&initialize[0])).requests[0].clone();
    let answers = server.answer(&stream);
    assert_eq!(method(&bench.answer(&answers).requests[0]), "initialize");
    let second = bench.answer(&refuse(&initialize[1]));
    let methods: Vec<_> = second.requests.iter().map(method).collect();
    assert_eq!((methods, second.verdicts.len()), (vec!["GET".to_owned()], 0), "{second:?}");
}

#[test]
fn a_turn_makes_as_many_calls_as_a_session_has() {
    let mut with = config();
    with["session"] = json!({ "calls": 3 });
    let mut server = Server::new();
    let turned = turn(&mut bench(with), 0, 0, |sent| server.answer(sent));
    assert_eq!(turned.methods()[4..], ["tools/call"; 3]);
    assert_eq!(turned.ended(), [(1, true), (2, true), (3, true), (3, true), (3, true)]);
}

#[test]
fn messages_go_to_the_same_server_only() {
    let mut server = Server { address: "//evil.example/", ..Server::new() };
    let turned = turn(&mut bench(config()), 0, 0, |sent| server.answer(sent));
    assert_eq!((turned.failed(), turned.methods().len()), (vec!["endpoint"], 1));
    assert_eq!((turned.ended(), turned.finished.len()), (vec![(1, false)], 1));
}

#[test]
fn a_stream_that_ends_takes_the_answer_with_it() {
    let mut server = Server::new();
    let turned = turn(&mut bench(config()), 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => {
            let stream = server.stream.clone().unwrap();
            vec![Answer::to(sent).status(202), Answer::to(&stream).events(9)]
        }
        _ => server.answer(sent),
    });
    assert_eq!((turned.failed(), turned.ended().last()), (vec!["missing-response"], Some(&(3, false))));
    let turned = turn(&mut bench(config()), 0, 0, |sent| vec![Answer::to(sent).failed(Failure::Connect)]);
    assert_eq!((turned.failed(), turned.ended(), turned.finished.len()), (vec![], vec![(1, false)], 1));
    let turned = turn(&mut bench(config()), 0, 0, |sent| vec![Answer::to(sent).status(401)]);
    assert_eq!((turned.failed(), turned.ended()), (vec!["401"], vec![(1, true)]));
}

#[test]
fn an_answer_that_does_not_come_is_given_up_by_a_timer() {
    let mut bench = bench(config());
    let mut server = Server::new();
    let mut turned = turn(&mut bench, 0, 0, |sent| match method(sent).as_str() {
        "tools/call" => vec![Answer::to(sent).status(202)],
        _ => server.answer(sent),
    });
    assert!(turned.finished.is_empty());
    let seq = turned.last().seq;
    turned.add(bench.answer(&[Answer::timer(0, seq)]));
    assert_eq!((turned.failed(), turned.ended().last()), (vec!["silent-stream"], Some(&(3, false))));
    assert_eq!(turned.finished.len(), 1);
}

use super::*;

fn body(request: &Sent) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_else(|error| panic!("{error}: {}", request.body_text()))
}

#[test]
fn each_api_gets_its_own_request() {
    let targets = [
        "/v1/messages",
        "/v1beta/models/model-1:generateContent",
        "/chat/completions",
        "/api/v1/chat/completions",
    ];
    for (api, target) in APIS.into_iter().zip(targets) {
        let mut bench = bench(&one(api, json!({ "system": "Be \"brief\".", "max-tokens": 9 })));
        let request = only(&bench.start(2, 5, &[]));
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", target));
        assert_eq!((request.step.as_str(), request.operation, request.attempt), (api, 1, 0));
        assert_eq!((request.timeout_us, request.delay_us, request.user), (10_000_000, 0, 2));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let (name, value) = match api {
            "anthropic" => ("x-api-key", "secret"),
            "gemini" => ("x-goog-api-key", "secret"),
            _ => ("authorization", "Bearer secret"),
        };
        assert_eq!(request.header(name), Some(value), "{api}");
        assert_eq!(request.header("anthropic-version").is_some(), api == "anthropic");
        let expected = match api {
            "anthropic" => json!({
                "model": "model-1", "max_tokens": 9, "stream": false, "system": "Be \"brief\".",
                "messages": [{ "role": "user", "content": "Say 5." }],
            }),
            "gemini" => json!({
                "generationConfig": { "maxOutputTokens": 9 },
                "systemInstruction": { "parts": [{ "text": "Be \"brief\"." }] },
                "contents": [{ "role": "user", "parts": [{ "text": "Say 5." }] }],
            }),
            _ => json!({
                "model": "model-1", "max_tokens": 9, "stream": false,
                "messages": [
                    { "role": "system", "content": "Be \"brief\"." },
                    { "role": "user", "content": "Say 5." },
                ],
            }),
        };
        assert_eq!(body(&request), expected, "{api}");
    }
}

#[test]
fn streams_are_asked_for_as_each_api_wants_it() {
    for api in APIS {
        let mut bench = bench(&one(api, json!({ "stream": true })));
        let request = only(&bench.start(0, 0, &[]));
        let body = body(&request);
        match api {
            "gemini" => {
                assert_eq!(request.target, "/v1beta/models/model-1:streamGenerateContent?alt=sse");
                assert_eq!(body.get("stream"), None);
            }
            "anthropic" => assert_eq!((&body["stream"], body.get("stream_options")), (&json!(true), None)),
            _ => assert_eq!(body["stream_options"], json!({ "include_usage": true })),
        }
    }
}

#[test]
fn paths_options_and_targets_are_the_configurations() {
    let mut expert = expert("deepseek");
    let more = json!({
        "path": "/v1/chat/completions", "target": 3, "options": { "temperature": 0, "stop": ["\n"] },
    });
    expert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = json!({ "experts": [expert], "prompt": "x", "options": { "temperature": 1, "top_p": 0.5 } });
    let request = only(&bench(&config).start(0, 0, &[]));
    assert_eq!((request.target.as_str(), request.endpoint), ("/v1/chat/completions", 3));
    let body = body(&request);
    assert_eq!(
        (&body["temperature"], &body["top_p"], &body["stop"][0]),
        (&json!(0), &json!(0.5), &json!("\n"))
    );

    let gemini = one("gemini", json!({ "options": { "generationConfig": { "temperature": 0 } } }));
    let body = self::body(&only(&bench(&gemini).start(0, 0, &[])));
    assert_eq!(body["generationConfig"], json!({ "temperature": 0, "maxOutputTokens": 256 }));
}

#[test]
fn prompts_and_keys_take_columns_of_the_feed() {
    let mut config = one("openrouter", json!({ "prompt": "Is {what} {{so}}?", "feed": "questions.csv" }));
    config["experts"][0]["key"] = json!("{token}");
    let setup = setup(&config);
    assert_eq!(setup.feeds[0].columns, ["what", "token"]);
    let mut bench = bench(&config);
    let request = only(&bench.start(0, 0, &[&["\"x\"\n", "abc"]]));
    assert_eq!(body(&request)["messages"][0]["content"], "Is \"x\"\n {so}?");
    assert_eq!(request.header("authorization"), Some("Bearer abc"));
}

#[test]
fn prompts_are_filled_up_to_a_size_that_the_arrival_draws() {
    let content = |size: Value, arrival: u64| {
        let mut bench = bench(&one("anthropic", json!({ "size": size })));
        let body = body(&only(&bench.start(0, arrival, &[])));
        body["messages"][0]["content"].as_str().unwrap().to_owned()
    };
    let fixed = content(json!(500), 3);
    assert_eq!(fixed.len(), 500);
    assert!(fixed.starts_with("Say 3. "), "{fixed}");
    assert_eq!(content(json!(3), 3), "Say 3.", "what is longer stays");
    assert_eq!(content(json!(500), 3), fixed, "the same arrival says the same");
    assert_ne!(content(json!(500), 4)[7..], fixed[7..], "prompts are not all one, which caches would answer");
    let mut lengths: Vec<_> =
        (0..200).map(|k| content(json!({ "min": 100, "max": 1000 }), k).len()).collect();
    lengths.sort_unstable();
    assert!(lengths[0] >= 100 && lengths[199] <= 1000 && lengths[199] - lengths[0] > 700, "{lengths:?}");
    let log = json!({ "median": 400, "sigma": 0.5, "max": 2000 });
    let mut lengths: Vec<_> = (0..200).map(|k| content(log.clone(), k).len()).collect();
    lengths.sort_unstable();
    assert!((300..520).contains(&lengths[100]) && lengths[199] > 800 && lengths[199] <= 2000, "{lengths:?}");
}

#[test]
fn arrivals_are_shared_among_experts_by_weight() {
    let experts = APIS.into_iter().zip([3.0, 1.0, 0.0, 0.5]).map(|(api, weight)| {
        let mut expert = expert(api);
        expert["weight"] = json!(weight);
        expert
    });
    let config = json!({ "experts": experts.collect::<Vec<_>>(), "prompt": "x" });
    let mut counts = [0_u32; 4];
    for arrival in 0..900 {
        let request = only(&bench(&config).start(0, arrival, &[]));
        counts[APIS.iter().position(|api| *api == request.step).unwrap()] += 1;
    }
    assert_eq!(counts[2], 0);
    assert!((520..680).contains(&counts[0]) && (140..260).contains(&counts[1]), "{counts:?}");
}

#[test]
fn a_conversation_says_again_what_was_said() {
    let mut config = one("deepseek", json!({ "conversation": { "turns": 3 } }));
    config["experts"].as_array_mut().unwrap().push(expert("anthropic"));
    let mut bench = bench(&config);
    let mut first = None;
    for turn in 0..4_u64 {
        let request = only(&bench.start(0, turn, &[]));
        let messages = body(&request)["messages"].clone();
        let texts: Vec<_> =
            messages.as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap().to_owned()).collect();
        match turn {
            0 | 3 => assert_eq!(texts, [format!("Say {turn}.")], "a conversation begins"),
            1 => assert_eq!(texts, ["Say 0.", "\"0\"", "Say 1."]),
            _ => assert_eq!(texts, ["Say 0.", "\"0\"", "Say 1.", "\"1\"", "Say 2."]),
        }
        if turn < 3 {
            let step = first.get_or_insert_with(|| request.step.clone());
            assert_eq!(*step, request.step, "the expert stays the same");
        }
        bench.answer(&[Answer::to(&request).body(whole(&request.step, &format!("\"{turn}\""), 3))]);
    }
}

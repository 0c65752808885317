use serde_json::json;

use super::*;

const ALL: [Shape; 4] = [Shape::Anthropic, Shape::Gemini, Shape::DeepSeek, Shape::OpenRouter];

fn reply(end: End) -> Reply<'static> {
    Reply { id: "ref-1", model: "m", input_tokens: 3, output_tokens: 2, end, usage: true }
}

/// The data of the events of a stream, without comments.
fn data(events: &str) -> Vec<Value> {
    let lines = events.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn requests_are_read_as_each_vendor_has_them() {
    let mut versioned = HeaderMap::new();
    versioned.insert("anthropic-version", "2023-06-01".parse().unwrap());
    let none = HeaderMap::new();
    let messages = json!([
        { "role": "user", "content": "one" }, { "role": "assistant", "content": "two" },
        { "role": "user", "content": [{ "type": "text", "text": "And why three?" }] },
    ]);
    let expected = |stream, usage, max_tokens| Ask {
        question: "And why three?".into(),
        input_tokens: 5,
        max_tokens,
        stream,
        usage,
        model: "m".into(),
    };

    let body = json!({ "model": "m", "max_tokens": 9, "messages": messages, "stream": true });
    let ask = Shape::Anthropic.ask("/v1/messages", "", &versioned, &body).unwrap().unwrap();
    assert_eq!(ask, expected(true, true, Some(9)));
    let wrong = Shape::Anthropic.ask("/v1/messages", "", &none, &body).unwrap_err();
    assert!(wrong.contains("anthropic-version"), "{wrong}");
    let without = json!({ "model": "m", "messages": messages });
    assert!(
        Shape::Anthropic.ask("/v1/messages", "", &versioned, &without).unwrap_err().contains("max_tokens")
    );

    let body = json!({ "model": "m", "messages": messages, "stream": true, "stream_options": { "include_usage": true } });
    for (shape, path) in [
        (Shape::DeepSeek, "/chat/completions"),
        (Shape::DeepSeek, "/v1/chat/completions"),
        (Shape::OpenRouter, "/api/v1/chat/completions"),
    ] {
        assert_eq!(shape.ask(path, "", &none, &body).unwrap().unwrap(), expected(true, true, None));
    }
    assert_eq!(Shape::OpenRouter.ask("/chat/completions", "", &none, &body), Ok(None));

    let contents = json!({
        "contents": [
            { "role": "user", "parts": [{ "text": "one" }] }, { "role": "model", "parts": [{ "text": "two" }] },
            { "parts": [{ "text": "And why three?" }] },
        ],
        "generationConfig": { "maxOutputTokens": 4 },
    });
    let path = "/v1beta/models/m:streamGenerateContent";
    let ask = Shape::Gemini.ask(path, "alt=sse", &none, &contents).unwrap().unwrap();
    assert_eq!(ask, expected(true, true, Some(4)));
    assert!(Shape::Gemini.ask(path, "", &none, &contents).unwrap_err().contains("alt=sse"));
    let ask = Shape::Gemini.ask("/v1beta/models/m:generateContent", "", &none, &contents).unwrap().unwrap();
    assert_eq!(ask, expected(false, true, Some(4)));
    assert_eq!(Shape::Gemini.ask("/v1beta/models/m:embed", "", &none, &contents), Ok(None));
}

#[test]
fn streams_end_with_what_makes_them_whole() {
    let end = |shape: Shape| {
        let last = shape.token(&reply(End::Length), " B", true);
        last + &shape.closing(&reply(End::Length)).concat()
    };
    let text = end(Shape::Anthropic);
    assert!(text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{text}");
    let delta = &data(&text)[2];
    assert_eq!(
        (&delta["delta"]["stop_reason"], &delta["usage"]["output_tokens"]),
        (&json!("max_tokens"), &json!(2))
    );

    let last = &data(&end(Shape::Gemini))[0];
    assert_eq!(last["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!(last["usageMetadata"]["totalTokenCount"], 5);
    assert!(
        data(&Shape::Gemini.token(&reply(End::Whole), "x", false))[0]["candidates"][0]["finishReason"]
            .is_null()
    );

    for shape in [Shape::DeepSeek, Shape::OpenRouter] {
        let text = end(shape);
        assert!(text.ends_with("\n\ndata: [DONE]\n\n"), "{text}");
        let events = data(&text);
        assert_eq!(events[0]["choices"][0]["delta"]["content"], " B");
        assert_eq!(events[1]["choices"][0]["finish_reason"], "length");
        assert_eq!(events[2]["usage"]["completion_tokens"], 2);
    }
    let without = Reply { usage: false, ..reply(End::Whole) };
    assert_eq!(data(&Shape::DeepSeek.closing(&without).concat()).len(), 1, "usage is told on demand");
}

#[test]
fn errors_have_the_status_and_the_body_of_each_vendor() {
    let of = |failure| ALL.map(|shape| shape.error(Wrong::Failed(failure)).0.as_u16());
    assert_eq!(of(Failure::Overloaded), [529, 503, 503, 503]);
    assert_eq!(of(Failure::RateLimited), [429; 4]);
    assert_eq!(of(Failure::Internal), [500; 4]);
    assert_eq!(of(Failure::Unauthorized), [401; 4]);
    let kind = |shape: Shape| shape.error(Wrong::Failed(Failure::RateLimited)).1;
    assert_eq!(kind(Shape::Anthropic)["error"]["type"], "rate_limit_error");
    assert_eq!(kind(Shape::Gemini)["error"]["details"][0]["retryDelay"], "1s");
    assert_eq!(kind(Shape::DeepSeek)["error"]["type"], "rate_limit_reached");
    assert_eq!(kind(Shape::OpenRouter)["error"]["code"], 429);
    let within = Shape::OpenRouter.error_event(&reply(End::Whole));
    let event = &data(&within)[0];
    assert_eq!(
        (&event["choices"][0]["finish_reason"], &event["error"]["code"]),
        (&json!("error"), &json!(503))
    );
}

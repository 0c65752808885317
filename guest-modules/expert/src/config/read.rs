//! From JSON to [`Config`], with all problems at once.

use core::time::Duration;

use expert_apis::{APIS, Api};
use guest_config::{Keys, Problems, feed, is_token, join, micros, think, whole};
use resilience::{backoff, breaker, budget};
use serde_json::{Map, Value};

use super::circle::circle;
use super::{Config, Conversation, Expert, Size, Slo};

/// Experts of a scenario at most.
const MAX_EXPERTS: usize = 100;
/// Retries of one request at most.
const MAX_RETRIES: u32 = 20;
/// Bytes of a prompt at most.
const MAX_PROMPT: u32 = 1 << 20;
/// Bytes of a conversation that are kept at most.
const MAX_HISTORY: u32 = 2048;

/// One query, all attempts and pauses included.
const TIMEOUT_US: u32 = 30_000_000;
const ATTEMPT_TIMEOUT_US: u32 = 10_000_000;
const MAX_TOKENS: u32 = 256;
const HISTORY: u32 = 1024;

/// Reads a scenario's configuration. What cannot be read is named in `problems` and left out.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Config> {
    let table = whole(text, "write config.experts = [{ … }] and config.prompt = \"…\"", problems)?;
    let mut keys = Keys::new("", &table);
    let usual = Usual {
        stream: keys.flag("stream", problems).unwrap_or(false),
        max_tokens: at_least_one(&mut keys, "max-tokens", 1 << 20, problems).unwrap_or(MAX_TOKENS),
        options: keys.table("options", problems),
    };
    let prompt = keys.text("prompt", problems).map(str::to_owned);
    if keys.get("prompt").is_none() {
        problems.add("prompt", "there is no prompt", "write prompt = \"What is {question}?\"");
    }
    let (feed, feed_order) = feed(&mut keys, problems);
    let timeout_us = micros(&mut keys, "timeout", problems).unwrap_or(TIMEOUT_US);
    let attempt_timeout_us = micros(&mut keys, "attempt-timeout", problems).unwrap_or(ATTEMPT_TIMEOUT_US);
    let experts = experts(&mut keys, &usual, problems);
    let circle = keys.table("circle", problems).map(|table| circle(table, experts.len(), problems));
    let verify = keys.word("verify", &[("full", true), ("status", false)], problems);
    let config = Config {
        prompt: prompt.unwrap_or_default(),
        system: keys.text("system", problems).map(str::to_owned),
        feed,
        feed_order,
        size: size(&mut keys, problems),
        expect: keys.text("expect", problems).map(str::to_owned),
        timeout_us,
        attempt_timeout_us: attempt_timeout_us.min(timeout_us),
        backoff: backoff(&mut keys, problems),
        budget: budget(&mut keys, problems),
        breaker: breaker(&mut keys, circle.is_some(), problems),
        slo: keys.table("slo", problems).map(|table| slo(table, problems)),
        verifies: verify.unwrap_or(true),
        conversation: keys.table("conversation", problems).map(|table| conversation(table, problems)),
        think_us: think(&mut keys, problems),
        experts,
        circle,
    };
    if config.circle.is_some() && config.conversation.is_some() {
        problems.add(
            "conversation",
            "a circle answers single queries: its experts do not know what the others said",
            "remove `conversation` or `circle`",
        );
    }
    if !config.verifies {
        unread(&config, problems);
    }
    let streams = config.experts.iter().any(|expert| expert.stream);
    if config.slo.is_some_and(Slo::is_of_streams) && !streams && !config.experts.is_empty() {
        problems.add(
            "slo",
            "without streams there are no first token and no times between tokens",
            "write stream = true, or name e2e alone",
        );
    }
    keys.finish(problems);
    Some(config)
}

/// Names what cannot be without reading answers.
fn unread(config: &Config, problems: &mut Problems) {
    let wants = [
        ("circle", config.circle.is_some(), "votes are what answers say"),
        ("conversation", config.conversation.is_some(), "a conversation goes on with what answers say"),
        ("expect", config.expect.is_some(), "the right answer is looked for in what answers say"),
        ("slo", config.slo.is_some_and(Slo::is_of_streams), "ttft and tpot are times of what answers say"),
    ];
    for (key, _, why) in wants.into_iter().filter(|(_, wanted, _)| *wanted) {
        problems.add(key, format!("{why}, and verify = \"status\" reads none"), "remove `verify`");
    }
}

/// What experts have unless they say otherwise.
struct Usual<'a> {
    stream: bool,
    max_tokens: u32,
    options: Option<&'a Map<String, Value>>,
}

fn experts(keys: &mut Keys<'_>, usual: &Usual<'_>, problems: &mut Problems) -> Vec<Expert> {
    const MEND: &str =
        "write experts = [{ name = \"claude\", api = \"anthropic\", model = \"…\", key = \"…\" }]";
    let list = match keys.get("experts") {
        Some(Value::Array(list)) if (1..=MAX_EXPERTS).contains(&list.len()) => list.as_slice(),
        Some(Value::Array(list)) => {
            let found = list.len();
            problems.add("experts", format!("expected 1 to {MAX_EXPERTS} experts, found {found}"), MEND);
            return Vec::new();
        }
        Some(other) => {
            problems.kind("experts", "a list of experts", other, MEND);
            return Vec::new();
        }
        None => {
            problems.add("experts", "there are no experts", MEND);
            return Vec::new();
        }
    };
    let mut experts: Vec<Expert> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = format!("experts[{index}]");
        let Some(table) = value.as_object() else {
            problems.kind(&path, "an expert", value, MEND);
            continue;
        };
        let Some(expert) = expert(index, &path, table, usual, problems) else { continue };
        if let Some(first) = experts.iter().find(|other| other.name == expert.name) {
            problems.add(
                &join(&path, "name"),
                format!("expert {} is named \"{}\", too", first.index, expert.name),
                "give each expert a name of its own",
            );
        }
        experts.push(expert);
    }
    if !experts.is_empty() && experts.iter().all(|expert| expert.weight == 0) {
        problems.add("experts[0].weight", "all weights are 0", "give at least one expert a weight above 0");
    }
    experts
}

fn expert(
    index: usize,
    path: &str,
    table: &Map<String, Value>,
    usual: &Usual<'_>,
    problems: &mut Problems,
) -> Option<Expert> {
    let mut keys = Keys::new(path, table);
    let api = keys.word("api", &APIS, problems);
    if keys.get("api").is_none() {
        problems.add(&keys.at("api"), "the expert has no API", "write api = \"anthropic\"");
    }
    let name = keys.text("name", problems).map_or_else(|| format!("expert {index}"), str::to_owned);
    if name.is_empty() || name.len() > 60 {
        problems.add(&keys.at("name"), "a name has 1 to 60 bytes", "write name = \"claude\"");
    }
    let model = needed(&mut keys, "model", "write model = \"…\", as the API names it", problems);
    if api == Some(Api::Gemini) && !is_path_part(&model) {
        let found = format!("\"{model}\" cannot stand in a path, where Gemini has the model");
        problems.add(&keys.at("model"), found, "use letters, digits, dots and hyphens");
    }
    let key = needed(
        &mut keys,
        "key",
        "write key = \"…\", or key = \"{column}\" to take it from the feed",
        problems,
    );
    if key.chars().any(|c| c.is_control() || c == ' ' || !c.is_ascii()) {
        problems.add(
            &keys.at("key"),
            "the key has a blank or a character that no header may have",
            "check the key",
        );
    }
    let path_key = keys.text("path", problems);
    if path_key.is_some_and(|path| !path.starts_with('/') || path.bytes().any(|b| !(0x21..0x7f).contains(&b)))
    {
        problems.add(
            &keys.at("path"),
            "a path begins with a slash and has no blanks",
            "write the path only, the host is the target's",
        );
    }
    let options = options(&mut keys, api, usual.options, problems);
    let expert = Expert {
        index,
        name,
        api: api.unwrap_or(Api::Anthropic),
        model,
        key,
        weight: thousandths(&mut keys, "weight", problems).unwrap_or(1000),
        target: keys.whole("target", 999, problems).unwrap_or(0),
        path: path_key.map(str::to_owned),
        max_tokens: at_least_one(&mut keys, "max-tokens", 1 << 20, problems).unwrap_or(usual.max_tokens),
        stream: keys.flag("stream", problems).unwrap_or(usual.stream),
        options,
    };
    keys.finish(problems);
    api.map(|_| expert)
}

/// Members of the body beside the guest's own: those of all experts, and the expert's.
fn options(
    keys: &mut Keys<'_>,
    api: Option<Api>,
    usual: Option<&Map<String, Value>>,
    problems: &mut Problems,
) -> Map<String, Value> {
    let mut all = usual.cloned().unwrap_or_default();
    all.extend(keys.table("options", problems).cloned().unwrap_or_default());
    for member in api.map_or(&[][..], Api::own_members) {
        if all.remove(*member).is_some() {
            problems.add(
                &keys.at("options"),
                format!("the guest writes `{member}` itself"),
                "remove it; model, max-tokens, system and stream are keys of their own",
            );
        }
    }
    let generation = all.get("generationConfig");
    if let Some(value) = generation.filter(|value| api == Some(Api::Gemini) && !value.is_object()) {
        problems.kind(&keys.at("options.generationConfig"), "a table", value, "write { temperature = 0 }");
    }
    all
}

fn needed(keys: &mut Keys<'_>, key: &'static str, mend: &str, problems: &mut Problems) -> String {
    let text = keys.text(key, problems);
    if keys.get(key).is_none() || text == Some("") {
        problems.add(&keys.at(key), format!("the expert has no {key}"), mend);
    }
    text.unwrap_or_default().to_owned()
}

fn is_path_part(text: &str) -> bool {
    is_token(text) && !text.contains(['%', '#'])
}

fn at_least_one(keys: &mut Keys<'_>, key: &'static str, max: u32, problems: &mut Problems) -> Option<u32> {
    let number = keys.whole(key, max, problems)?;
    if number == 0 {
        problems.add(&keys.at(key), "0 is too few", format!("write {key} = 1, or more"));
    }
    Some(number.max(1))
}

/// A number with up to three decimals, as thousandths.
fn thousandths(keys: &mut Keys<'_>, key: &'static str, problems: &mut Problems) -> Option<u32> {
    let value = keys.get(key)?;
    let number = value.as_f64().map(|number| number * 1e3).filter(|number| (0.0..=1e9).contains(number));
    // Votes are counted in whole numbers, so that no order of adding changes a sum.
    let whole = number.filter(|number| (number - number.round()).abs() < 1e-6);
    if whole.is_none() {
        let expected = "a number from 0 to 1000000 with three decimals at most";
        problems.kind(&keys.at(key), expected, value, &format!("write {key} = 1.5, for example"));
    }
    // Within 32 bits by the bound.
    whole.map(|number| number.round() as u32)
}

/// 2000, or { min = 100, max = 4000 }, or { median = 800, sigma = 1.2, max = 20000 }.
fn size(keys: &mut Keys<'_>, problems: &mut Problems) -> Size {
    let table = match keys.get("size") {
        None => return Size::Text,
        Some(Value::Object(table)) => table,
        Some(_) => {
            let fixed = keys.whole("size", MAX_PROMPT, problems).unwrap_or(0);
            return Size::Even { min: fixed, max: fixed };
        }
    };
    let mut keys = Keys::new("size", table);
    let min = keys.whole("min", MAX_PROMPT, problems);
    let max = keys.whole("max", MAX_PROMPT, problems);
    let median = at_least_one(&mut keys, "median", MAX_PROMPT, problems);
    let sigma = keys.get("sigma").map(|value| {
        let sigma = value.as_f64().filter(|sigma| (0.0..=5.0).contains(sigma));
        if sigma.is_none() {
            problems.kind("size.sigma", "a number from 0 to 5", value, "write sigma = 1.2, for example");
        }
        sigma.unwrap_or(0.0)
    });
    keys.finish(problems);
    match (min, max, median, sigma) {
        (min, Some(max), None, None) if min.unwrap_or(0) <= max => Size::Even { min: min.unwrap_or(0), max },
        (None, max, Some(median), sigma) => Size::LogNormal {
            median: f64::from(median),
            sigma: sigma.unwrap_or(1.0),
            max: max.unwrap_or(MAX_PROMPT),
        },
        _ => {
            problems.add(
                "size",
                "the keys do not make a distribution",
                "write 2000, { min = 100, max = 4000 } or { median = 800, sigma = 1.2, max = 20000 }",
            );
            Size::Text
        }
    }
}

fn backoff(keys: &mut Keys<'_>, problems: &mut Problems) -> backoff::Settings {
    let usual = backoff::Settings::default();
    let span = |us: Option<u32>, usual: Duration| us.map_or(usual, |us| Duration::from_micros(us.into()));
    backoff::Settings {
        base: span(micros(keys, "backoff", problems), usual.base),
        cap: span(micros(keys, "max-backoff", problems), usual.cap),
        retries: keys.whole("retries", MAX_RETRIES, problems).unwrap_or(usual.retries),
        jitter: backoff::Jitter::Full,
    }
}

/// false, or { percent = 10, reserve = 10 }.
fn budget(keys: &mut Keys<'_>, problems: &mut Problems) -> Option<budget::Settings> {
    let mut settings = budget::Settings::default();
    match keys.get("retry-budget") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return None,
        Some(Value::Object(table)) => {
            let mut keys = Keys::new("retry-budget", table);
            settings.percent = keys.whole("percent", 2000, problems).unwrap_or(settings.percent);
            settings.reserve = keys.whole("reserve", 1_000_000, problems).unwrap_or(settings.reserve);
            keys.finish(problems);
        }
        Some(other) => {
            problems.kind("retry-budget", "false or a table", other, "write { percent = 10, reserve = 10 }");
        }
    }
    Some(settings)
}

/// true, false, or { failures = 5, open = "30s", probes = 3 }.
fn breaker(keys: &mut Keys<'_>, usually: bool, problems: &mut Problems) -> Option<breaker::Settings> {
    let mut settings = breaker::Settings::default();
    match keys.get("breaker") {
        None => return usually.then_some(settings),
        Some(Value::Bool(wanted)) => return wanted.then_some(settings),
        Some(Value::Object(table)) => {
            let mut keys = Keys::new("breaker", table);
            let failures = at_least_one(&mut keys, "failures", 1_000_000, problems);
            settings.failures = failures.unwrap_or(settings.failures);
            if let Some(us) = micros(&mut keys, "open", problems) {
                settings.open_for = Duration::from_micros(us.into());
            }
            settings.probes = at_least_one(&mut keys, "probes", 1_000, problems).unwrap_or(settings.probes);
            keys.finish(problems);
        }
        Some(other) => {
            let mend = "write { failures = 5, open = \"30s\", probes = 3 }";
            problems.kind("breaker", "true, false or a table", other, mend);
        }
    }
    Some(settings)
}

fn slo(table: &Map<String, Value>, problems: &mut Problems) -> Slo {
    let mut keys = Keys::new("slo", table);
    let slo = Slo {
        ttft_us: micros(&mut keys, "ttft", problems).unwrap_or(0),
        tpot_us: micros(&mut keys, "tpot", problems).unwrap_or(0),
        e2e_us: micros(&mut keys, "e2e", problems).unwrap_or(0),
    };
    if table.is_empty() {
        problems.add("slo", "no objective is named", "write slo = { ttft = \"500ms\", tpot = \"50ms\" }");
    }
    keys.finish(problems);
    slo
}

fn conversation(table: &Map<String, Value>, problems: &mut Problems) -> Conversation {
    let mut keys = Keys::new("conversation", table);
    let turns = at_least_one(&mut keys, "turns", 1_000, problems);
    if keys.get("turns").is_none() {
        problems.add("conversation.turns", "how long is a conversation?", "write turns = 5");
    }
    let history = keys.whole("history", MAX_HISTORY, problems).unwrap_or(HISTORY);
    keys.finish(problems);
    Conversation { turns: turns.unwrap_or(1), history: history as usize }
}

//! Who is in a circle: what the experts' own lists say, or what the caller does.

use axum::http::Uri;
use expert_apis::Api;
use serde::Deserialize;

/// The largest weight of a vote.
const MAX_WEIGHT: f64 = 1e6;

/// An expert to ask.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Whose API it speaks.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where it takes questions: `http://HOST:PORT/PATH`, the API's own path included.
    pub url: String,
    /// Weight of its vote, from 0 to 1 000 000; three decimals count.
    #[serde(default = "one")]
    pub weight: f64,
    /// The model, as the API names it. (Gemini's stands in the path.)
    #[serde(default = "placeholder")]
    pub model: String,
    /// The API key.
    #[serde(default = "placeholder")]
    pub key: String,
}

/// A type of expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Anthropic's Messages.
    ClaudeExpert,
    /// Google's generateContent.
    GeminiExpert,
    /// DeepSeek's chat completions.
    DeepseekExpert,
    /// OpenRouter's chat completions.
    OpenrouterExpert,
}

impl Kind {
    /// Whose API it speaks.
    #[must_use]
    pub const fn api(self) -> Api {
        match self {
            Self::ClaudeExpert => Api::Anthropic,
            Self::GeminiExpert => Api::Gemini,
            Self::DeepseekExpert => Api::DeepSeek,
            Self::OpenrouterExpert => Api::OpenRouter,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeExpert => "claude_expert",
            Self::GeminiExpert => "gemini_expert",
            Self::DeepseekExpert => "deepseek_expert",
            Self::OpenrouterExpert => "openrouter_expert",
        }
    }
}

fn one() -> f64 {
    1.0
}

fn placeholder() -> String {
    "expert".to_owned()
}

impl Member {
    /// What is wrong with these values; empty = nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(problem) = http(&self.url) {
            problems.push(problem);
        }
        if !(0.0..=MAX_WEIGHT).contains(&self.weight) {
            problems.push(format!("weight: {} is not between 0 and {MAX_WEIGHT}", self.weight));
        }
        if self.key.is_empty() || !self.key.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.push("key: expected visible ASCII characters without blanks".to_owned());
        }
        problems
    }

    /// Its weight in thousandths.
    #[must_use]
    pub fn thousandths(&self) -> u32 {
        // Within 32 bits by the bound; the cast saturates.
        (self.weight * 1e3).round() as u32
    }

    /// Whether the same expert is meant, whatever its vote is worth.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let Self { kind, url, weight: _, model, key } = self;
        (*kind, url, model, key) == (other.kind, &other.url, &other.model, &other.key)
    }
}

/// A URL that this client can reach.
///
/// # Errors
/// What is wrong with it.
pub fn http(url: &str) -> Result<Uri, String> {
    let uri: Option<Uri> = url.parse().ok();
    uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| format!("url: {url:?} is not http://HOST:PORT/PATH (TLS is not spoken to experts)"))
}

/// What `GET /experts` answers: of each expert what is needed to ask it.
#[derive(Debug, Deserialize)]
struct List {
    experts: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: Kind,
    weight: f64,
    path: String,
}

/// The members that a process of experts lists at `base`, all asked with one key.
///
/// # Errors
/// When it is no such list.
pub(crate) fn listed(base: &str, key: Option<&str>, list: &[u8]) -> Result<Vec<Member>, String> {
    let list: List = serde_json::from_slice(list).map_err(|error| format!("no list of experts: {error}"))?;
    let members = list.experts.into_iter().map(|Listed { kind, weight, path }| {
        let url = format!("{}{path}", base.trim_end_matches('/'));
        Member { kind, url, weight, model: placeholder(), key: key.map_or_else(placeholder, str::to_owned) }
    });
    let members: Vec<_> = members.collect();
    for member in &members {
        if let Some(problem) = member.problems().first() {
            return Err(format!("{}: {problem}", member.url));
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_sensible_defaults_and_names_what_is_wrong() {
        let member: Member =
            serde_json::from_str(r#"{"type":"gemini_expert","url":"http://h:1/x"}"#).unwrap();
        assert_eq!(
            (member.kind.api(), member.thousandths(), member.problems().len()),
            (Api::Gemini, 1000, 0)
        );
        let wrong = Member { url: "https://h/x".into(), weight: -1.0, key: "a b".into(), ..member };
        let problems = wrong.problems().join("\n");
        for place in ["url: \"https://h/x\"", "weight: -1", "key: "] {
            assert!(problems.contains(place), "{place} in\n{problems}");
        }
        for url in ["http://", "h:1/x", "/x", "http:///x", "http://h h"] {
            assert!(http(url).is_err(), "{url}");
        }
    }

    #[test]
    fn lists_are_those_of_the_experts() {
        let list = br#"{"experts":[{"expert":0,"type":"claude_expert","weight":2.5,"path":"/experts/0/v1/messages"}]}"#;
        let members = listed("http://h:1/", Some("k"), list).unwrap();
        assert_eq!(
            (members[0].url.as_str(), members[0].thousandths()),
            ("http://h:1/experts/0/v1/messages", 2500)
        );
        assert!(listed("http://h:1", None, b"[]").is_err());
        assert!(listed("h:1", None, list).unwrap_err().contains("is not http://"));
    }
}

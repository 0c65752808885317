//! Streamable HTTP without sessions, 2026-07-28: each request says its revision, its method and what it is about.

use gauntlet_sdk::{Headers, Part};
use guest_config::decimal;

use super::{Answer, CLIENT};
use crate::failure::{Failure, Failures};
use crate::message;
use crate::revision::Revision;

/// Headers of every POST: what the body says, for whoever does not read it.
pub(crate) fn headers(method: &str, name: &[u8]) -> Headers {
    let headers = super::post_headers()
        .with("mcp-protocol-version", Revision::V2026_07_28.name())
        .with("mcp-method", method);
    if name.is_empty() { headers } else { headers.with("mcp-name", name) }
}

/// What `_meta` of every request says, without its end: the same for all requests of a scenario.
pub(crate) fn about_us(capabilities: &str) -> String {
    format!(
        r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{}","io.modelcontextprotocol/clientInfo":{CLIENT},"io.modelcontextprotocol/clientCapabilities":{capabilities}"#,
        Revision::V2026_07_28.name()
    )
}

/// Appends `_meta`, and ends the request.
pub(crate) fn meta_and_end(body: &mut Part<'_>, about_us: &str, token: Option<u32>) {
    body.push(about_us.as_bytes());
    if let Some(token) = token {
        body.push(br#","progressToken":"#);
        decimal(body, token.into());
    }
    body.push(b"}}}");
}

/// Judges the status of an answer to a request.
pub(crate) fn judge(status: u32, failures: &mut Failures) -> Answer {
    match status {
        // With the latter two comes a response that says what was wrong: its code is the class.
        200 | 400 | 404 => Answer::Response,
        _ => {
            failures.add(Failure::Status);
            Answer::None(false)
        }
    }
}

/// Whether an error's code shows that a server is of this era.
pub(crate) const fn shows_era(code: i64) -> bool {
    matches!(code, message::HEADER_MISMATCH | message::CAPABILITY_MISSING | message::VERSION_UNSUPPORTED)
}

/// Whether an HTTP status goes with what the body says.
pub(crate) const fn goes_with(status: u32, code: i64) -> bool {
    match code {
        0 => status == 200,
        message::METHOD_NOT_FOUND => status == 404,
        code if shows_era(code) => status == 400,
        _ => matches!(status, 200 | 400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_go_with_codes() {
        for (status, code, good) in [
            (200, 0, true),
            (400, 0, false),
            (404, -32_601, true),
            (200, -32_601, false),
            (400, -32_020, true),
            (200, -32_022, false),
            (400, -32_602, true),
            (200, -32_603, true),
        ] {
            assert_eq!(goes_with(status, code), good, "{status} {code}");
        }
    }
}

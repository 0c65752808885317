//! HTTP with server-sent events, 2024-11-05: one stream carries all answers, and says first where messages go.

use super::Answer;
use crate::failure::{Failure, Failures};

/// The longest address that is kept.
const LONGEST: usize = 1_024;

/// Path and query of the address that the stream names; it may be relative to the stream's own. `None` when it is of
/// another server, as far as a guest can tell, which never knows a host: an absolute one is taken by its path.
pub(crate) fn address(named: &[u8], own: &str) -> Option<Vec<u8>> {
    let named = std::str::from_utf8(named).ok()?.trim();
    let path = match named.split_once("://") {
        Some(("http" | "https", rest)) => {
            let path = &rest[rest.find(['/', '?']).unwrap_or(rest.len())..];
            if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
        }
        Some(_) => return None,
        // Another host without a scheme.
        None if named.starts_with("//") => return None,
        None if named.starts_with('/') => named.to_owned(),
        None => {
            let folder = own.split('?').next().unwrap_or(own);
            let folder = &folder[..folder.rfind('/').map_or(0, |at| at + 1)];
            format!("{folder}{named}")
        }
    };
    let path = path.split('#').next().unwrap_or_default().as_bytes();
    let is_sendable =
        path.len() <= LONGEST && path.len() > 1 && path.iter().all(|byte| matches!(byte, 0x21..=0x7e));
    is_sendable.then(|| path.to_vec())
}

/// Judges the status of an answer to a POST: the response comes on the stream.
pub(crate) fn judge(status: u32, failures: &mut Failures) -> Answer {
    if (200..300).contains(&status) {
        return Answer::Response;
    }
    failures.add(Failure::Status);
    Answer::None(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_relative_and_never_of_another_scheme() {
        for (named, own, expected) in [
            ("/message?sessionId=1", "/sse", Some("/message?sessionId=1")),
            ("message?x=1", "/a/sse?y=2", Some("/a/message?x=1")),
            ("http://127.0.0.1:80/m?s=1#f", "/sse", Some("/m?s=1")),
            ("https://h?s=1", "/sse", Some("/?s=1")),
            ("//evil.example/m", "/sse", None),
            ("file:///etc/passwd", "/sse", None),
            ("/a b", "/sse", None),
            ("", "/", None),
        ] {
            let found = address(named.as_bytes(), own);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{named}");
        }
        assert_eq!(address(&[0xff], "/"), None);
    }
}

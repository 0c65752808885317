//! Streamable HTTP with sessions, 2025-03-26 to 2025-11-25: a POST each, answered with JSON or a stream of its own.

use gauntlet_sdk::Draft;

use super::Answer;
use crate::failure::{Failure, Failures};
use crate::revision::Revision;
use crate::user::Session;

/// The longest id of a session that is kept.
const LONGEST_ID: usize = 512;

/// What every request after the first says of its session.
pub(crate) fn session_headers<'o>(mut draft: Draft<'o>, revision: Revision, session: &Session) -> Draft<'o> {
    if !session.id.is_empty() {
        draft = draft.header("mcp-session-id", &session.id);
    }
    // The first request agrees on it in its body.
    if session.revision.is_some() && revision.rules().version_header {
        draft = draft.header("mcp-protocol-version", revision.name());
    }
    draft
}

/// Whether a session's id may be sent back.
pub(crate) fn is_id(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && id.iter().all(|byte| matches!(byte, 0x21..=0x7e))
}

/// Judges the status of an answer to a request.
pub(crate) fn judge(status: u32, session: &Session, failures: &mut Failures) -> Answer {
    match status {
        200 => Answer::Response,
        404 if !session.id.is_empty() => {
            failures.add(Failure::SessionExpired);
            Answer::None(true)
        }
        _ => {
            failures.add(Failure::Status);
            // Real servers answer 400 when they do not know a session: it is opened anew either way.
            Answer::None(status == 400)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_visible_ascii() {
        for (id, good) in [("a-1", true), ("", false), ("a b", false), ("ä", false), ("a\u{7f}", false)] {
            assert_eq!(is_id(id.as_bytes()), good, "{id}");
        }
        assert!(!is_id(&[b'a'; LONGEST_ID + 1]));
    }

    #[test]
    fn a_404_ends_a_session_that_there_was() {
        let judged = |status, id: &str| {
            let mut failures = Failures::default();
            let session = Session { id: id.into(), ..Session::default() };
            (judge(status, &session, &mut failures), failures.each().next())
        };
        assert_eq!(judged(200, "a"), (Answer::Response, None));
        assert_eq!(judged(404, "a"), (Answer::None(true), Some(Failure::SessionExpired)));
        assert_eq!(judged(404, ""), (Answer::None(false), Some(Failure::Status)));
        assert_eq!(judged(400, "a"), (Answer::None(true), Some(Failure::Status)));
        assert_eq!(judged(202, "a"), (Answer::None(false), Some(Failure::Status)));
        assert_eq!(judged(500, "a"), (Answer::None(false), Some(Failure::Status)));
    }
}

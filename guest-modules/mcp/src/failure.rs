//! What can be wrong with an answer: each is a check of its own in the report.

use gauntlet_sdk::Setup;

/// One class of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Status,
    ContentType,
    CorruptFrame,
    TooLarge,
    NotJsonRpc,
    IdMismatch,
    RepeatedResponse,
    MissingResponse,
    SilentStream,
    Unauthorized,
    Challenge,
    Forbidden,
    SessionExpired,
    SessionId,
    VersionUnsupported,
    VersionUnknown,
    HeaderMismatch,
    CapabilityMissing,
    ProtocolError,
    ToolError,
    ToolUnknown,
    UnexpectedSuccess,
    ResultShape,
    ResultType,
    CacheFields,
    Notification,
    ProgressToken,
    ProgressOrder,
    ProgressLate,
    Cursor,
    ServerRequest,
    Endpoint,
    Acknowledgement,
    InputRounds,
    Arguments,
    HeaderMarks,
    Batch,
}

/// The classes, in the order of their bits, with the names of their checks.
const NAMES: [(Failure, &str); 37] = [
    (Failure::Status, "status: the HTTP status is one that the revision allows here"),
    (Failure::ContentType, "content-type: an answer is JSON or an event stream"),
    (Failure::CorruptFrame, "corrupt-frame: a message is JSON"),
    (Failure::TooLarge, "too-large: a message is small enough to be verified"),
    (Failure::NotJsonRpc, "json-rpc: a message is JSON-RPC 2.0 with one of result and error"),
    (Failure::IdMismatch, "id-mismatch: a response has the id of a request that waits"),
    (Failure::RepeatedResponse, "repeated-response: a request has one response"),
    (Failure::MissingResponse, "missing-response: an answer ends with the response"),
    (Failure::SilentStream, "silent-stream: a stream that began brings the response in time"),
    (Failure::Unauthorized, "401: the server takes the credentials"),
    (Failure::Challenge, "challenge: a 401 has WWW-Authenticate"),
    (Failure::Forbidden, "403: the server allows the request"),
    (Failure::SessionExpired, "session-expired: the server knows the session"),
    (Failure::SessionId, "session-id: a session's id is visible ASCII"),
    (Failure::VersionUnsupported, "version-unsupported: the server speaks the revision asked for"),
    (Failure::VersionUnknown, "version-unknown: the server answers with a published revision"),
    (Failure::HeaderMismatch, "header-mismatch: the server finds headers and body alike"),
    (Failure::CapabilityMissing, "capability-missing: the server needs no capability that was not declared"),
    (Failure::ProtocolError, "protocol-error: the response is a result"),
    (Failure::ToolError, "tool-error: the tool succeeds"),
    (Failure::ToolUnknown, "tool-unknown: the server knows the tool"),
    (Failure::UnexpectedSuccess, "unexpected-success: a call that is to fail does"),
    (Failure::ResultShape, "result-shape: a result has the fields of its method"),
    (Failure::ResultType, "result-type: a result has a resultType that is known"),
    (Failure::CacheFields, "cache-fields: a result that may be kept says how long and for whom"),
    (Failure::Notification, "notification: a notification is answered with 202 and no body"),
    (Failure::ProgressToken, "progress-token: progress has the token that was given"),
    (Failure::ProgressOrder, "progress-order: progress increases"),
    (Failure::ProgressLate, "progress-late: no progress after the response"),
    (Failure::Cursor, "cursor: a list's pages come to an end"),
    (Failure::ServerRequest, "server-request: the server asks only what it may"),
    (Failure::Endpoint, "endpoint: the stream names an address of the same server for messages"),
    (
        Failure::Acknowledgement,
        "acknowledgement: a subscription begins with its acknowledgement and bears its id",
    ),
    (Failure::InputRounds, "input-rounds: a call that asks for input comes to an end"),
    (Failure::Arguments, "arguments: arguments can be generated from the tool's schema"),
    (Failure::HeaderMarks, "header-marks: a tool's x-mcp-header marks are valid"),
    (Failure::Batch, "batch: an array of messages comes only where the revision has them"),
];

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures(u64);

impl Failures {
    pub(crate) fn add(&mut self, failure: Failure) {
        self.0 |= 1 << failure as u32;
    }

    pub(crate) fn remove(&mut self, failure: Failure) {
        self.0 &= !(1 << failure as u32);
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn has(self, failure: Failure) -> bool {
        self.0 & 1 << failure as u32 != 0
    }

    pub(crate) fn each(self) -> impl Iterator<Item = Failure> {
        // Nearly always there is none.
        let all = if self.is_empty() { &[][..] } else { &NAMES[..] };
        all.iter().map(|(failure, _)| *failure).filter(move |failure| self.has(*failure))
    }
}

/// Indexes of the checks in the setup.
#[derive(Debug)]
pub(crate) struct Checks {
    /// Everything about an exchange was as it should be.
    pub(crate) valid: u32,
    first: u32,
}

impl Checks {
    pub(crate) fn new(setup: &mut Setup) -> Self {
        let valid = setup.check("valid: an exchange is as its revision says");
        let mut first = valid;
        for (index, (_, name)) in NAMES.iter().enumerate() {
            let check = setup.check(name);
            first = if index == 0 { check } else { first };
        }
        Self { valid, first }
    }

    pub(crate) const fn of(&self, failure: Failure) -> u32 {
        self.first + failure as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_bits() {
        for (index, (failure, name)) in NAMES.iter().enumerate() {
            assert_eq!(*failure as usize, index, "{name}");
            assert!(name.contains(": "), "{name}");
        }
        let mut setup = Setup::default();
        let checks = Checks::new(&mut setup);
        assert_eq!(setup.checks.len(), NAMES.len() + 1, "each name is its own");
        assert!(setup.checks[checks.of(Failure::Batch) as usize].starts_with("batch"));
    }

    #[test]
    fn a_set_has_what_was_added() {
        let mut set = Failures::default();
        assert!(set.is_empty());
        set.add(Failure::Cursor);
        set.add(Failure::Status);
        assert_eq!(set.each().collect::<Vec<_>>(), [Failure::Status, Failure::Cursor]);
    }
}

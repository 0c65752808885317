//! What the guest is told of a request, and of how far its answer is.

use protocol::failure::FailureClass;
use sandbox::abi;

use super::request::{Outcome, Request, micros};
use crate::io::sse::Event;

/// The request is over.
pub(super) fn end(request: &Request, mut put: impl FnMut(&[u8]) -> abi::Slice) -> abi::Completion {
    let answered = request.outcome == Outcome::Answered;
    abi::Completion {
        status: if answered { u32::from(request.status) } else { 0 },
        failure: match request.outcome {
            Outcome::Failed(class) => failure(class),
            Outcome::Answered | Outcome::Cancelled => abi::Failure::None,
        },
        last_byte_us: if answered { us(request.last, request.sent).max(1) } else { 0 },
        head: put(if answered { &request.head } else { &[] }),
        body: put(if answered { &request.body } else { &[] }),
        ..reached(
            request,
            request.stream.as_ref().map_or((0, 0), |stream| (stream.events, stream.first_event)),
            match request.outcome {
                Outcome::Cancelled => abi::CompletionKind::Cancelled,
                Outcome::Answered | Outcome::Failed(_) => abi::CompletionKind::End,
            },
        )
    }
}

/// The head of a stream has come.
pub(super) fn head(request: &Request, mut put: impl FnMut(&[u8]) -> abi::Slice) -> abi::Completion {
    abi::Completion { head: put(&request.head), ..reached(request, (0, 0), abi::CompletionKind::Head) }
}

/// An event of a stream has come, with a read that returned at `at`. `so_far`: how many events have come, it included,
/// and when the first did. Its data are cut at `limit` bytes.
pub(super) fn event(
    request: &Request,
    so_far: (u32, u64),
    event: &Event<'_>,
    at: u64,
    limit: usize,
    arena: &mut Vec<u8>,
) -> abi::Completion {
    let begin = arena.len();
    let fields = [(&b"event: "[..], event.name), (b"id: ", event.id), (b"retry: ", event.retry)];
    for (field, value) in fields {
        if !value.is_empty() {
            for part in [field, value, b"\r\n"] {
                arena.extend_from_slice(part);
            }
        }
    }
    let len = u32::try_from(arena.len() - begin).unwrap_or(u32::MAX);
    abi::Completion {
        last_byte_us: us(at, request.sent).max(1),
        head: abi::Slice { off: u32::try_from(begin).unwrap_or(u32::MAX), len },
        body: super::scenario::put(arena, &event.data[..event.data.len().min(limit)]),
        ..reached(request, so_far, abi::CompletionKind::Event)
    }
}

/// What is known of an answer before its end.
fn reached(
    request: &Request,
    (events, first_event): (u32, u64),
    kind: abi::CompletionKind,
) -> abi::Completion {
    abi::Completion {
        status: u32::from(request.status),
        queue_us: us(request.ready, request.taken),
        first_byte_us: us(request.first, request.sent),
        first_event_us: if first_event == 0 { 0 } else { us(first_event, request.sent).max(1) },
        events,
        ..abi::Completion::note(kind, request.user, request.seq)
    }
}

/// From one time to a later one in microseconds; 0 when one of them has not come.
fn us(end: u64, begin: u64) -> u32 {
    let reached = end > 0 && begin > 0;
    if reached { u32::try_from(micros(end, begin)).unwrap_or(u32::MAX) } else { 0 }
}

const fn failure(class: FailureClass) -> abi::Failure {
    match class {
        FailureClass::Connect | FailureClass::Exhausted => abi::Failure::Connect,
        FailureClass::Tls => abi::Failure::Tls,
        FailureClass::Reset => abi::Failure::Reset,
        FailureClass::Timeout => abi::Failure::Timeout,
        FailureClass::Malformed => abi::Failure::Malformed,
        FailureClass::TooLarge => abi::Failure::TooLarge,
        FailureClass::Guest => abi::Failure::None,
    }
}

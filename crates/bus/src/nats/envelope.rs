//! Headers of our messages on NATS.

use async_nats::HeaderMap;
use store::RecordKey;

/// Milliseconds that the caller still waits.
pub(super) const DEADLINE: &str = "Gauntlet-Deadline-Ms";
/// Names a command, however often it is sent: its server does it once.
pub(super) const COMMAND: &str = "Gauntlet-Command";
/// The span that a command was sent in, by the name that W3C's Trace Context gives it.
pub(super) const TRACE: &str = "traceparent";
/// How a reply is meant: one of [`Kind`].
pub(super) const REPLY: &str = "Gauntlet-Reply";
/// `i/n`: part i of n, from 0.
pub(super) const PART: &str = "Gauntlet-Part";
/// The key of a record: producer, incarnation, sequence and part.
pub(super) const KEY: &str = "Gauntlet-Key";

/// What a reply means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Done; the body is the reply.
    Done,
    /// Not done; the body says why.
    Refused,
    /// The server that had it ended without an answer.
    Gone,
    /// The server's queue is full.
    Busy,
    /// The server ended before it took the request: another may have it.
    NotTaken,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Done, "done"),
    (Kind::Refused, "refused"),
    (Kind::Gone, "gone"),
    (Kind::Busy, "busy"),
    (Kind::NotTaken, "not-taken"),
];

impl Kind {
    pub(super) fn text(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, text)| text)
    }

    pub(super) fn read(headers: Option<&HeaderMap>) -> Option<Self> {
        let text = headers?.get(REPLY)?.as_str();
        KINDS.iter().find(|(_, known)| *known == text).map(|(kind, _)| *kind)
    }
}

/// A whole number in a header.
pub(super) fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

/// Part and number of parts; a reply without it is whole.
pub(super) fn part(headers: Option<&HeaderMap>) -> Option<(usize, usize)> {
    let Some(text) = headers.and_then(|headers| headers.get(PART)) else { return Some((0, 1)) };
    let (part, of) = text.as_str().split_once('/')?;
    let (part, of) = (part.parse().ok()?, of.parse().ok()?);
    (part < of).then_some((part, of))
}

/// A record's key as text: 32 + 32 hexadecimal digits, sequence, part.
pub(super) fn write_key(key: &RecordKey) -> String {
    format!("{}.{}.{}.{}", hex(&key.producer), hex(&key.incarnation), key.sequence, key.part)
}

/// Reads a record's key.
pub(super) fn read_key(headers: Option<&HeaderMap>) -> Option<RecordKey> {
    let mut parts = headers?.get(KEY)?.as_str().split('.');
    let (producer, incarnation) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
    let (sequence, part) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(RecordKey { producer, incarnation, sequence, part })
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn bytes(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        let key = RecordKey { producer: [7; 16], incarnation: [0; 16], sequence: u64::MAX, part: 3 };
        let mut headers = HeaderMap::new();
        headers.insert(KEY, write_key(&key));
        assert_eq!(read_key(Some(&headers)), Some(key));
        headers.insert(KEY, "07.00.1.0");
        assert_eq!(read_key(Some(&headers)), None);
        assert_eq!(read_key(None), None);
    }

    #[test]
    fn parts_lie_within_their_number() {
        let mut headers = HeaderMap::new();
        assert_eq!(part(Some(&headers)), Some((0, 1)));
        headers.insert(PART, "2/3");
        assert_eq!(part(Some(&headers)), Some((2, 3)));
        for wrong in ["3/3", "x/3", "3", "0/0"] {
            headers.insert(PART, wrong);
            assert_eq!(part(Some(&headers)), None, "{wrong}");
        }
    }

    #[test]
    fn kinds_have_their_words() {
        for (kind, _) in KINDS {
            let mut headers = HeaderMap::new();
            headers.insert(REPLY, kind.text());
            assert_eq!(Kind::read(Some(&headers)), Some(kind));
        }
    }
}

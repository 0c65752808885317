//! `http_abort`, `http_delay`, `http_status`, `http_header`, `http_body`: what happens to messages of HTTP/1.1, each by a
//! draw of its own, so that a share of the requests of one connection is hit.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use super::behaviour::{Behaviour, Chunk, End, Queue, Step};
use super::fields::Fields;
use super::framing::{LONGEST_HEAD, Place, after_head};
use super::{Attributes, Stream};
use crate::draw::Draws;

/// What is done to the messages that are hit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Http {
    /// Share of messages that are hit, 0 to 1. Default 1.
    pub share: f64,
    /// What happens to them.
    #[serde(flatten)]
    pub effect: HttpEffect,
}

/// What is done to a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HttpEffect {
    /// `http_abort`: the connection is closed in its place.
    Abort {},
    /// `http_delay`: it is held.
    Delay {
        /// Milliseconds. Default 0.
        delay: u64,
    },
    /// `http_status`: an answer has another status; what else it says stays.
    Status {
        /// 100 to 999. Default 503.
        status: u64,
    },
    /// `http_header`: a field is set in the place of all of its name.
    Header {
        /// The field's name; needed.
        name: String,
        /// Its value; empty = there is no such field. Default empty.
        value: String,
    },
    /// `http_body`: every byte of the body is another one; its length stays.
    Body {},
}

impl Http {
    /// The defaults of a type.
    pub(super) fn of_type(name: &str) -> Option<Self> {
        let effect = match name {
            "http_abort" => HttpEffect::Abort {},
            "http_delay" => HttpEffect::Delay { delay: 0 },
            "http_status" => HttpEffect::Status { status: 503 },
            "http_header" => HttpEffect::Header { name: String::new(), value: String::new() },
            "http_body" => HttpEffect::Body {},
            _ => return None,
        };
        Some(Self { share: 1.0, effect })
    }

    /// The type's name.
    pub(super) const fn type_name(&self) -> &'static str {
        match self.effect {
            HttpEffect::Abort {} => "http_abort",
            HttpEffect::Delay { .. } => "http_delay",
            HttpEffect::Status { .. } => "http_status",
            HttpEffect::Header { .. } => "http_header",
            HttpEffect::Body {} => "http_body",
        }
    }

    /// These, with those that are given in place of their own.
    pub(super) fn with(&self, fields: &mut Fields<'_>) -> Self {
        let share = fields.share("share", self.share);
        let effect = match &self.effect {
            HttpEffect::Delay { delay } => {
                HttpEffect::Delay { delay: fields.whole("delay", *delay, 0..=u64::from(u32::MAX)) }
            }
            HttpEffect::Status { status } => {
                HttpEffect::Status { status: fields.whole("status", *status, 100..=999) }
            }
            HttpEffect::Header { name, value } => {
                let (name, value) = (fields.text("name", name), fields.text("value", value));
                fields.require(is_name(&name), || {
                    format!(
                        "attributes.name: found {name:?}, expected the name of a field, such as retry-after"
                    )
                });
                fields.require(!value.contains(['\r', '\n']), || {
                    "attributes.value: found the end of a line, expected one line".to_owned()
                });
                HttpEffect::Header { name, value }
            }
            effect @ (HttpEffect::Abort {} | HttpEffect::Body {}) => effect.clone(),
        };
        Self { share, effect }
    }

    /// Whether it can do anything in this stream.
    pub(super) fn fits(&self, stream: Stream) -> bool {
        stream == Stream::Downstream || !matches!(self.effect, HttpEffect::Status { .. })
    }
}

fn is_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

/// Finds messages and does to them what is to be done.
#[derive(Debug)]
pub(super) struct Messages {
    http: Http,
    place: Place,
    /// The message at hand is hit: drawn when its head is whole.
    hit: Option<bool>,
}

impl Messages {
    pub(super) const fn new(http: Http) -> Self {
        Self { http, place: Place::Head, hit: None }
    }

    /// The head at the front of the queue: its length.
    fn head(&mut self, queue: &mut Queue) -> Option<usize> {
        loop {
            let data = &queue.front()?.data;
            if let Some(end) = memchr::memmem::find(data, b"\r\n\r\n") {
                return Some(end + 4);
            }
            if data.len() > LONGEST_HEAD {
                self.place = Place::Rest;
                return None;
            }
            if !queue.merge() {
                return None;
            }
        }
    }

    fn at_head(&mut self, now: Instant, queue: &mut Queue, draws: &mut Draws) -> Step {
        let Some(length) = self.head(queue) else {
            if self.place == Place::Rest || queue.end().is_some() {
                // No head will come of it.
                self.place = Place::Rest;
                return queue.pop().map_or_else(|| ended(queue), Step::Pass);
            }
            return Step::Idle;
        };
        let Some(front) = queue.front() else { return Step::Idle };
        let Some(after) = after_head(&front.data[..length]) else {
            self.place = Place::Rest;
            return queue.pop().map_or(Step::Idle, Step::Pass);
        };
        let hit = *self.hit.get_or_insert_with(|| draws.unit() < self.http.share);
        if hit && let HttpEffect::Delay { delay } = self.http.effect {
            let due = front.at + Duration::from_millis(delay);
            if now < due {
                return Step::Wait(due);
            }
        }
        if hit && self.http.effect == (HttpEffect::Abort {}) {
            return Step::End(End::Cut);
        }
        let Some(head) = queue.pop_part(length) else { return Step::Idle };
        self.place = after;
        if after == Place::Head {
            self.hit = None;
        }
        if !hit {
            return Step::Pass(head);
        }
        match &self.http.effect {
            HttpEffect::Status { status } => {
                Step::Act(Chunk { data: with_status(&head.data, *status), at: head.at })
            }
            HttpEffect::Header { name, value } => {
                Step::Act(Chunk { data: with_field(&head.data, name, value), at: head.at })
            }
            HttpEffect::Delay { .. } => Step::Act(Chunk { at: head.at.max(now), ..head }),
            HttpEffect::Abort {} | HttpEffect::Body {} => Step::Pass(head),
        }
    }
}

impl Behaviour for Messages {
    fn step(&mut self, now: Instant, queue: &mut Queue, room: bool, draws: &mut Draws) -> Step {
        if !room {
            return Step::Idle;
        }
        let Some(front) = queue.front() else { return ended(queue) };
        if self.place == Place::Head {
            return self.at_head(now, queue, draws);
        }
        let run = self.place.run(&front.data);
        let hit = self.hit == Some(true);
        if self.place == Place::Head {
            self.hit = None;
        }
        let Some(chunk) = queue.pop_part(run.bytes) else { return Step::Idle };
        if hit && run.content && self.http.effect == (HttpEffect::Body {}) {
            let data: Vec<u8> = chunk.data.iter().map(|byte| byte ^ 1).collect();
            return Step::Act(Chunk { data: data.into(), at: chunk.at });
        }
        Step::Pass(chunk)
    }

    /// One to look at, and one that may hold the rest of its head.
    fn capacity(&self) -> usize {
        2
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::Http(http) = attributes {
            self.http = http.clone();
        }
    }
}

fn ended(queue: &Queue) -> Step {
    queue.ended().map_or(Step::Idle, Step::End)
}

/// The head with another status; a request as it is.
fn with_status(head: &Bytes, status: u64) -> Bytes {
    let line = memchr::memmem::find(head, b"\r\n").unwrap_or(head.len());
    if !head.starts_with(b"HTTP/1.") {
        return head.clone();
    }
    let version = &head[..8.min(line)];
    [version, format!(" {status} Fault").as_bytes(), &head[line..]].concat().into()
}

/// The head with one field of this name, at its end; without any where the value is empty.
fn with_field(head: &Bytes, name: &str, value: &str) -> Bytes {
    let mut all = Vec::with_capacity(head.len() + name.len() + value.len() + 4);
    for (index, line) in head.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if line == b"\r\n" && !value.is_empty() {
            all.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if index == 0 || !field.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) {
            all.extend_from_slice(line);
        }
    }
    all.into()
}

#[cfg(test)]
mod tests;

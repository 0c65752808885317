//! One connection that speaks HTTP/2 (RFC 9113), by the `h2` crate, which is driven by hand: [`Http2::drive`] is one turn.
//!
//! A connection has *lanes*, so many requests at a time. A request is handed over by [`Http2::open`] and goes out with the
//! next turn, together with all others that were handed over by then. The answer is told to [`Answers`] as it comes;
//! the end of each request stands in the list that a turn fills, once.
//!
//! What a peer can make us hold is bounded: unread bodies by the windows below, and they are read in every turn; heads by
//! the limit on header lists; frames that nobody asked for by the budget of a turn.

mod head;
mod pipe;
mod request;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use protocol::failure::FailureClass;

pub use head::Head;
pub use request::{Outgoing, Unsendable};

use crate::io::http1::Limits;
use crate::io::socket::Socket;
use crate::io::tls::Session;
use pipe::{Marks, Pipe, lane_waker};

/// Bytes of one answer that the peer may send before we have read any of them.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same of all answers on a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How much larger than the largest head the list of header fields may be before `h2` itself refuses it. In between
/// it is [`FailureClass::TooLarge`]; beyond, `h2` says only that the peer is at fault.
const LIST_OVER_HEAD: u32 = 4;

/// Streams that we have given up and of which a late answer is expected, at most; `h2` holds a peer at fault for an answer
/// to any other, and a target that is slow for many requests at once is not that.
const GIVEN_UP: usize = 10_000;

/// Faults of a peer on single streams after which `h2` breaks the connection off, with everything on it.
const FAULTS: u32 = 100_000;

/// Receives the answers of a connection.
pub trait Answers<T> {
    /// Everything that is told until the next call came with a read that has just returned.
    fn arrived(&mut self);
    /// The final head of the answer to a request.
    ///
    /// # Errors
    /// The answer is refused, and its stream reset.
    fn head(&mut self, request: T, head: &Head<'_>) -> Result<(), FailureClass>;
    /// A stretch of its body.
    ///
    /// # Errors
    /// As of [`Answers::head`].
    fn body(&mut self, request: T, data: &[u8]) -> Result<(), FailureClass>;
    /// Whether somebody has to look at what came of this request before he is told more: the rest waits for a next turn,
    /// and its window stays closed.
    fn is_full(&self, request: T) -> bool;
    /// The same of all requests.
    fn is_crowd(&self) -> bool;
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer is whole.
    Whole,
    /// There is none, or not all of it.
    Failed {
        /// Why.
        class: FailureClass,
        /// The peer says that it has not looked at the request: it may be sent elsewhere, whatever it does.
        unprocessed: bool,
    },
}

impl End {
    const fn failed(class: FailureClass) -> Self {
        Self::Failed { class, unprocessed: false }
    }
}

/// How a connection stands after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The peer has not told its settings yet.
    Greeting,
    /// Requests may be sent.
    Open,
    /// No more of them: the peer is going away, or stream numbers are used up. Those in progress go on.
    Draining,
    /// It is over, and so is every request on it.
    Closed(FailureClass),
}

/// A request in progress.
enum Stream {
    /// Its answer has no head yet; so many bytes of interim heads have come.
    Head(ResponseFuture, usize),
    /// So many bytes of the body have come.
    Body(RecvStream, u64),
}

struct Lane<T> {
    waker: Waker,
    stream: Option<(T, Stream)>,
}

/// One HTTP/2 connection; `T` names a request.
pub struct Http2<T> {
    connection: Connection<Pipe, Bytes>,
    sender: SendRequest<Bytes>,
    marks: Arc<Marks>,
    waker: Waker,
    lanes: Vec<Lane<T>>,
    /// Indices of lanes without a request.
    free: Vec<u32>,
    /// Lanes at most, by the plan.
    most: u32,
    /// The lane that is listened to first.
    first: usize,
    /// Answers that were malformed.
    faults: u32,
    /// Why it is over, while there is more to be told of what came before.
    over: Option<FailureClass>,
    /// Requests that have ended since.
    lost: Vec<(T, End)>,
    state: State,
}

impl<T> std::fmt::Debug for Http2<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2").field("state", &self.state).field("most", &self.most).finish_non_exhaustive()
    }
}

impl<T: Copy> Http2<T> {
    /// Greets the peer on an open socket. `most`: requests at a time at most, at least 1.
    ///
    /// # Errors
    /// [`FailureClass::Reset`]: the peer is gone.
    pub fn new(
        stream: Socket,
        tls: Option<Box<Session>>,
        most: u32,
        max_head: u32,
    ) -> Result<Self, FailureClass> {
        let marks = Marks::new(most);
        let pipe = Pipe::new(stream, tls, Arc::clone(&marks));
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            // Until the peer has told how many it takes.
            .initial_max_send_streams(0)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_reset_streams(GIVEN_UP)
            .max_local_error_reset_streams(Some(FAULTS as usize))
            .max_header_list_size(max_head.saturating_mul(LIST_OVER_HEAD));
        let waker = Waker::from(Arc::clone(&marks));
        // A socket that has just been opened takes these few bytes at once.
        let greeting = std::pin::pin!(builder.handshake(pipe));
        match greeting.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok((sender, connection))) => Ok(Self {
                connection,
                sender,
                marks,
                waker,
                lanes: Vec::new(),
                free: Vec::new(),
                most,
                first: 0,
                faults: 0,
                over: None,
                lost: Vec::new(),
                state: State::Greeting,
            }),
            Poll::Ready(Err(_)) | Poll::Pending => Err(FailureClass::Reset),
        }
    }

    /// Whether requests could be sent at some time: the peer has told its settings.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state != State::Greeting
    }

    /// Requests that it may carry at a time: what the plan says, or less when the peer wants less.
    #[must_use]
    pub fn lanes(&self) -> u32 {
        u32::try_from(self.sender.current_max_send_streams()).unwrap_or(u32::MAX).min(self.most)
    }

    /// The socket has news. `closing`: the peer has closed its side.
    pub fn readable(&self, closing: bool) {
        self.marks.readable(closing);
    }

    /// Whether another turn is wanted without any news of the socket: there is something to be written, or more to be read
    /// than a turn may.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        self.marks.wanted()
    }

    /// Hands a request over, to go out with the next turn. Returns its lane.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn open(&mut self, request: T, outgoing: Outgoing) -> Result<u32, Refusal> {
        let Outgoing { head, body, .. } = outgoing;
        let mut cx = Context::from_waker(&self.waker);
        match self.sender.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(Refusal::Gone),
            // A stream that was reset still counts until the peer is told. `h2` lets a new handle queue behind it.
            Poll::Pending => self.sender = self.sender.clone(),
        }
        let (answer, mut upload) = match self.sender.send_request(head, body.is_empty()) {
            Ok(opened) => opened,
            Err(error) if error.is_go_away() || error.is_reset() || error.is_io() => {
                return Err(Refusal::Gone);
            }
            Err(_) => return Err(Refusal::Unsendable),
        };
        // What the windows do not let out now waits in `h2`: it is as long as the guest's request.
        if !body.is_empty() && upload.send_data(body, true).is_err() {
            return Err(Refusal::Gone);
        }
        let lane = self.free.pop().unwrap_or_else(|| {
            let lane = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
            self.lanes.push(Lane { waker: lane_waker(&self.marks, lane), stream: None });
            lane
        });
        if let Some(place) = self.lanes.get_mut(lane as usize) {
            place.stream = Some((request, Stream::Head(answer, 0)));
        }
        self.marks.mark_lane(lane);
        Ok(lane)
    }

    /// Gives a request up: its stream is reset with the next turn, and nothing is told of it any more.
    pub fn reset(&mut self, lane: u32) {
        if let Some(place) = self.lanes.get_mut(lane as usize)
            && place.stream.take().is_some()
        {
            self.free.push(lane);
        }
    }

    /// One turn: writes what is handed over, reads what is there, tells the answers and lists the requests that ended.
    pub fn drive(
        &mut self,
        limits: Limits,
        answers: &mut impl Answers<T>,
        ended: &mut Vec<(T, End)>,
    ) -> State {
        if matches!(self.state, State::Closed(_)) {
            return self.state;
        }
        self.marks.begin();
        let mut cx = Context::from_waker(&self.waker);
        if self.over.is_none() {
            self.over = match Pin::new(&mut self.connection).poll(&mut cx) {
                Poll::Pending => None,
                Poll::Ready(Ok(())) => Some(FailureClass::Reset),
                Poll::Ready(Err(error)) => Some(end_of(&error).0),
            };
            if self.over.is_some() {
                // What was read before the end may be whole answers.
                (0..self.lanes.len())
                    .for_each(|lane| self.marks.mark_lane(u32::try_from(lane).unwrap_or(u32::MAX)));
            }
        }
        answers.arrived();
        let Some(class) = self.over else {
            self.listen_all(limits, answers, ended);
            if self.state == State::Greeting && self.sender.current_max_send_streams() > 0 {
                self.state = State::Open;
            }
            if self.state != State::Draining {
                let gone = self.sender.poll_ready(&mut Context::from_waker(&self.waker));
                // Well before the last fault, so that nothing is in progress then.
                if matches!(gone, Poll::Ready(Err(_))) || self.faults >= FAULTS / 2 {
                    self.state = State::Draining;
                }
            }
            return self.state;
        };
        let mut lost = std::mem::take(&mut self.lost);
        self.listen_all(limits, answers, &mut lost);
        if self.marks.has_lanes() {
            (self.lost, self.state) = (lost, State::Draining);
            return self.state;
        }
        ended.append(&mut lost);
        for lane in &mut self.lanes {
            ended.extend(lane.stream.take().map(|(request, _)| (request, End::failed(class))));
        }
        self.state = State::Closed(class);
        self.state
    }

    /// Asks all lanes that have news, until somebody has to look at what they brought; the next turn goes on behind.
    fn listen_all(&mut self, limits: Limits, answers: &mut impl Answers<T>, ended: &mut Vec<(T, End)>) {
        const BITS: usize = u64::BITS as usize;
        let words = self.marks.words();
        let (first, above) = (self.first / BITS, u64::MAX << (self.first % BITS));
        // The first word comes twice: its upper part, and at the end its lower.
        for step in 0..=words {
            let word = (first + step) % words.max(1);
            let mask = match step {
                0 => above,
                step if step == words => !above,
                _ => u64::MAX,
            };
            let mut bits = self.marks.take_lanes(word, mask);
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                self.listen(word * BITS + bit, limits, answers, ended);
                if answers.is_crowd() {
                    self.marks.mark_lanes(word, bits);
                    self.first = (word * BITS + bit + 1) % (words * BITS).max(1);
                    return;
                }
            }
        }
        self.first = 0;
    }

    /// Asks a lane's stream for news.
    fn listen(
        &mut self,
        index: usize,
        limits: Limits,
        answers: &mut impl Answers<T>,
        ended: &mut Vec<(T, End)>,
    ) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let Some((request, stream)) = &mut lane.stream else { return };
        let request = *request;
        let mut cx = Context::from_waker(&lane.waker);
        let end = match advance(request, stream, limits, answers, &mut cx) {
            Poll::Pending => return,
            Poll::Ready(end) => end,
        };
        if end == End::failed(FailureClass::Malformed) {
            self.faults = self.faults.saturating_add(1);
        }
        // Without its handles a stream that is not at its end is reset.
        lane.stream = None;
        self.free.push(u32::try_from(index).unwrap_or(u32::MAX));
        ended.push((request, end));
    }
}

/// Why a request was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The connection takes no more; another may.
    Gone,
    /// HTTP/2 has no such request.
    Unsendable,
}

/// Reads on in an answer.
fn advance<T: Copy>(
    request: T,
    stream: &mut Stream,
    limits: Limits,
    answers: &mut impl Answers<T>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    if let Stream::Head(answer, interim) = stream {
        while let Poll::Ready(Some(Ok(head))) = answer.poll_informational(cx) {
            *interim += Head::new(head.status(), head.headers()).size();
            if *interim > limits.max_head {
                return Poll::Ready(End::failed(FailureClass::TooLarge));
            }
        }
        let (parts, body) = match Pin::new(answer).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(failure(&error)),
            Poll::Ready(Ok(response)) => response.into_parts(),
        };
        let head = Head::new(parts.status, &parts.headers);
        if head.size() + *interim > limits.max_head || head.is_too_long() {
            return Poll::Ready(End::failed(FailureClass::TooLarge));
        }
        if let Err(class) = answers.head(request, &head) {
            return Poll::Ready(End::failed(class));
        }
        if body.is_end_stream() {
            return Poll::Ready(End::Whole);
        }
        if announced(&parts.headers) > limits.max_body {
            return Poll::Ready(End::failed(FailureClass::TooLarge));
        }
        *stream = Stream::Body(body, 0);
    }
    let Stream::Body(body, received) = stream else { return Poll::Pending };
    loop {
        match body.poll_data(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(End::Whole),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(failure(&error)),
            Poll::Ready(Some(Ok(data))) => {
                *received += data.len() as u64;
                if *received > limits.max_body {
                    return Poll::Ready(End::failed(FailureClass::TooLarge));
                }
                if let Err(class) = answers.body(request, &data) {
                    return Poll::Ready(End::failed(class));
                }
                // Of a stream that has been reset meanwhile there is nothing to release: the next call tells.
                let _ = body.flow_control().release_capacity(data.len());
                if answers.is_full(request) && !body.is_end_stream() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The length of the body by its head; 0 when it says nothing. `h2` checks that it is a number, and true.
fn announced(fields: &HeaderMap) -> u64 {
    let length = fields.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn failure(error: &h2::Error) -> End {
    let (class, unprocessed) = end_of(error);
    End::Failed { class, unprocessed }
}

/// Class of an error, and whether it says that the peer has not looked at the request.
fn end_of(error: &h2::Error) -> (FailureClass, bool) {
    if let Some(error) = error.get_io() {
        let tls = error.kind() == std::io::ErrorKind::InvalidData;
        return (if tls { FailureClass::Tls } else { FailureClass::Reset }, false);
    }
    if error.is_library() {
        // We have found the peer at fault.
        let flood = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        return (if flood { FailureClass::TooLarge } else { FailureClass::Malformed }, false);
    }
    // A peer that goes away ends so only the streams above the last one that it has looked at.
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    (FailureClass::Reset, error.is_remote() && (refused || error.is_go_away()))
}

//! How messages are sent and answers are judged: one dialect for each of the three transports.

pub(crate) mod event_stream;
pub(crate) mod stateless;
pub(crate) mod streamable;

use gauntlet_sdk::{Draft, Headers, Interest, Outbox, Part, Rng, Turn};
use guest_config::{Values, decimal};

use crate::failure::Failures;
use crate::program::{Call, Program};
use crate::result::Method;
use crate::revision::{Revision, Transport};
use crate::user::{Session, User};

/// Sets the draws of a turn's calls apart.
const ROUND_SHIFT: u32 = 32;

/// What a client says about itself.
pub(crate) const CLIENT: &str =
    concat!(r#"{"name":"gauntlet","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// Headers of every POST over HTTP that is streamable.
pub(crate) fn post_headers() -> Headers {
    Headers::default()
        .with("content-type", "application/json")
        .with("accept", "application/json, text/event-stream")
}

/// All of an answer that is looked at.
pub(crate) fn all() -> Interest {
    Interest::END | Interest::HEAD | Interest::BODY | Interest::EVENTS
}

/// What a message is, for its headers.
#[derive(Clone, Copy)]
pub(crate) enum About<'a> {
    /// A call of the plan.
    Call(&'a Call),
    /// Any other, by its method.
    Method(&'a str),
}

/// Who sends, and what the texts of the plan take their values from.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) program: &'a Program,
    pub(crate) seed: u64,
    pub(crate) user: u32,
    pub(crate) arrival: u64,
    pub(crate) round: u32,
    pub(crate) row: Row<'a>,
}

/// Where the columns of a call come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'a> {
    None,
    /// The row of the turn, and where the call's columns stand in it.
    Turn(&'a Turn<'a>, &'a [(usize, usize)]),
    /// The same as it was kept for later calls of the turn: those of all calls, then those of one.
    Kept(&'a [Vec<u8>]),
}

impl<'a> Row<'a> {
    pub(crate) const fn of(turn: &'a Turn<'a>) -> Self {
        Self::Turn(turn, &[])
    }

    /// The part that a call takes.
    pub(crate) fn of_call(self, call: &'a Call) -> Self {
        match self {
            Self::None => Self::None,
            Self::Turn(turn, _) => Self::Turn(turn, &call.columns),
            Self::Kept(all) => Self::Kept(all.get(call.columns_before..).unwrap_or_default()),
        }
    }
}

impl Values for Sender<'_> {
    fn column(&self, index: usize) -> &[u8] {
        match self.row {
            Row::None => &[],
            Row::Turn(turn, columns) => {
                columns.get(index).map_or(&[], |&(feed, column)| turn.row(feed, column))
            }
            Row::Kept(columns) => columns.get(index).map_or(&[], Vec::as_slice),
        }
    }

    fn extracted(&self, _: usize) -> &[u8] {
        &[]
    }

    fn arrival(&self) -> u64 {
        self.arrival
    }

    fn user(&self) -> u32 {
        self.user
    }

    fn draws(&self, stream: u64) -> Rng {
        Rng::for_arrival(self.seed, self.arrival, stream + (u64::from(self.round) << ROUND_SHIFT))
    }
}

impl Sender<'_> {
    /// Begins a POST of a message in the dialect of `revision`.
    pub(crate) fn post<'o>(
        &self,
        out: &'o mut Outbox<'_>,
        revision: Revision,
        session: &Session,
        seq: u32,
        step: u32,
        about: About<'_>,
    ) -> Draft<'o> {
        let draft = out.request(self.user, seq, step).method(self.program.methods.post).interest(all());
        let draft = match revision.transport() {
            Transport::EventStream => {
                draft.target(&session.address).header("content-type", "application/json")
            }
            Transport::Streamable => {
                let draft = draft.target(&self.program.endpoint).headers(&self.program.post_headers);
                streamable::session_headers(draft, revision, session)
            }
            Transport::Stateless => {
                let draft = draft.target(&self.program.endpoint);
                match about {
                    About::Call(call) => draft.headers(&call.headers),
                    About::Method(method) => draft.headers(&stateless::headers(method, b"")),
                }
            }
        };
        self.headers(draft)
    }

    /// Begins a GET of a stream.
    pub(crate) fn stream<'o>(
        &self,
        out: &'o mut Outbox<'_>,
        revision: Revision,
        session: &Session,
        seq: u32,
        step: u32,
    ) -> Draft<'o> {
        let draft = out.request(self.user, seq, step).method(self.program.methods.get).interest(all());
        let draft = draft.target(&self.program.endpoint).header("accept", "text/event-stream");
        let draft = if revision.transport() == Transport::Streamable {
            streamable::session_headers(draft, revision, session)
        } else {
            draft
        };
        self.headers(draft)
    }

    /// Begins the end of a session.
    pub(crate) fn delete<'o>(
        &self,
        out: &'o mut Outbox<'_>,
        revision: Revision,
        session: &Session,
        seq: u32,
    ) -> Draft<'o> {
        let draft = out.request(self.user, seq, self.program.steps.end_session);
        let draft = draft.method(self.program.methods.delete).interest(all()).target(&self.program.endpoint);
        self.headers(streamable::session_headers(draft, revision, session))
    }

    /// What the plan adds to every request.
    fn headers<'o>(&self, mut draft: Draft<'o>) -> Draft<'o> {
        for (name, value) in &self.program.headers {
            draft = draft.header_with(name, |part| value.write(part, self));
        }
        draft
    }
}

/// Appends a request of this method.
pub(crate) fn request(
    body: &mut Part<'_>,
    sender: &Sender<'_>,
    user: &User,
    revision: Revision,
    id: u32,
    (method, call): (Method, Option<&Call>),
) {
    body.push(br#"{"jsonrpc":"2.0","id":"#);
    decimal(body, id.into());
    match call {
        Some(call) if call.method == method => body.push(call.begin.as_bytes()),
        _ => body.push(begin(method, r#""""#).as_bytes()),
    }
    let mut comma: &[u8] = b",";
    match method {
        Method::Initialize => {
            body.push(br#""protocolVersion":""#);
            body.push(revision.name().as_bytes());
            body.push(br#"","capabilities":"#);
            body.push(sender.program.declared.as_bytes());
            body.push(br#","clientInfo":"#);
            body.push(CLIENT.as_bytes());
        }
        // What it is of is in its beginning.
        Method::CallTool | Method::GetPrompt => {
            if !user.arguments.is_empty() {
                body.push(br#","arguments":"#);
                body.push(&user.arguments);
            }
        }
        Method::ReadResource => {
            body.push(br#""uri":"#);
            body.push(&user.arguments);
        }
        Method::Listen => body.push(
            br#""notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#,
        ),
        Method::ListTools | Method::ListPrompts | Method::ListResources | Method::ListTemplates
            if !user.cursor.is_empty() =>
        {
            body.push(br#""cursor":"#);
            body.push(&user.cursor);
        }
        Method::Discover
        | Method::Ping
        | Method::ListTools
        | Method::ListPrompts
        | Method::ListResources
        | Method::ListTemplates => comma = b"",
    }
    body.push(&user.input);
    let token = call.is_some_and(|call| call.progress).then_some(id);
    if revision.transport() == Transport::Stateless {
        body.push(comma);
        stateless::meta_and_end(body, &sender.program.about_us, token);
        return;
    }
    if let Some(token) = token {
        body.push(comma);
        body.push(br#""_meta":{"progressToken":"#);
        decimal(body, token.into());
        body.push(b"}");
    }
    body.push(b"}}");
}

/// A request from after its id to where its parameters differ; `name` is that of a tool or a prompt, as JSON.
pub(crate) fn begin(method: Method, name: &str) -> String {
    let begin = format!(r#","method":"{}","params":{{"#, method.name());
    if matches!(method, Method::CallTool | Method::GetPrompt) {
        format!(r#"{begin}"name":{name}"#)
    } else {
        begin
    }
}

/// What an HTTP status says of the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The response is in it.
    Response,
    /// None is; `true`: the session is over.
    None(bool),
}

/// Judges the status of an answer to a request in the dialect of `revision`.
pub(crate) fn judge(
    revision: Revision,
    status: u32,
    session: &Session,
    challenged: bool,
    failures: &mut Failures,
) -> Answer {
    use crate::failure::Failure;
    match status {
        401 => {
            failures.add(Failure::Unauthorized);
            if !challenged && revision.rules().challenge {
                failures.add(Failure::Challenge);
            }
            Answer::None(true)
        }
        403 => {
            failures.add(Failure::Forbidden);
            Answer::None(false)
        }
        _ => match revision.transport() {
            Transport::EventStream => event_stream::judge(status, failures),
            Transport::Streamable => streamable::judge(status, session, failures),
            Transport::Stateless => stateless::judge(status, failures),
        },
    }
}

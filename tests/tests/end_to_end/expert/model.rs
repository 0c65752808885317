//! A server that speaks the four APIs as a script says, and logs when it wrote what.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

/// A query as the server was asked it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Number of the expert, from the path's `/e<number>`.
    pub(crate) expert: u64,
    /// Number of the arrival in its phase, from the prompt's `Query <number>.`
    pub(crate) arrival: u64,
    /// How often this expert was asked it before.
    pub(crate) attempt: u32,
}

/// What the server does with a query.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An answer in one piece, with so many tokens counted.
    Whole(&'static str, u32),
    /// A stream of so many contents: the first after this long, the others after that.
    Stream { contents: u32, first: Duration, gap: Duration, end: End },
    /// An error status with a header.
    Status(u16, &'static str),
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As its API wants it.
    Proper,
    /// After its contents, without an end marker.
    Truncated,
    /// With an error.
    Error,
}

/// A request that is over.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) asked: Asked,
    pub(crate) reply: Reply,
    /// When it was read.
    pub(crate) at: Instant,
    /// Of each content, from then to just before it was written.
    pub(crate) written: Vec<Duration>,
}

type Script = dyn Fn(Asked) -> Reply + Send + Sync;

/// The server: a thread for each connection, which ends when its peer closes.
pub(crate) struct Model {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    log: Mutex<Vec<Entry>>,
    attempts: Mutex<BTreeMap<(u64, u64), u32>>,
    stop: AtomicBool,
}

impl Model {
    pub(crate) fn start(script: impl Fn(Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            log: Mutex::default(),
            attempts: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if shared.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(stream, &shared));
                }
            })
        };
        Self { addr, shared, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Queries that are over; what only asks whether the server is there is none.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.shared.log.lock().unwrap().clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers until the peer closes.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Ok((path, body)) = request(&mut stream, &mut buffer) {
        let at = Instant::now();
        let mut written = Vec::new();
        let Some((expert, arrival)) = asked(&path, &body) else {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
            continue;
        };
        let attempt = {
            let mut attempts = shared.attempts.lock().unwrap();
            let count = attempts.entry((expert, arrival)).or_default();
            *count += 1;
            *count - 1
        };
        let asked = Asked { expert, arrival, attempt };
        let reply = (shared.script)(asked);
        let sent = answer(&mut stream, Api::of(&path), &reply, at, &mut written);
        shared.log.lock().unwrap().push(Entry { asked, reply, at, written });
        if sent.is_err() {
            return;
        }
    }
}

/// The next request: its path and its body.
fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(String, String)> {
    let mut chunk = [0; 4096];
    loop {
        let head = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
            });
            let end = head + length.unwrap_or(0);
            if buffer.len() >= end {
                let body = String::from_utf8_lossy(&buffer[head..end]).into_owned();
                buffer.drain(..end);
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                return Ok((path, body));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

fn asked(path: &str, body: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok();
    let expert = number(path.strip_prefix("/e")?)?;
    let arrival = number(body.split_once("Query ")?.1)?;
    Some((expert, arrival & ((1 << 40) - 1)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Anthropic,
    Gemini,
    Chat,
}

impl Api {
    fn of(path: &str) -> Self {
        match path {
            path if path.contains("/messages") => Self::Anthropic,
            path if path.contains("enerateContent") => Self::Gemini,
            _ => Self::Chat,
        }
    }

    fn whole(self, text: &str, tokens: u32) -> String {
        match self {
            Self::Anthropic => json!({
                "type": "message", "role": "assistant", "content": [{ "type": "text", "text": text }],
                "stop_reason": "end_turn", "usage": { "input_tokens": 9, "output_tokens": tokens },
            }),
            Self::Gemini => json!({
                "candidates": [{ "content": { "parts": [{ "text": text }], "role": "model" }, "finishReason": "STOP" }],
                "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": tokens },
            }),
            Self::Chat => json!({
                "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 9, "completion_tokens": tokens },
            }),
        }
        .to_string()
    }

    /// What comes before the first content.
    fn before(self) -> String {
        match self {
            Self::Anthropic => format!(
                "event: message_start\ndata: {}\n\nevent: ping\ndata: {{\"type\":\"ping\"}}\n\n",
                json!({ "type": "message_start", "message": { "usage": { "input_tokens": 9, "output_tokens": 1 } } })
            ),
            Self::Gemini => ": nothing yet\r\n\r\n".to_owned(),
            Self::Chat => format!(
                ": keep-alive\n\ndata: {}\n\n",
                json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "" } }] })
            ),
        }
    }

    fn content(self, text: &str) -> String {
        match self {
            Self::Anthropic => {
                let delta = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } });
                format!("event: content_block_delta\ndata: {delta}\n\n")
            }
            // With the line ends that some servers send.
            Self::Gemini => {
                let chunk = json!({ "candidates": [{ "content": { "parts": [{ "text": text }], "role": "model" } }] });
                format!("data: {chunk}\r\n\r\n")
            }
            Self::Chat => {
                format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
            }
        }
    }

    fn end(self, tokens: u32, end: End) -> String {
        match (self, end) {
            (_, End::Truncated) => String::new(),
            (Self::Anthropic, End::Proper) => format!(
                "event: message_delta\ndata: {}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n",
                json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": tokens } })
            ),
            (Self::Anthropic, End::Error) => {
                let error =
                    json!({ "type": "error", "error": { "type": "api_error", "message": "made up" } });
                format!("event: error\ndata: {error}\n\n")
            }
            (Self::Gemini, End::Proper) => format!(
                "data: {}\r\n\r\n",
                json!({
                    "candidates": [{ "content": { "parts": [] }, "finishReason": "STOP" }],
                    "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": tokens },
                })
            ),
            (Self::Chat, End::Proper) => format!(
                "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
                json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }),
                json!({ "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": tokens } }),
            ),
            (Self::Gemini | Self::Chat, End::Error) => {
                format!("data: {}\n\n", json!({ "error": { "code": 500, "message": "made up" } }))
            }
        }
    }
}

fn answer(
    stream: &mut TcpStream,
    api: Api,
    reply: &Reply,
    at: Instant,
    written: &mut Vec<Duration>,
) -> io::Result<()> {
    match reply {
        Reply::Whole(text, tokens) => {
            let body = api.whole(text, *tokens);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes())
        }
        Reply::Status(status, header) => {
            let head = format!("HTTP/1.1 {status} Made Up\r\n{header}Content-Length: 2\r\n\r\n{{}}");
            stream.write_all(head.as_bytes())
        }
        Reply::Stream { contents, first, gap, end } => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all((head.to_owned() + &chunk(&api.before())).as_bytes())?;
            let mut due = at + *first;
            for number in 0..*contents {
                wait(due);
                written.push(at.elapsed());
                stream.write_all(chunk(&api.content(&format!("word{number} "))).as_bytes())?;
                due += *gap;
            }
            // Nothing waits on the last token's gap: what follows it comes at once.
            let end = api.end(contents + 1, *end);
            let end = if end.is_empty() { end } else { chunk(&end) };
            stream.write_all((end + "0\r\n\r\n").as_bytes())
        }
    }
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

#[expect(clippy::disallowed_methods, reason = "when it writes is what this server is for")]
fn wait(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

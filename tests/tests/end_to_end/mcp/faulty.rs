//! A server of 2025-11-25 over streamable HTTP that makes the mistake by whose name a tool is called, and counts it.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Its tools: what it does wrong is the class of the guest's check. The last three do nothing wrong.
pub(crate) const TOOLS: [&str; 12] = [
    "corrupt-frame",
    "json-rpc",
    "id-mismatch",
    "missing-response",
    "silent-stream",
    "session-expired",
    "401",
    "403",
    "content-type",
    "lf",
    "crlf",
    "endless",
];

/// A tool that is listed with a schema from which no arguments can be drawn, and does nothing wrong.
pub(crate) const UNDRAWABLE: &str = "undrawable";

/// The running server. What it says is over with its clients' connections.
pub(crate) struct Faulty {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<BTreeMap<String, u64>>,
    sessions: AtomicU64,
    ends: AtomicU64,
    stop: AtomicBool,
}

impl Faulty {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
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

    /// How often each tool was called.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// How many sessions were ended.
    pub(crate) fn ends(&self) -> u64 {
        self.shared.ends.load(Ordering::SeqCst)
    }
}

impl Drop for Faulty {
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
    while let Ok((head, body)) = request(&mut stream, &mut buffer) {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if stream.write_all(answer(&head, &body, shared).as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request: its head in lower case, and its body.
fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(String, Vec<u8>)> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let whole = end + length.unwrap_or(0);
            if buffer.len() >= whole {
                let body = buffer[end..whole].to_vec();
                buffer.drain(..whole);
                return Ok((head, body));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

fn whole(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A stream of one event, ended or not, with these ends of lines.
fn stream(data: &str, line: &str, is_ended: bool) -> String {
    let event = format!("event: message{line}data: {data}{line}{line}");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{:x}\r\n{event}\r\n{}", event.len(), if is_ended { "0\r\n\r\n" } else { "" })
}

fn answer(head: &str, body: &Value, shared: &Shared) -> String {
    const JSON: &str = "Content-Type: application/json\r\n";
    let respond = |result: Value| json!({ "jsonrpc": "2.0", "id": body["id"], "result": result }).to_string();
    if head.starts_with("delete ") {
        shared.ends.fetch_add(1, Ordering::SeqCst);
        return whole("200 OK", "", "");
    }
    let Some(method) = body["method"].as_str() else { return whole("405 Method Not Allowed", "", "") };
    if method == "initialize" {
        // The path says which revision it agrees on.
        let version = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let session = shared.sessions.fetch_add(1, Ordering::Relaxed);
        let result = json!({ "protocolVersion": version, "capabilities": {}, "serverInfo": { "name": "faulty", "version": "1" } });
        return whole("200 OK", &format!("{JSON}Mcp-Session-Id: s-{session}\r\n"), &respond(result));
    }
    if !(head.contains("mcp-session-id: s-") && head.contains("mcp-protocol-version: 2025-11-25")) {
        return whole("400 Bad Request", "", "");
    }
    match method {
        "tools/list" => {
            let tools = TOOLS.iter().map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
            let text = json!({ "type": "string", "pattern": "^a{3}$" });
            let schema = json!({ "type": "object", "properties": { "a": text }, "required": ["a"] });
            let undrawable = json!({ "name": UNDRAWABLE, "inputSchema": schema });
            let tools: Vec<_> = tools.chain([undrawable]).collect();
            whole("200 OK", JSON, &respond(json!({ "tools": tools })))
        }
        "tools/call" => {
            let tool = body["params"]["name"].as_str().unwrap_or_default();
            *shared.calls.lock().unwrap().entry(tool.to_owned()).or_default() += 1;
            call(tool, &respond(json!({ "content": [] })), body)
        }
        // Notifications.
        _ => whole("202 Accepted", "", ""),
    }
}

/// The answer to a call of this tool; `good` would be the right one.
fn call(tool: &str, good: &str, body: &Value) -> String {
    let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress",
        "params": { "progressToken": body["params"]["_meta"]["progressToken"], "progress": 1 } })
    .to_string();
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
    match tool {
        "corrupt-frame" => stream(&good[..good.len() - 1], "\n", true),
        "json-rpc" => stream(r#"{"jsonrpc":"1.0","result":{}}"#, "\n", true),
        "id-mismatch" => stream(r#"{"jsonrpc":"2.0","id":99999999,"result":{"content":[]}}"#, "\n", true),
        "missing-response" => stream(log, "\n", true),
        "silent-stream" => stream(log, "\n", false),
        "session-expired" => whole("404 Not Found", "", ""),
        "401" => whole("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", ""),
        "403" => whole("403 Forbidden", "", ""),
        "content-type" => whole("200 OK", "Content-Type: text/html\r\n", "<html></html>"),
        "crlf" => stream(good, "\r\n", true),
        "endless" => stream(&progress, "\n", false),
        _ => stream(good, "\n", true),
    }
}

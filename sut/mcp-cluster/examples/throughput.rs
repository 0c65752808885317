//! How much of a bare server on the same SDK is left of the cluster's: both answer tool calls of revision 2026-07-28 in a
//! closed loop, in turns (A B A B), each a process of its own. Figures say something only where nothing else runs.
//!
//! `cargo run --release -p mcp-cluster --example throughput -- [SECONDS] [ROUNDS] [CONNECTIONS]`
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what was measured goes to whoever started it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use mcp_cluster::{Kind, Options, Server};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the cluster's servers are asked, beside what the bare one is.
const ASKED: [(&str, Kind, &str); 4] = [
    ("publish", Kind::CommunicationHub, r#"{"channel":"a","text":"hello"}"#),
    ("scan_text", Kind::SecurityScanner, r#"{"text":"hello"}"#),
    ("query", Kind::MonitoringPrometheus, r#"{"series":"a","from":0,"to":9,"function":"sum"}"#),
    ("list", Kind::StorageController, "{}"),
];

/// A server that gives back what it is given, and nothing else.
#[derive(Clone)]
struct Echo;

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::structured(Value::Object(request.arguments.unwrap_or_default())).into())
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // A core for the server, the rest is the client's: so it is the server that is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.first().map(String::as_str) {
        Some("serve") => runtime.block_on(serve(arguments.get(1).map_or("echo", String::as_str))),
        _ => {
            let number = |n: usize, default: u32| arguments.get(n).map_or(Ok(default), |text| text.parse());
            let (seconds, rounds, connections) = (number(0, 5)?, number(1, 5)?, number(2, 32)?);
            runtime.block_on(measure(Duration::from_secs(seconds.into()), rounds, connections))
        }
    }
}

async fn serve(tool: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let Some((_, kind, _)) = ASKED.iter().find(|(name, ..)| *name == tool) else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(out, "{}", listener.local_addr()?)?;
        let config = StreamableHttpServerConfig::default();
        let service =
            StreamableHttpService::new(|| Ok(Echo), Arc::new(LocalSessionManager::default()), config);
        // As with ours: without it, Nagle's algorithm is what is measured.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        return Ok(axum::serve(listener, axum::Router::new().route_service("/mcp", service)).await?);
    };
    let server = Server::bind(Options { kind: *kind, ..Options::default() }).await?;
    writeln!(out, "{}", server.address())?;
    Ok(server.run(std::future::pending()).await?)
}

/// A server as a process of its own; ends with the value.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(tool: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(["serve", tool]).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        let out = child.stdout.take().context("the server's output")?;
        BufReader::new(out).read_line(&mut address)?;
        Ok(Self { child, address: address.trim_end().to_owned() })
    }

    /// CPU time that it has used.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may have anything in it, the 12th and 13th field are in 100ths of a second.
        let (_, fields) = text.rsplit_once(')').context("the server's CPU time")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(length: Duration, rounds: u32, connections: u32) -> anyhow::Result<()> {
    let mut results = Vec::new();
    for (tool, _, arguments) in ASKED {
        let (mut rates, mut by_cpu) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            let bare = run("echo", arguments, length, connections).await?;
            let ours = run(tool, arguments, length, connections).await?;
            println!(
                "{tool}, round {round}: bare {:.0} calls/s, {:.0} per CPU second; cluster {:.0} and {:.0}",
                bare.0, bare.1, ours.0, ours.1
            );
            rates.push(ours.0 / bare.0);
            by_cpu.push(ours.1 / bare.1);
        }
        results.push(json!({ "tool": tool, "ratio": median(rates), "ratio_of_cpu_time": median(by_cpu) }));
    }
    println!("{:#}", json!({ "connections": connections, "rounds": rounds, "cluster_to_bare": results }));
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Calls a second, and a second of the server's CPU time.
async fn run(tool: &str, arguments: &str, length: Duration, connections: u32) -> anyhow::Result<(f64, f64)> {
    let server = Process::start(tool)?;
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments},"_meta":{meta}}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let request: Arc<str> = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: tools/call\r\nmcp-name: {tool}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into();
    // Connections and first calls are not measured.
    calls(&server.address, &request, Duration::from_millis(500), connections).await?;
    let (cpu, begun) = (server.cpu()?, Instant::now());
    let count = calls(&server.address, &request, length, connections).await? as f64;
    Ok((count / begun.elapsed().as_secs_f64(), count / (server.cpu()? - cpu).as_secs_f64()))
}

async fn calls(address: &str, request: &Arc<str>, length: Duration, connections: u32) -> anyhow::Result<u64> {
    let end = Instant::now() + length;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = Arc::clone(request);
        clients.spawn(async move {
            let (mut count, mut buffer) = (0, vec![0; 64 << 10]);
            while Instant::now() < end {
                stream.write_all(request.as_bytes()).await?;
                let mut filled = 0;
                // The answer is a stream of events in chunks: it ends with the chunk of no length.
                while !buffer[..filled].ends_with(b"\r\n0\r\n\r\n") {
                    let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
                    anyhow::ensure!(
                        read > 0,
                        "no whole answer: {}",
                        String::from_utf8_lossy(&buffer[..filled])
                    );
                    filled += read;
                }
                let good = buffer.starts_with(b"HTTP/1.1 200")
                    && buffer[..filled].windows(15).any(|part| part == b"\"isError\":false");
                anyhow::ensure!(good, "a wrong answer: {}", String::from_utf8_lossy(&buffer[..filled]));
                count += 1;
            }
            Ok(count)
        });
    }
    let mut all = 0;
    while let Some(ended) = clients.join_next().await {
        all += ended??;
    }
    Ok(all)
}

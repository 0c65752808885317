//! What is loaded: the bare server and nginx, each on the server's cores.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::process::{Cores, handle, has_ended_within, start_on};
use crate::paths::run;
use crate::tools;

/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(10);

/// A running server; ends with the value.
pub(super) struct Server {
    child: Child,
    /// The process that serves.
    pub(super) pid: u32,
    /// Of plain HTTP.
    pub(super) http: u16,
    /// Of HTTPS, with the certificate.
    pub(super) https: Option<(u16, PathBuf)>,
    /// As results call it.
    pub(super) name: &'static str,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing that it could still write is of use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on any core; ends with the value.
pub(crate) struct AnyCore(Server);

impl AnyCore {
    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.0.http
    }

    /// The same with TLS, and the certificate that it shows.
    pub(crate) fn https(&self) -> anyhow::Result<(u16, &Path)> {
        let https = self.0.https.as_ref().map(|(port, certificate)| (*port, certificate.as_path()));
        https.with_context(|| format!("{} without TLS", self.0.name))
    }
}

/// Starts the bare server that is among these programs.
pub(crate) fn bare_on_any_core(programs: &Path) -> anyhow::Result<AnyCore> {
    let mut command = Command::new(programs.join("bare-server"));
    listening(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start bare-server")?)
        .map(AnyCore)
}

/// Starts nginx as [`nginx`] does.
pub(crate) fn nginx_on_any_core(dir: &Path) -> anyhow::Result<AnyCore> {
    nginx_started(dir, |command| command.spawn().context("start nginx")).map(AnyCore)
}

/// Starts the bare server on the server's cores.
pub(super) fn bare(programs: &Path, cores: Cores) -> anyhow::Result<Server> {
    let mut command = Command::new(programs.join("bare-server"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    listening(start_on(&cores.server, &mut command, &cores.server)?)
}

fn listening(mut child: Child) -> anyhow::Result<Server> {
    let pid = child.id();
    let stdout = child.stdout.take().context("bare-server without output")?;
    let mut server = Server { child, pid, http: 0, https: None, name: "bare server" };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    server.http = line.trim().parse().with_context(|| format!("bare-server's port: {line:?}"))?;
    Ok(server)
}

/// Starts nginx with one worker, plain and with TLS, answering like the bare server and logging nothing.
pub(super) fn nginx(dir: &Path, cores: Cores) -> anyhow::Result<Server> {
    nginx_started(dir, |command| start_on(&cores.server, command, &cores.server))
}

fn nginx_started(
    dir: &Path,
    start: impl FnOnce(&mut Command) -> anyhow::Result<Child>,
) -> anyhow::Result<Server> {
    let program = tools::nginx()?;
    let dir = dir.join("nginx");
    std::fs::create_dir_all(dir.join("tmp"))?;
    certificate(&dir)?;
    let (http, https) = (free_port()?, free_port()?);
    std::fs::write(dir.join("nginx.conf"), configuration(&dir, http, https))?;
    let mut command = Command::new(program);
    command.arg("-e").arg(dir.join("error.log")).arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf"));
    let child = start(command.stdin(Stdio::null()))?;
    // Without a master there is one process, which is the one to measure.
    let pid = child.id();
    let server = Server { child, pid, http, https: Some((https, dir.join("cert.pem"))), name: "nginx" };
    let ended = handle(&server.child)?;
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", http)).is_err() {
        let gone = has_ended_within(&ended, Duration::from_millis(20))?;
        anyhow::ensure!(
            !gone && began.elapsed() < READY,
            "nginx does not listen on port {http}: {}",
            std::fs::read_to_string(dir.join("error.log")).unwrap_or_default()
        );
    }
    Ok(server)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?.local_addr()?.port())
}

/// A certificate for 127.0.0.1 that is its own authority, made anew each time.
fn certificate(dir: &Path) -> anyhow::Result<()> {
    let openssl = tools::load_generators::openssl()?;
    let wanted = dir.join("certificate.conf");
    // One that says it is an authority would be refused as a server's by rustls.
    std::fs::write(
        &wanted,
        "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n[name]\nCN = 127.0.0.1\n\
         [extensions]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n",
    )?;
    let mut make = Command::new(openssl);
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]);
    make.args(["-days", "2", "-config"]).arg(&wanted);
    make.arg("-keyout").arg(dir.join("key.pem")).arg("-out").arg(dir.join("cert.pem"));
    run(make.stderr(Stdio::null()))
}

fn configuration(dir: &Path, http: u16, https: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off;
master_process off;
pid {dir}/nginx.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {dir}/tmp/body;
    proxy_temp_path {dir}/tmp/proxy;
    fastcgi_temp_path {dir}/tmp/fastcgi;
    uwsgi_temp_path {dir}/tmp/uwsgi;
    scgi_temp_path {dir}/tmp/scgi;
    keepalive_requests 1000000000;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{http} backlog=16384;
        listen 127.0.0.1:{https} ssl http2 backlog=16384;
        ssl_certificate {dir}/cert.pem;
        ssl_certificate_key {dir}/key.pem;
        location / {{ return 200 'hello world\\n'; }}
    }}
}}
"
    )
}

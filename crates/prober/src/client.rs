//! HTTP/1.1 GET over one connection that is kept.

use std::pin::{Pin, pin};

use http_body_util::{BodyExt as _, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST, PROXY_AUTHORIZATION, USER_AGENT};
use hyper_util::rt::TokioIo;
use plan::Proxy;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::{Connector, Failure, Kind};

/// How [`Client::by`] is told of an HTTP proxy.
const PROXY: &str = "proxy:";

/// Largest answer of a proxy that makes a tunnel.
const MAX_TUNNEL_ANSWER: usize = 8 << 10;

/// Largest body that is read.
const MAX_BODY: usize = 16 << 20;

/// What TCP and TLS streams have in common.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

type Driver = Pin<Box<http1::Connection<TokioIo<Box<dyn Stream>>, Empty<Bytes>>>>;

/// What is connected to in the place of the URL's own address.
enum By {
    Address(String),
    Unix(String),
    Proxy(Proxy),
}

/// A client for one URL.
pub struct Client {
    url: Result<Uri, String>,
    connector: Connector,
    by: Option<By>,
    open: Option<(SendRequest<Empty<Bytes>>, Driver)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// All of its body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has not connected yet. What is wrong with the URL is said when it is asked.
    #[must_use]
    pub fn new(url: &str, connector: &Connector) -> Self {
        let url = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"));
        Self { url, connector: connector.clone(), by: None, open: None }
    }

    /// Connects to this address instead of the URL's own: `host:port` of a fault proxy in front of the target, `unix:` and
    /// the path of the socket that it listens on, or `proxy:` and an HTTP proxy as [`Proxy::of`] reads it. The `Host`
    /// header and the server name of TLS stay the URL's.
    #[must_use]
    pub fn by(mut self, address: &str) -> Self {
        self.by = Some(if let Some(path) = address.strip_prefix("unix:") {
            By::Unix(path.to_owned())
        } else if let Some(proxy) = address.strip_prefix(PROXY) {
            By::Proxy(Proxy::of(proxy))
        } else {
            By::Address(address.to_owned())
        });
        self
    }

    fn proxy(&self) -> Option<&Proxy> {
        match &self.by {
            Some(By::Proxy(proxy)) => Some(proxy),
            _ => None,
        }
    }

    /// Host of the URL; empty when it has none.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.as_ref().ok().and_then(Uri::host).unwrap_or("")
    }

    /// Asks once. A kept connection that turns out to be closed is replaced once. When it is dropped half-way, so is
    /// the connection.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&mut self) -> Result<Answer, Failure> {
        let url = self.url.clone().map_err(|wrong| Failure::new(Kind::NotAsked, wrong))?;
        if let Some((sender, driver)) = self.open.take()
            && let Ok(answer) = self.exchange(&url, sender, driver).await
        {
            return Ok(answer);
        }
        let stream = self.connect(&url).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        self.exchange(&url, sender, Box::pin(connection)).await
    }

    async fn connect(&self, url: &Uri) -> Result<Box<dyn Stream>, Failure> {
        // IPv6 addresses stand in brackets.
        let host = url.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
        let tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let by = match &self.by {
            Some(By::Address(address) | By::Proxy(Proxy { address, .. })) => Some(address.clone()),
            Some(By::Unix(path)) => Some(format!("unix:{path}")),
            None => None,
        };
        let address = || by.clone().unwrap_or_else(|| format!("{host}:{port}"));
        let connected = match (&self.by, &by) {
            (Some(By::Unix(path)), _) => {
                UnixStream::connect(path).await.map(|s| Box::new(s) as Box<dyn Stream>)
            }
            (_, Some(by)) => TcpStream::connect(by).await.map(|s| Box::new(s) as Box<dyn Stream>),
            (_, None) => TcpStream::connect((host, port)).await.map(|s| Box::new(s) as Box<dyn Stream>),
        };
        let mut stream = connected.map_err(|error| Failure::connecting(&address(), &error))?;
        if !tls {
            return Ok(stream);
        }
        if let Some(proxy) = self.proxy() {
            tunnel(&mut stream, proxy, url.host().unwrap_or(host), port).await?;
        }
        let (config, name) = match &self.connector {
            Connector::Ready(config, name) => (config, name.as_deref().unwrap_or(host)),
            Connector::Broken(error) => return Err(Failure::new(Kind::NotAsked, error.clone())),
        };
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Failure::new(Kind::NotAsked, format!("{name:?} is not a server name for TLS")))?;
        let session = TlsConnector::from(std::sync::Arc::clone(config)).connect(name, stream).await;
        let session = session
            .map_err(|error| Failure::new(Kind::Tls, format!("TLS handshake with {}: {error}", address())))?;
        Ok(Box::new(session))
    }

    async fn exchange(
        &mut self,
        url: &Uri,
        mut sender: SendRequest<Empty<Bytes>>,
        mut driver: Driver,
    ) -> Result<Answer, Failure> {
        // A proxy that passes requests on is given the whole URL.
        let proxy = self.proxy().filter(|_| url.scheme_str() == Some("http"));
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let target = if proxy.is_some() { url.to_string() } else { path.to_owned() };
        let mut request = hyper::Request::get(target);
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.as_deref()) {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request
            .header(HOST, url.authority().map_or("", |authority| authority.as_str()))
            .header(USER_AGENT, platform::PROBE_USER_AGENT)
            .header(ACCEPT, "text/plain;version=0.0.4,*/*;q=0.5")
            .body(Empty::new())
            .map_err(|error| Failure::new(Kind::NotAsked, error.to_string()))?;
        let answer = {
            let exchange = async {
                let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
                read(response).await
            };
            let mut exchange = pin!(exchange);
            let mut ended = false;
            loop {
                // The connection does its reading and writing when it is polled; it may end before the answer is read.
                tokio::select! {
                    biased;
                    answer = &mut exchange => break answer?,
                    _ = &mut driver, if !ended => ended = true,
                }
            }
        };
        if !sender.is_closed() {
            self.open = Some((sender, driver));
        }
        Ok(answer)
    }
}

/// Has the HTTP proxy at the other end make a tunnel to the target.
async fn tunnel(stream: &mut Box<dyn Stream>, proxy: &Proxy, host: &str, port: u16) -> Result<(), Failure> {
    let broken = |error: std::io::Error| Failure::new(Kind::Unreachable, format!("the proxy: {error}"));
    let mut asked = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(authorization) = &proxy.authorization {
        asked.push_str("Proxy-Authorization: ");
        asked.push_str(authorization);
        asked.push_str("\r\n");
    }
    asked.push_str("\r\n");
    stream.write_all(asked.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == MAX_TUNNEL_ANSWER {
            return Err(Failure::new(Kind::Unreachable, "the proxy's answer has no end"));
        }
        // Byte by byte: what follows is the target's.
        answer.push(stream.read_u8().await.map_err(broken)?);
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or(&[]);
    let line = String::from_utf8_lossy(line).into_owned();
    match line.split(' ').nth(1) {
        Some(status) if line.starts_with("HTTP/1.") && status.starts_with('2') => Ok(()),
        _ => Err(Failure::new(Kind::Unreachable, format!("the proxy makes no tunnel: {line:?}"))),
    }
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
            if body.len() + data.len() > MAX_BODY {
                let seen = format!("the answer is larger than {} MiB", MAX_BODY >> 20);
                return Err(Failure::new(Kind::TooLarge, seen));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(Answer { status, body })
}

fn broken(error: &hyper::Error) -> Failure {
    // hyper's errors say little without their cause.
    let seen = match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Failure::new(Kind::Broken, seen)
}

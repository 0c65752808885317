//! HTTP/1.1 GET over one connection that is kept.

use std::pin::{Pin, pin};

use http_body_util::{BodyExt as _, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::Connector;

/// Largest body that is read.
const MAX_BODY: usize = 16 << 20;

/// What TCP and TLS streams have in common.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

type Driver = Pin<Box<http1::Connection<TokioIo<Box<dyn Stream>>, Empty<Bytes>>>>;

/// A client for one URL.
pub(crate) struct Client {
    url: Result<Uri, String>,
    connector: Connector,
    open: Option<(SendRequest<Empty<Bytes>>, Driver)>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(url: &str, connector: &Connector) -> Self {
        let url = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"));
        Self { url, connector: connector.clone(), open: None }
    }

    /// Host of the URL; empty when it has none.
    pub(crate) fn host(&self) -> &str {
        self.url.as_ref().ok().and_then(Uri::host).unwrap_or("")
    }

    /// Asks once. A kept connection that turns out to be closed is replaced once. When it is dropped half-way, so is
    /// the connection.
    ///
    /// # Errors
    /// Why there is no answer, in words for the user.
    pub(crate) async fn get(&mut self) -> Result<Answer, String> {
        let url = self.url.clone()?;
        if let Some((sender, driver)) = self.open.take()
            && let Ok(answer) = self.exchange(&url, sender, driver).await
        {
            return Ok(answer);
        }
        let stream = self.connect(&url).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        self.exchange(&url, sender, Box::pin(connection)).await
    }

    async fn connect(&self, url: &Uri) -> Result<Box<dyn Stream>, String> {
        // IPv6 addresses stand in brackets.
        let host = url.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
        let tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let (config, name) = match &self.connector {
            Connector::Ready(config, name) => (config, name.as_deref().unwrap_or(host)),
            Connector::Broken(error) => return Err(error.clone()),
        };
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name:?} is not a server name for TLS"))?;
        let session = TlsConnector::from(std::sync::Arc::clone(config)).connect(name, stream).await;
        Ok(Box::new(session.map_err(|error| format!("TLS handshake with {host}:{port}: {error}"))?))
    }

    async fn exchange(
        &mut self,
        url: &Uri,
        mut sender: SendRequest<Empty<Bytes>>,
        mut driver: Driver,
    ) -> Result<Answer, String> {
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = hyper::Request::get(path)
            .header(HOST, url.authority().map_or("", |authority| authority.as_str()))
            .header(USER_AGENT, platform::PROBE_USER_AGENT)
            .header(ACCEPT, "text/plain;version=0.0.4,*/*;q=0.5")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = {
            let exchange = async {
                let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
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

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(|error| chain(&error))?.into_data() {
            if body.len() + data.len() > MAX_BODY {
                return Err(format!("the answer is larger than {} MiB", MAX_BODY >> 20));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(Answer { status, body })
}

/// hyper's errors say little without their cause.
fn chain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

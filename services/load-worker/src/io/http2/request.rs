//! A request as HTTP/2 has it: what a guest asked for, checked and completed.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};
use sandbox::abi;

use crate::io::wire::AGENT;
use crate::spec::Endpoint;

/// HTTP/2 cannot carry the request: its method, target, a header or the Host is none that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsendable;

/// A request, ready to be handed over.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) head: Request<()>,
    pub(super) body: Bytes,
    size: usize,
}

impl Outgoing {
    /// Makes a request of what a guest said: `data` holds target, headers (as the sandbox lays them out) and body, one
    /// behind the other. The Host that the guest names, else the endpoint's, becomes `:authority`. Headers that speak of
    /// an HTTP/1.1 connection are left out.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn new(
        endpoint: &Endpoint,
        method: &[u8],
        data: &[u8],
        target_end: usize,
        headers_end: usize,
    ) -> Result<Self, Unsendable> {
        let (headers_end, data) = (headers_end.min(data.len()), Bytes::copy_from_slice(data));
        let target_end = target_end.min(headers_end);
        let (target, headers) = (data.slice(..target_end), data.slice(target_end..headers_end));
        let body = data.slice(headers_end..);
        let mut fields = HeaderMap::with_capacity(8);
        let mut host = None;
        for (name, value) in abi::headers(&headers) {
            let name = HeaderName::from_bytes(name).map_err(|_| Unsendable)?;
            if name == HOST {
                host = Some(value);
                continue;
            }
            if is_of_connection(&name, value) {
                continue;
            }
            let value = HeaderValue::from_maybe_shared(headers.slice_ref(value)).map_err(|_| Unsendable)?;
            fields.try_append(name, value).map_err(|_| Unsendable)?;
        }
        let authority = host.unwrap_or(endpoint.host_header.as_bytes());
        if !fields.contains_key(USER_AGENT) {
            fields.append(USER_AGENT, HeaderValue::from_static(AGENT));
        }
        let expects_body = matches!(method, b"POST" | b"PUT" | b"PATCH");
        if !fields.contains_key(CONTENT_LENGTH) && (expects_body || !body.is_empty()) {
            fields.append(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let lines: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let size =
            method.len() + endpoint.base_path.len() + target.len() + authority.len() + lines + body.len();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(if endpoint.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(Authority::try_from(authority).map_err(|_| Unsendable)?);
        uri.path_and_query = Some(path(endpoint, target)?);
        let mut head = Request::new(());
        *head.method_mut() = Method::from_bytes(method).map_err(|_| Unsendable)?;
        *head.uri_mut() = Uri::from_parts(uri).map_err(|_| Unsendable)?;
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = fields;
        Ok(Self { head, body, size })
    }

    /// Bytes of method, path, authority, headers (each as a line of HTTP/1.1) and body: what is counted as sent. Frames
    /// and the compression of headers are not in it.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }
}

/// Whether a header is about the connection and not about the request (RFC 9113, section 8.2.2).
fn is_of_connection(name: &HeaderName, value: &[u8]) -> bool {
    name == CONNECTION
        || name == TRANSFER_ENCODING
        || name == UPGRADE
        || name.as_str() == "keep-alive"
        || name.as_str() == "proxy-connection"
        || (name == TE && !value.eq_ignore_ascii_case(b"trailers"))
}

/// The endpoint's path before the guest's. A fragment is no part of a request, so it is refused and not cut off.
fn path(endpoint: &Endpoint, target: Bytes) -> Result<PathAndQuery, Unsendable> {
    if target.contains(&b'#') {
        return Err(Unsendable);
    }
    let whole = if endpoint.base_path.is_empty() && target.first() == Some(&b'/') {
        target
    } else {
        let slash: &[u8] = if target.first() == Some(&b'/') { b"" } else { b"/" };
        [endpoint.base_path.as_bytes(), slash, &target].concat().into()
    };
    PathAndQuery::from_maybe_shared(whole).map_err(|_| Unsendable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut list = Vec::new();
        for (name, value) in fields {
            list.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            list.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
            list.extend_from_slice(name.as_bytes());
            list.extend_from_slice(value.as_bytes());
        }
        list
    }

    fn made(
        base_path: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Outgoing, Unsendable> {
        let endpoint = Endpoint {
            url: "http://shop:8080".into(),
            tls: None,
            addrs: vec!["127.0.0.1:8080".parse().unwrap()],
            host_header: "shop:8080".into(),
            base_path: base_path.into(),
            socket: None,
            tunnel: None,
            proxy_authorization: None,
            detour: None,
        };
        let mut data = target.as_bytes().to_vec();
        data.extend(list(headers));
        let headers_end = data.len();
        data.extend_from_slice(body.as_bytes());
        Outgoing::new(&endpoint, method.as_bytes(), &data, target.len(), headers_end)
    }

    #[test]
    fn targets_stand_behind_the_endpoints_path() {
        let uri =
            |base: &str, target: &str| made(base, "GET", target, &[], "").unwrap().head.uri().to_string();
        assert_eq!(uri("", "/a?b=c"), "http://shop:8080/a?b=c");
        assert_eq!(uri("/api", "/a"), "http://shop:8080/api/a");
        assert_eq!(uri("/api", "a"), "http://shop:8080/api/a");
        assert_eq!(uri("", "?q"), "http://shop:8080/?q");
    }

    #[test]
    fn completes_what_the_guest_left_out() {
        let get = made("", "GET", "/", &[("Accept", "*/*"), ("x-empty", "")], "").unwrap();
        let fields: Vec<_> =
            get.head.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let lines = format!("GET/shop:8080accept: */*\r\nx-empty: \r\nuser-agent: {AGENT}\r\n").len();
        assert_eq!(fields, [("accept", "*/*"), ("x-empty", ""), ("user-agent", AGENT)]);
        assert_eq!((get.body.len(), get.size()), (0, lines));
        let post = made("", "POST", "/", &[("user-agent", "me"), ("HOST", "other")], "0123456789").unwrap();
        assert_eq!(post.head.uri().to_string(), "http://other/");
        assert_eq!(
            (post.head.headers()["content-length"].as_bytes(), &post.body[..]),
            (&b"10"[..], &b"0123456789"[..])
        );
        assert_eq!(made("", "PUT", "/", &[], "").unwrap().head.headers()["content-length"], "0");
        let own = made("", "PUT", "/", &[("Content-Length", "3")], "abc").unwrap();
        assert_eq!(own.head.headers().get_all("content-length").iter().count(), 1);
    }

    #[test]
    fn what_http_2_does_not_know_is_refused() {
        for (method, target, headers) in [
            ("GET", "/a#b", &[][..]),
            ("GET", "/\u{7}", &[]),
            ("GET", "/", &[("Host", "two hosts")]),
            ("G T", "/", &[]),
            ("GET", "/", &[("a b", "")]),
        ] {
            assert_eq!(
                made("", method, target, headers, "").err(),
                Some(Unsendable),
                "{method} {target} {headers:?}"
            );
        }
        let of_connection =
            [("Connection", "close"), ("TE", "gzip"), ("upgrade", "h2c"), ("Transfer-Encoding", "chunked")];
        assert_eq!(made("", "GET", "/", &of_connection, "").unwrap().head.headers().len(), 1);
        assert_eq!(made("", "GET", "/", &[("te", "trailers")], "").unwrap().head.headers()["te"], "trailers");
    }
}

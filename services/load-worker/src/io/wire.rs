//! The request as bytes: what a guest asked for, checked and completed.

use sandbox::abi;

use crate::spec::Endpoint;

/// What the worker calls itself unless the guest names something else.
pub(super) const AGENT: &str = concat!("gauntlet/", env!("CARGO_PKG_VERSION"));

/// Appends the request to `out`. The sandbox has checked
/// target and headers, so that no guest can smuggle a second request into its first. `close` asks the peer to
/// close after the answer.
pub fn write(
    out: &mut Vec<u8>,
    endpoint: &Endpoint,
    method: &[u8],
    target: &[u8],
    headers: &[u8],
    body: &[u8],
    close: bool,
) {
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(endpoint.base_path.as_bytes());
    if target.first() != Some(&b'/') {
        out.push(b'/');
    }
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let (mut host, mut agent, mut framed, mut connection) = (false, false, false, false);
    let mut shown = endpoint.proxy_authorization.as_ref().filter(|_| endpoint.tunnel.is_none());
    for (name, value) in abi::headers(headers) {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => host = true,
            10 if name.eq_ignore_ascii_case(b"user-agent") => agent = true,
            10 if name.eq_ignore_ascii_case(b"connection") => connection = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => framed = true,
            19 if name.eq_ignore_ascii_case(b"proxy-authorization") => shown = None,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => framed = true,
            _ => {}
        }
        field(out, name, value);
    }
    if !host {
        field(out, b"Host", endpoint.host_header.as_bytes());
    }
    if let Some(shown) = shown {
        field(out, b"Proxy-Authorization", shown.as_bytes());
    }
    if !agent {
        field(out, b"User-Agent", AGENT.as_bytes());
    }
    let expects_body = matches!(method, b"POST" | b"PUT" | b"PATCH");
    if !framed && (expects_body || !body.is_empty()) {
        out.extend_from_slice(b"Content-Length: ");
        decimal(out, body.len());
        out.extend_from_slice(b"\r\n");
    }
    if close && !connection {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, mut value: usize) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
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

    fn endpoint() -> Endpoint {
        Endpoint {
            url: "http://shop:8080/api".into(),
            tls: None,
            addrs: vec!["127.0.0.1:8080".parse().unwrap()],
            socket: None,
            tunnel: None,
            proxy_authorization: None,
            host_header: "shop:8080".into(),
            base_path: "/api".into(),
            detour: None,
        }
    }

    fn written(method: &str, headers: &[(&str, &str)], body: &str, close: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, &endpoint(), method.as_bytes(), b"/a?b=c", &list(headers), body.as_bytes(), close);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_target_begins_with_a_slash() {
        let mut out = Vec::new();
        write(&mut out, &endpoint(), b"GET", b"x", &[], &[], false);
        assert!(out.starts_with(b"GET /api/x HTTP/1.1\r\n"));
    }

    #[test]
    fn completes_what_the_guest_left_out() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            written("GET", &[("accept", "*/*")], "", false),
            format!(
                "GET /api/a?b=c HTTP/1.1\r\naccept: */*\r\nHost: shop:8080\r\nUser-Agent: gauntlet/{version}\r\n\r\n"
            )
        );
        let post = written("POST", &[("user-agent", "me"), ("HOST", "other")], "0123456789", true);
        assert_eq!(
            post,
            "POST /api/a?b=c HTTP/1.1\r\nuser-agent: me\r\nHOST: other\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789"
        );
        assert!(written("PUT", &[], "", false).contains("Content-Length: 0\r\n"));
        assert!(!written("PUT", &[("Content-Length", "3")], "abc", false).contains("Content-Length: 0"));
    }

    #[test]
    fn who_asks_is_told_to_a_proxy_that_reads_the_request_and_to_nobody_else() {
        let written = |tunnel: Option<&str>, fields: &[(&str, &str)]| {
            let endpoint = Endpoint {
                tunnel: tunnel.map(str::to_owned),
                proxy_authorization: Some("Basic bWU6c2VjcmV0".into()),
                ..endpoint()
            };
            let mut out = Vec::new();
            write(&mut out, &endpoint, b"GET", b"/", &list(fields), &[], false);
            String::from_utf8(out).unwrap()
        };
        assert!(written(None, &[]).contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"));
        assert!(!written(Some("shop:443"), &[]).contains("Basic"));
        assert!(!written(None, &[("proxy-authorization", "Bearer x")]).contains("Basic"));
    }
}

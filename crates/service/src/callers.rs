//! Who may call an HTTP API.

use std::sync::Arc;

/// The token that callers must send; without one only requests to loopback names are answered, so that no web page can reach
/// the API through a name of its own. Clones are of the same API.
#[derive(Clone, Debug)]
pub struct Callers {
    token: Option<Arc<str>>,
}

/// A request that is not to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Its token is missing or wrong.
    Unauthorized,
    /// There is no token, and it is addressed to this host, which is not loopback.
    ForeignHost(String),
}

impl Callers {
    /// Those who send this token, or who call from this host.
    #[must_use]
    pub fn new(token: Option<String>) -> Self {
        Self { token: token.map(Arc::from) }
    }

    /// Whether a request with these headers, `Authorization` and `Host`, is to be answered.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, authorization: Option<&[u8]>, host: Option<&[u8]>) -> Result<(), Stranger> {
        if let Some(token) = &self.token {
            let sent = authorization.and_then(|value| value.strip_prefix(b"Bearer "));
            let is_right = sent.is_some_and(|sent| same(sent, token.as_bytes()));
            return if is_right { Ok(()) } else { Err(Stranger::Unauthorized) };
        }
        let host = String::from_utf8_lossy(host.unwrap_or_default());
        if is_loopback(&host) { Ok(()) } else { Err(Stranger::ForeignHost(host.into_owned())) }
    }
}

/// Compares in a time that does not tell where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_loopback_names_are_answered() {
        let callers = Callers::new(None);
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80", "[::1]"] {
            assert_eq!(callers.admit(None, Some(host.as_bytes())), Ok(()), "{host}");
        }
        for host in ["", "example.org", "10.0.0.1:80", "localhost.example.org", "[2001:db8::1]:80"] {
            assert_eq!(
                callers.admit(None, Some(host.as_bytes())),
                Err(Stranger::ForeignHost(host.to_owned()))
            );
        }
        assert_eq!(callers.admit(None, None), Err(Stranger::ForeignHost(String::new())));
    }

    #[test]
    fn with_a_token_it_alone_counts() {
        let callers = Callers::new(Some("abc".to_owned()));
        assert_eq!(callers.admit(Some(b"Bearer abc"), Some(b"example.org")), Ok(()));
        for sent in [None, Some("Bearer abd"), Some("Bearer ab"), Some("abc"), Some("Basic abc")]
            .map(|sent| sent.map(str::as_bytes))
        {
            assert_eq!(callers.admit(sent, Some(b"localhost")), Err(Stranger::Unauthorized), "{sent:?}");
        }
    }
}

//! HTTP proxies on the way to a target, and what they are shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// An HTTP proxy, of the text in the plan.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`, an IPv6 address in brackets.
    pub address: String,
    /// The value of `Proxy-Authorization` (RFC 7617) where the plan has a user and a password. A secret: it belongs in no
    /// message.
    pub authorization: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Reads `http://user:password@host:port` with or without `http://` and `user:password@`, which the plan has
    /// checked. User and password are percent-decoded.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (credentials, address) = match bare.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, bare),
        };
        let authorization = credentials.map(|credentials| {
            let decoded: Vec<u8> = percent_decode_str(credentials).collect();
            format!("Basic {}", STANDARD.encode(decoded))
        });
        Self { address: address.to_owned(), authorization }
    }
}

/// What is wrong with `user:password`: a problem and its mend.
pub(crate) fn check_credentials(credentials: &str) -> Result<(), (&'static str, &'static str)> {
    let escape = "write other characters than letters, digits and -._~ as % and two hexadecimal digits";
    let Some((user, _)) = credentials.split_once(':') else {
        return Err(("found a user without a password", "write http://user:password@host:port"));
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#@[]<>\"\\^`{|}".contains(&byte);
    if !credentials.bytes().all(plain) {
        return Err(("found a character that has to be written otherwise in user or password", escape));
    }
    let mut parts = credentials.split('%');
    parts.next();
    for part in parts {
        if !part.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(("found a % without two hexadecimal digits in user or password", escape));
        }
    }
    let decoded: Vec<u8> = percent_decode_str(credentials).collect();
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(("found a control character in user or password", "leave it out"));
    }
    if percent_decode_str(user).any(|byte| byte == b':') {
        return Err(("found a colon in the user", "no proxy can tell it from the password: leave it out"));
    }
    Ok(())
}

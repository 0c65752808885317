//! The cookies of one user, as far as one target and no clock need them.
//!
//! All requests of a scenario go to one host, so `Domain` says nothing; there is no clock, so a cookie ends only
//! when the target deletes it (`Max-Age` of 0 or less, or an `Expires` in 1970). `Path` is compared with the literal
//! beginning of the step's path. `Secure` cookies are sent over plain HTTP, too: a test target behind no TLS would
//! otherwise lose its sessions.

use gauntlet_sdk::Part;

/// Cookies that one user keeps at most; a further one takes the place of the oldest.
const MAX_COOKIES: usize = 20;
/// Bytes of names and values that one user keeps at most.
const MAX_BYTES: usize = 1_536;

#[derive(Clone, Debug, Default)]
pub(crate) struct Jar {
    cookies: Vec<Cookie>,
}

#[derive(Clone, Debug)]
struct Cookie {
    name: Box<[u8]>,
    value: Box<[u8]>,
    path: Box<[u8]>,
}

impl Cookie {
    fn size(&self) -> usize {
        self.name.len() + self.value.len() + self.path.len()
    }
}

impl Jar {
    /// Takes a `Set-Cookie` value. One that is not a cookie, or too large, is left out.
    pub(crate) fn set(&mut self, header: &[u8]) {
        let Some(Parsed { name, value, path, delete }) = parse(header) else { return };
        self.cookies.retain(|cookie| *cookie.name != *name || *cookie.path != *path);
        if delete {
            return;
        }
        let cookie = Cookie { name: name.into(), value: value.into(), path: path.into() };
        if cookie.size() > MAX_BYTES {
            return;
        }
        self.cookies.push(cookie);
        while self.cookies.len() > MAX_COOKIES
            || self.cookies.iter().map(Cookie::size).sum::<usize>() > MAX_BYTES
        {
            self.cookies.remove(0);
        }
    }

    /// Whether any cookie goes with a request to this path.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.cookies.iter().any(|cookie| covers(&cookie.path, path))
    }

    /// Writes the value of the `Cookie` header.
    pub(crate) fn write(&self, part: &mut Part<'_>, path: &[u8]) {
        let mut separator: &[u8] = b"";
        for cookie in self.cookies.iter().filter(|cookie| covers(&cookie.path, path)) {
            for piece in [separator, &*cookie.name, b"=", &*cookie.value] {
                part.push(piece);
            }
            separator = b"; ";
        }
    }
}

/// The value that a `Set-Cookie` header gives to this cookie.
pub(crate) fn value_of<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    parse(header).filter(|cookie| cookie.name == name.as_bytes() && !cookie.delete).map(|cookie| cookie.value)
}

struct Parsed<'a> {
    name: &'a [u8],
    value: &'a [u8],
    path: &'a [u8],
    delete: bool,
}

fn parse(header: &[u8]) -> Option<Parsed<'_>> {
    let mut attributes = header.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let (name, value) = pair(attributes.next()?);
    let value = value.filter(|_| !name.is_empty())?;
    let mut parsed = Parsed { name, value, path: b"/", delete: false };
    for attribute in attributes {
        let (key, value) = pair(attribute);
        let value = value.unwrap_or(b"");
        if key.eq_ignore_ascii_case(b"path") && value.starts_with(b"/") {
            parsed.path = value;
        } else if key.eq_ignore_ascii_case(b"max-age") {
            parsed.delete = value == b"0" || value.starts_with(b"-");
        } else if key.eq_ignore_ascii_case(b"expires") {
            parsed.delete |= value.windows(4).any(|window| window == b"1970");
        }
    }
    Some(parsed)
}

fn pair(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == b'=') {
        Some(at) => (text[..at].trim_ascii(), Some(text[at + 1..].trim_ascii())),
        None => (text, None),
    }
}

/// Whether a cookie of this path goes with a request to that one (RFC 6265, 5.1.4).
fn covers(cookie: &[u8], request: &[u8]) -> bool {
    let request = request.split(|&byte| byte == b'?').next().unwrap_or(request);
    let Some(rest) = request.strip_prefix(cookie) else { return false };
    rest.is_empty() || cookie.ends_with(b"/") || rest.starts_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(jar: &Jar, path: &str) -> Vec<String> {
        let cookies = jar.cookies.iter().filter(|cookie| covers(&cookie.path, path.as_bytes()));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        cookies.map(|cookie| format!("{}={}", text(&cookie.name), text(&cookie.value))).collect()
    }

    fn jar(headers: &[&str]) -> Jar {
        let mut jar = Jar::default();
        headers.iter().for_each(|header| jar.set(header.as_bytes()));
        jar
    }

    #[test]
    fn a_later_cookie_replaces_its_namesake() {
        let jar = jar(&[
            "a=1; HttpOnly",
            "b=x=y ; Secure; SameSite=Lax",
            "a=2; Path=/",
            "c=\"q\"; Domain=.example",
        ]);
        assert_eq!(names(&jar, "/"), ["b=x=y", "a=2", "c=\"q\""]);
    }

    #[test]
    fn the_target_deletes_cookies() {
        let set = ["a=1", "b=2", "c=3", "d=4"];
        let gone = [
            "a=; Max-Age=0",
            "b=; max-age=-1",
            "c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "d=5; Max-Age=60; Path=/",
        ];
        assert_eq!(names(&jar(&[&set[..], &gone].concat()), "/"), ["d=5"]);
    }

    #[test]
    fn paths_cover_what_is_under_them() {
        assert!(!jar(&["a=1; Path=/x"]).has(b"/shop"));
        let jar = jar(&["root=1", "shop=2; Path=/shop", "slash=3; Path=/shop/"]);
        assert_eq!(names(&jar, "/"), ["root=1"]);
        assert_eq!(names(&jar, "/shop"), ["root=1", "shop=2"]);
        assert_eq!(names(&jar, "/shop?x=/shop/"), ["root=1", "shop=2"]);
        assert_eq!(names(&jar, "/shop/1"), ["root=1", "shop=2", "slash=3"]);
        assert_eq!(names(&jar, "/shopping"), ["root=1"]);
        assert!(jar.has(b"/shop"));
    }

    #[test]
    fn what_is_no_cookie_is_left_out() {
        assert_eq!(names(&jar(&["", ";", "novalue", "=x", "Path=/; a=1"]), "/"), ["Path=/"]);
    }

    #[test]
    fn a_user_keeps_a_bounded_amount() {
        let mut jar = Jar::default();
        for index in 0..100 {
            jar.set(format!("name{index}=v").as_bytes());
        }
        assert_eq!(jar.cookies.len(), MAX_COOKIES);
        assert!(names(&jar, "/").contains(&"name99=v".to_owned()));
        jar.set(format!("large={}", "x".repeat(1_500)).as_bytes());
        assert_eq!(jar.cookies.len(), 4, "the large one and the three newest that fit beside it");
        jar.set(format!("huge={}", "x".repeat(2_000)).as_bytes());
        assert!(!names(&jar, "/").iter().any(|cookie| cookie.starts_with("huge")));
    }

    #[test]
    fn extraction_reads_one_cookie() {
        assert_eq!(value_of(b"sid=abc; Path=/", "sid"), Some(&b"abc"[..]));
        assert_eq!(value_of(b"sid=abc", "other"), None);
        assert_eq!(value_of(b"sid=; Max-Age=0", "sid"), None);
    }
}

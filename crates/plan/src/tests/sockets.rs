//! Targets on Unix sockets and behind proxies.

use std::path::{Path, PathBuf};

use super::errors::only;
use super::parse;

fn plan(target: &str, rest: &str) -> String {
    format!("[targets.shop]\nurl = \"http://shop/api\"\n{target}\n[[scenarios]]\nguest = \"http\"\n{rest}")
}

#[test]
fn a_socket_is_read_printed_and_leads_to_the_targets_own_urls() {
    let read = parse(&plan("socket = \"/run/app.sock\"", "")).unwrap();
    let shop = &read.targets[0];
    assert_eq!(shop.socket, Some(PathBuf::from("/run/app.sock")));
    assert_eq!(crate::parse(&read.to_toml(), Path::new("shop.toml")).unwrap(), read);
    let way = Some("unix:/run/app.sock".to_owned());
    for own in ["http://shop", "http://shop/api", "http://shop/health?a=b"] {
        assert_eq!(shop.way_to(own), way, "{own}");
    }
    for other in ["https://shop/api", "http://shop:81/api", "http://shopping/api"] {
        assert_eq!(shop.way_to(other), None, "{other}");
    }
    let plain = parse(&plan("", "")).unwrap();
    assert_eq!((&plain.targets[0].socket, plain.targets[0].way_to("http://shop/api")), (&None, None));
}

#[test]
fn what_is_no_socket_of_one_endpoint_is_refused() {
    let long = format!("socket = \"/{}\"", "x".repeat(107));
    for (target, words) in [
        ("socket = \"run/app.sock\"", "an absolute path"),
        ("socket = \"unix:///run/app.sock\"", "an absolute path"),
        (long.as_str(), "at most 107 bytes"),
    ] {
        let said = only(parse(&plan(target, ""))).to_string();
        assert!(said.contains("targets.shop.socket") && said.contains(words), "{said}");
    }
    let two = "targets.shop = { url = [\"http://a\", \"http://b\"], socket = \"/run/app.sock\" }\n\
               scenarios = [{ guest = \"http\" }]";
    let said = only(parse(two)).to_string();
    assert!(said.contains("one endpoint"), "{said}");
}

#[test]
fn what_is_done_to_tcp_cannot_be_done_to_a_socket() {
    let fault = "[[chaos]]\nrecipe = \"latency\"\ntarget = \"shop\"\nduration = \"1s\"\nlatency = \"5ms\"\nstop = \"none\"\n";
    let said = only(parse(&plan("socket = \"/run/app.sock\"\nchaos = true", fault))).to_string();
    assert!(said.contains("Unix socket"), "{said}");
    let recovery = "[recovery.shop]\nstrategy = [\"failover\"]\nbackup = { url = \"http://spare\" }\n";
    let said = only(parse(&plan("socket = \"/run/app.sock\"", recovery))).to_string();
    assert!(said.contains("Unix socket"), "{said}");
}

#[test]
fn a_proxy_is_read_printed_and_stands_in_the_way() {
    let read = parse(&plan("proxy = \"http://127.0.0.1:3128/\"", "")).unwrap();
    let shop = &read.targets[0];
    assert_eq!(shop.proxy.as_deref(), Some("http://127.0.0.1:3128"));
    assert_eq!(shop.way_to("http://shop/health").as_deref(), Some("proxy:127.0.0.1:3128"));
    assert_eq!(shop.way_to("http://other/health"), None);
    assert_eq!(parse(&read.to_toml()).unwrap(), read);
    for (target, words) in [
        ("proxy = \"https://proxy:3128\"", "expected http://host:port"),
        ("proxy = \"http://proxy:3128/path\"", "leave out the path"),
        ("proxy = \"http://proxy\"", "name the port"),
        ("proxy = \"http://me@proxy:3128\"", "a user without a password"),
        ("proxy = \"http://me:100%@proxy:3128\"", "two hexadecimal digits"),
        ("proxy = \"http://me:a b@proxy:3128\"", "written otherwise"),
        ("proxy = \"http://me:a%0Ab@proxy:3128\"", "a control character"),
        ("proxy = \"http://m%3Ae:secret@proxy:3128\"", "a colon in the user"),
        ("proxy = \"https://me:secret@proxy:3128\"", "expected http://host:port"),
        ("proxy = \"http://me:secret@proxy\"", "name the port"),
        ("proxy = \"http://proxy\"\nsocket = \"/run/app.sock\"", "not reached through a proxy"),
    ] {
        let said = only(parse(&plan(target, "")));
        let said = format!("{said} {}", said.mend);
        assert!(said.contains("targets.shop.proxy") && said.contains(words), "{said}");
    }
    let said = only(parse(&plan("proxy = \"http://proxy:3128\"\nhttp = \"2\"", ""))).to_string();
    assert!(said.contains("HTTP/2 without TLS"), "{said}");
    let recovery = "[recovery.shop]\nstrategy = [\"failover\"]\nbackup = { url = \"http://spare\" }\n";
    let said = only(parse(&plan("proxy = \"http://proxy:3128\"", recovery))).to_string();
    assert!(said.contains("through a proxy"), "{said}");
}

#[test]
fn what_a_proxy_is_shown_is_read_and_printed_and_not_told() {
    let read = parse(&plan("proxy = \"http://Aladdin:open%20sesame@[::1]:3128/\"", "")).unwrap();
    let shop = &read.targets[0];
    assert_eq!(shop.proxy.as_deref(), Some("http://Aladdin:open%20sesame@[::1]:3128"));
    assert_eq!(parse(&read.to_toml()).unwrap(), read);
    let way = shop.way_to("http://shop/health").unwrap();
    let proxy = crate::Proxy::of(way.strip_prefix("proxy:").unwrap());
    assert_eq!(proxy.address, "[::1]:3128");
    // The example of RFC 7617, section 2.
    assert_eq!(proxy.authorization.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert!(!format!("{proxy:?}").contains("Basic"), "{proxy:?}");
    assert_eq!(crate::Proxy::of("http://127.0.0.1:3128").authorization, None);
}

//! Targets resolved: addresses, Host headers, TLS, and the detours through the fault proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::Proxy;
use plan::model::{Http, Target};
use protocol::v1;
use rustls_pki_types::ServerName;

use super::prepare::{Kind, problem};
use super::tls::{TlsFiles, client_config};
use crate::spec::{Detour, Endpoint, TargetSpec, TlsSpec};

/// The parts of a base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    https: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    host_header: String,
    base_path: String,
}

impl Url {
    /// `host:port`, with the port in any case.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The plan has checked its URLs; `None` is for those that it would have refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.rfind(':') {
            Some(at) if !authority.ends_with(']') => {
                (authority.get(..at)?, authority.get(at + 1..)?.parse().ok()?)
            }
            _ => (authority, if https { 443 } else { 80 }),
        };
        let default = port == if https { 443 } else { 80 };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return None;
        }
        Some(Self {
            https,
            host: bare.to_owned(),
            port,
            host_header: if default { host.to_owned() } else { format!("{host}:{port}") },
            base_path: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// Resolves all targets and detours; adds all that is wrong to `problems`.
pub(crate) async fn resolve(
    targets: &[Target],
    detours: &[v1::Detour],
    files: &BTreeMap<String, PathBuf>,
    timeout: Duration,
    problems: &mut Vec<v1::Problem>,
) -> Vec<TargetSpec> {
    let mut resolved = Vec::with_capacity(targets.len());
    for target in targets {
        let mut endpoints = Vec::with_capacity(target.urls.len());
        for url in &target.urls {
            match endpoint(target, url, files, timeout).await {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(problem) => problems.push(problem),
            }
        }
        let http2 = match target.http {
            Http::One => None,
            Http::Two { streams } => Some(streams),
        };
        resolved.push(TargetSpec {
            name: target.name.clone(),
            endpoints,
            balance: target.balancing.policy,
            outlier_detection: target.balancing.outlier_detection.clone(),
            http2,
            keep_alive: target.keep_alive,
        });
    }
    // Where an endpoint is wrong their numbers are, too.
    if problems.is_empty() {
        for command in detours {
            if let Err(problem) = detour(command, &mut resolved, timeout).await {
                problems.push(problem);
            }
        }
    }
    resolved
}

/// Resolves a detour and puts it beside its endpoint's own addresses.
async fn detour(
    command: &v1::Detour,
    targets: &mut [TargetSpec],
    timeout: Duration,
) -> Result<(), v1::Problem> {
    let v1::Detour { target, endpoint, address, phases } = command;
    let name = || format!("detour of target {target}, endpoint {endpoint}");
    let found = targets.iter_mut().find(|one| one.name == *target);
    let Some(found) = found.and_then(|one| one.endpoints.get_mut(*endpoint as usize)) else {
        let message = format!("{}: the plan has no such endpoint", name());
        return Err(problem(Kind::Environment, message, "report this as a bug"));
    };
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = parts else {
        let message = format!("{}: {address:?} is no address; expected host:port", name());
        return Err(problem(Kind::Environment, message, "report this as a bug"));
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addrs = addresses(bare, port, timeout).await.map_err(|why| {
        let message = format!("{}: the host of the fault proxy, {host}, cannot be resolved: {why}", name());
        let mend = "let the fault proxy listen where this worker can find it (`proxy-address` of chaos)";
        problem(Kind::Environment, message, mend)
    })?;
    found.detour = Some(Detour { addrs, phases: phases.iter().copied().collect() });
    Ok(())
}

async fn endpoint(
    target: &Target,
    text: &str,
    files: &BTreeMap<String, PathBuf>,
    timeout: Duration,
) -> Result<Endpoint, v1::Problem> {
    let name = &target.name;
    let url = Url::parse(text).ok_or_else(|| {
        let message =
            format!("target {name}: {text} is no base URL; expected http://host[:port][/path] or https://…");
        problem(Kind::Plan, message, "mend `url` of the target")
    })?;
    let tls = if url.https { Some(tls(target, &url, files)?) } else { None };
    let addrs = if let Some(socket) = &target.socket {
        listening(name, socket, timeout).await?;
        Vec::new()
    } else if let Some(proxy) = &target.proxy {
        by_proxy(name, proxy, timeout).await?
    } else {
        addresses(&url.host, url.port, timeout).await.map_err(|why| {
            let message = format!("target {name}: the host {} of {text} cannot be resolved: {why}", url.host);
            problem(Kind::Environment, message, "check the name, or write the address into `url`")
        })?
    };
    let proxy_authorization = target.proxy.as_ref().and_then(|proxy| Proxy::of(proxy).authorization);
    let (tunnel, base_path) = match (&target.proxy, url.https) {
        (Some(_), true) => (Some(url.authority()), url.base_path),
        (Some(_), false) => (None, format!("http://{}{}", url.host_header, url.base_path)),
        (None, _) => (None, url.base_path),
    };
    let socket = target.socket.clone();
    let (url, host_header) = (text.to_owned(), url.host_header);
    Ok(Endpoint {
        url,
        tls,
        addrs,
        socket,
        tunnel,
        proxy_authorization,
        host_header,
        base_path,
        detour: None,
    })
}

/// Addresses of the proxy that a target is reached through.
async fn by_proxy(name: &str, proxy: &str, timeout: Duration) -> Result<Vec<SocketAddr>, v1::Problem> {
    let url = Url::parse(&format!("http://{}", Proxy::of(proxy).address)).ok_or_else(|| {
        let message = format!("target {name}: its `proxy` is none; expected http://host:port");
        problem(Kind::Plan, message, "mend `proxy` of the target")
    })?;
    addresses(&url.host, url.port, timeout).await.map_err(|why| {
        let message = format!("target {name}: the host {} of its proxy cannot be resolved: {why}", url.host);
        problem(Kind::Environment, message, "check the name, or write the address into `proxy`")
    })
}

/// Waits until somebody listens on a target's socket: its process may have been started just now, and nothing else of it
/// may tell when it is ready.
async fn listening(name: &str, socket: &Path, timeout: Duration) -> Result<(), v1::Problem> {
    const PAUSE: Duration = Duration::from_millis(20);
    let connect = async {
        while tokio::net::UnixStream::connect(socket).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(timeout, connect).await.is_ok() {
        return Ok(());
    }
    let Err(why) = tokio::net::UnixStream::connect(socket).await else { return Ok(()) };
    let message = format!("target {name}: cannot connect to its socket {}: {why}", socket.display());
    Err(problem(
        Kind::Environment,
        message,
        "start the target on this host first, or mend `socket` of the target",
    ))
}

fn tls(target: &Target, url: &Url, files: &BTreeMap<String, PathBuf>) -> Result<TlsSpec, v1::Problem> {
    let name = &target.name;
    let file = |kind: &str| {
        let wanted = format!("{kind}:{name}");
        files.get(&wanted).map(PathBuf::as_path).ok_or_else(|| {
            let message = format!("target {name}: the bundle has no file {wanted}");
            problem(
                Kind::Plan,
                message,
                "start the run from the plan's directory, so that its files are bundled",
            )
        })
    };
    let ca: Option<&Path> = target.tls.ca.as_ref().map(|_| file("ca")).transpose()?;
    let client = match &target.tls.client {
        Some(_) => Some((file("cert")?, file("key")?)),
        None => None,
    };
    let config = client_config(target, TlsFiles { ca, client })
        .map_err(|(message, mend)| problem(Kind::Plan, message, mend))?;
    let wanted = target.tls.server_name.as_deref().unwrap_or(&url.host);
    let server_name = ServerName::try_from(wanted.to_owned()).map_err(|_| {
        let message = format!("target {name}: {wanted:?} is neither a DNS name nor an address");
        problem(Kind::Plan, message, "set `tls.server-name` of the target to a name in its certificate")
    })?;
    Ok(TlsSpec { config, resumption: target.tls.resumption, server_name })
}

async fn addresses(host: &str, port: u16, timeout: Duration) -> Result<Vec<SocketAddr>, String> {
    // An address needs no resolver, and so none of its threads.
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = tokio::time::timeout(timeout, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| format!("no answer within {timeout:?}"))?
        .map_err(|e| e.to_string())?;
    let mut all: Vec<SocketAddr> = Vec::new();
    for addr in found {
        if !all.contains(&addr) {
            all.push(addr);
        }
    }
    if all.is_empty() { Err("the resolver knows no address".to_owned()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            url: format!("http://127.0.0.1:{port}"),
            tls: None,
            addrs: vec![SocketAddr::from(([127, 0, 0, 1], port))],
            socket: None,
            tunnel: None,
            proxy_authorization: None,
            host_header: format!("127.0.0.1:{port}"),
            base_path: String::new(),
            detour: None,
        }
    }

    #[tokio::test]
    async fn a_proxy_is_connected_to_in_the_targets_place() {
        let plan = |url: &str| {
            let text = format!(
                "[targets.shop]\nurl = \"{url}\"\nproxy = \"http://me:secret@127.0.0.1:3128\"\ntls = {{ insecure = true }}\n\
                 [[scenarios]]\nguest = \"http\"\n"
            );
            plan::parse(&text, Path::new("plan.toml")).unwrap()
        };
        let mut seen = Vec::new();
        for url in ["http://shop:8080/api", "https://shop/api", "https://[::1]:8443"] {
            let target = plan(url).targets.remove(0);
            let made = super::endpoint(&target, url, &BTreeMap::new(), Duration::from_secs(5)).await.unwrap();
            assert_eq!(made.addrs, ["127.0.0.1:3128".parse::<SocketAddr>().unwrap()]);
            assert_eq!(made.proxy_authorization.as_deref(), Some("Basic bWU6c2VjcmV0"));
            seen.push((made.tunnel, made.host_header, made.base_path));
        }
        let own = |tunnel: Option<&str>, host: &str, path: &str| {
            (tunnel.map(str::to_owned), host.to_owned(), path.to_owned())
        };
        assert_eq!(
            seen,
            [
                own(None, "shop:8080", "http://shop:8080/api"),
                own(Some("shop:443"), "shop", "/api"),
                own(Some("[::1]:8443"), "[::1]:8443", ""),
            ]
        );
    }

    #[tokio::test]
    async fn a_socket_is_waited_for_and_missed_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let (here, gone) = (dir.path().join("here"), dir.path().join("gone"));
        let late = async {
            tokio::task::yield_now().await;
            tokio::net::UnixListener::bind(&here).unwrap()
        };
        let (found, _listener) = tokio::join!(listening("shop", &here, Duration::from_secs(20)), late);
        found.unwrap();
        let problem = listening("shop", &gone, Duration::from_millis(50)).await.unwrap_err();
        assert!(problem.message.contains(gone.to_str().unwrap()), "{problem:?}");
    }

    #[tokio::test]
    async fn detours_stand_beside_the_endpoints_own_addresses() {
        let endpoints = vec![endpoint(1), endpoint(2)];
        let mut targets = [TargetSpec {
            name: "shop".to_owned(),
            endpoints,
            balance: plan::model::Balance::default(),
            outlier_detection: None,
            http2: None,
            keep_alive: true,
        }];
        let told = |target: &str, endpoint, address: &str| v1::Detour {
            target: target.to_owned(),
            endpoint,
            address: address.to_owned(),
            phases: vec![2, 4],
        };
        let timeout = Duration::from_secs(5);
        detour(&told("shop", 1, "[::1]:9"), &mut targets, timeout).await.unwrap();
        let [first, second] = &targets[0].endpoints[..] else { panic!("two endpoints") };
        assert!(!first.is_detoured_in(2));
        assert_eq!([1, 2, 3, 4].map(|phase| second.is_detoured_in(phase)), [false, true, false, true]);
        assert_eq!(second.way(true), ["[::1]:9".parse::<SocketAddr>().unwrap()]);
        assert_eq!((second.way(false), second.host_header.as_str()), (&second.addrs[..], "127.0.0.1:2"));
        for (wrong, why) in [
            (told("shop", 2, "127.0.0.1:9"), "no such endpoint"),
            (told("other", 0, "127.0.0.1:9"), "no such endpoint"),
            (told("shop", 0, "127.0.0.1"), "expected host:port"),
        ] {
            let problem = detour(&wrong, &mut targets, timeout).await.unwrap_err();
            assert!(problem.message.contains(why), "{problem:?}");
        }
    }

    fn parts(text: &str) -> (bool, String, u16, String, String) {
        let Url { https, host, port, host_header, base_path } = Url::parse(text).unwrap();
        (https, host, port, host_header, base_path)
    }

    #[test]
    fn urls_come_apart() {
        let own = |https, host: &str, port, header: &str, path: &str| {
            (https, host.to_owned(), port, header.to_owned(), path.to_owned())
        };
        assert_eq!(parts("http://h"), own(false, "h", 80, "h", ""));
        assert_eq!(parts("https://h/"), own(true, "h", 443, "h", ""));
        assert_eq!(parts("http://h:8080/a/b/"), own(false, "h", 8080, "h:8080", "/a/b"));
        assert_eq!(parts("https://[::1]:8443/x?y=1"), own(true, "::1", 8443, "[::1]:8443", "/x"));
        assert_eq!(parts("http://[::1]"), own(false, "::1", 80, "[::1]", ""));
        for bad in ["h", "ftp://h", "http://", "http://h:x"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }
}

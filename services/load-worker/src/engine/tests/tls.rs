//! TLS as a plan says it, against a server that keeps what each handshake was.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::rig::{PATIENCE, Rig, fire, rate, until, wait_for};
use super::server::read_request;
use crate::control::endpoints;
use crate::spec::TargetSpec;

const GRACE: Duration = Duration::from_secs(20);

/// What a server saw of a handshake that succeeded.
#[derive(Clone, Debug, PartialEq)]
struct Handshake {
    kind: Option<HandshakeKind>,
    version: Option<ProtocolVersion>,
    /// The name that the client asked for.
    name: Option<String>,
    /// The client has shown a certificate.
    client: bool,
}

/// How an answer ends.
#[derive(Clone, Copy)]
enum Way {
    /// These bytes; the connection is kept.
    Keep(&'static [u8]),
    /// These bytes, a close alert, and the socket is closed.
    Close(&'static [u8]),
    /// These bytes, and the socket is closed without a close alert, as whoever is in between could do it.
    Cut(&'static [u8]),
}

/// Whom a server lets in.
#[derive(Clone, Copy, PartialEq)]
enum Clients {
    All,
    Certified,
}

/// A server for `shop.test` and `localhost`; in `dir`: `ca.pem`, `client.pem`, `client-key.pem`, and `other.pem`, a CA
/// that has certified nobody.
struct Secure {
    addr: SocketAddr,
    dir: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Handshake>>>,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Secure {
    fn start(versions: &[&'static rustls::SupportedProtocolVersion], clients: Clients, way: Way) -> Self {
        let (ca, other) = (authority(), authority());
        let signed = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let key = KeyPair::generate().unwrap();
            (CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap(), key)
        };
        let ((cert, key), (client, client_key)) = (signed(&["shop.test", "localhost"]), signed(&["client"]));
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        write("ca.pem", ca.pem());
        write("other.pem", other.pem());
        write("client.pem", client.pem());
        write("client-key.pem", client_key.serialize_pem());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let config = if clients == Clients::Certified {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            config.with_client_cert_verifier(verifier.unwrap())
        } else {
            config.with_no_client_auth()
        };
        let key = key.serialize_der().try_into().unwrap();
        let config = Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Handshake>>>::default();
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (config, log) = (Arc::clone(&config), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, config, way, &log));
            }
        });
        Self { addr, dir, seen }
    }

    /// The target as the worker has it of a plan with these keys; `DIR` in them is where the files are.
    fn target(&self, host: &str, keys: &str) -> TargetSpec {
        let url = format!("https://{host}:{}", self.addr.port());
        let keys = keys.replace("DIR", self.dir.path().to_str().unwrap());
        let text = format!("[targets.shop]\nurl = \"{url}\"\n{keys}\n[[scenarios]]\nguest = \"http\"\n");
        let plan = plan::parse(&text, Path::new("plan.toml")).unwrap();
        let files = plan.bundle_files().into_iter().map(|file| (file.name, file.path)).collect();
        let mut problems = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resolving = endpoints::resolve(&plan.targets, &[], &files, PATIENCE, &mut problems);
        let mut targets = runtime.block_on(resolving);
        assert_eq!(problems, []);
        targets.remove(0)
    }

    fn handshakes(&self) -> Vec<Handshake> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, way: Way, log: &Mutex<Vec<Handshake>>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut buffer = Vec::new();
    let mut known = false;
    while read_request(&mut stream, &mut buffer).is_some() {
        if !std::mem::replace(&mut known, true) {
            log.lock().unwrap().push(Handshake {
                kind: stream.conn.handshake_kind(),
                version: stream.conn.protocol_version(),
                name: stream.conn.server_name().map(str::to_owned),
                client: stream.conn.peer_certificates().is_some(),
            });
        }
        let (Way::Keep(answer) | Way::Close(answer) | Way::Cut(answer)) = way;
        let _ = stream.write_all(answer);
        match way {
            Way::Keep(_) => continue,
            Way::Close(_) => stream.conn.send_close_notify(),
            Way::Cut(_) => {}
        }
        let _ = stream.flush();
        let _ = stream.sock.shutdown(Shutdown::Write);
        break;
    }
    // A close with bytes unread would be a reset, which may overtake the alert.
    while stream.sock.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BOTH: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;
const TRUSTING: &str = "ca = \"DIR/ca.pem\", server-name = \"shop.test\"";

/// Ten requests, one after the other; how many were answered, and the classes of the others.
fn ten(target: TargetSpec) -> (u64, Vec<(String, u64)>) {
    let mut rig = Rig::with(vec![], vec![fire(|_| {})], |spec| spec.targets = vec![target]);
    let mut spec = rig.phase(rate(50.0), Duration::from_millis(200));
    (spec.connections, spec.total_connections) = (1, 1);
    (spec.users, spec.total_users, spec.capacity) = (1, 1, 1);
    rig.begin(&spec);
    let mut errors = BTreeMap::new();
    let mut ended = 0;
    wait_for("all ten to end", || {
        let batch = rig.samples();
        for error in batch.series.iter().flat_map(|series| &series.errors) {
            *errors.entry(error.class.clone()).or_default() += error.count;
        }
        ended += batch.series.iter().map(|series| series.answered + series.failed).sum::<u64>();
        ended == 10
    });
    let (counts, _) = rig.end(1, GRACE);
    assert_eq!((counts.scheduled, counts.answered + counts.failed), (10, 10), "{counts:?}");
    (counts.answered, errors.into_iter().collect())
}

#[test]
fn each_request_has_a_handshake_where_connections_are_not_kept_and_it_is_full_where_sessions_are_not() {
    let server = Secure::start(BOTH, Clients::All, Way::Keep(ANSWER));
    for (version, spoken) in [("1.2", ProtocolVersion::TLSv1_2), ("1.3", ProtocolVersion::TLSv1_3)] {
        for (keep_alive, resumption, full, resumed) in
            [(false, true, 1, 9), (false, false, 10, 0), (true, true, 1, 0), (true, false, 1, 0)]
        {
            let keys = format!(
                "keep-alive = {keep_alive}\n\
                 tls = {{ {TRUSTING}, min-version = \"{version}\", max-version = \"{version}\", resumption = {resumption} }}"
            );
            let case = format!("TLS {version}, keep-alive {keep_alive}, resumption {resumption}");
            assert_eq!(ten(server.target("127.0.0.1", &keys)), (10, vec![]), "{case}");
            let seen = server.handshakes();
            let count = |kind| seen.iter().filter(|seen| seen.kind == Some(kind)).count();
            assert_eq!(
                (count(HandshakeKind::Full), count(HandshakeKind::Resumed), seen.len()),
                (full, resumed, full + resumed),
                "{case}"
            );
            assert!(seen.iter().all(|seen| seen.version == Some(spoken)), "{case}: {seen:?}");
        }
    }
}

#[test]
fn a_session_outlives_its_phase() {
    let server = Secure::start(BOTH, Clients::All, Way::Close(ANSWER));
    let target = server.target("127.0.0.1", &format!("keep-alive = false\ntls = {{ {TRUSTING} }}"));
    let rig = Rig::with(vec![], vec![fire(|_| {})], |spec| spec.targets = vec![target]);
    for phase in [1, 2] {
        let mut spec = rig.phase(rate(10.0), Duration::from_millis(100));
        spec.phase = phase;
        assert_eq!(rig.run(&spec, GRACE).answered, 1);
    }
    let kinds: Vec<_> = server.handshakes().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

#[test]
fn a_version_that_the_server_does_not_speak_is_a_tls_failure() {
    let tls = || vec![("tls".to_owned(), 10)];
    for (speaks, keys) in [
        (&rustls::version::TLS12, "min-version = \"1.3\""),
        (&rustls::version::TLS13, "max-version = \"1.2\""),
    ] {
        let server = Secure::start(&[speaks], Clients::All, Way::Keep(ANSWER));
        assert_eq!(
            ten(server.target("127.0.0.1", &format!("tls = {{ {TRUSTING}, {keys} }}"))),
            (0, tls()),
            "{keys}"
        );
        assert_eq!(server.handshakes(), []);
        // Without bounds it is spoken.
        assert_eq!(ten(server.target("127.0.0.1", &format!("tls = {{ {TRUSTING} }}"))), (10, vec![]));
    }
}

#[test]
fn a_server_that_is_silent_in_the_handshake_is_a_tls_failure_within_the_handshakes_deadline() {
    // A server hello announced, of which nothing more comes; or nothing at all.
    for said in [&b""[..], b"\x16\x03\x03\x00\x7a\x02"] {
        for keep_alive in [true, false] {
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = silent.local_addr().unwrap();
            let held = Arc::<Mutex<Vec<Duration>>>::default();
            let log = Arc::clone(&held);
            std::thread::spawn(move || {
                while let Ok((mut stream, _)) = silent.accept() {
                    let log = Arc::clone(&log);
                    std::thread::spawn(move || {
                        let begun = std::time::Instant::now();
                        let _ = stream.write_all(said);
                        while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
                        log.lock().unwrap().push(begun.elapsed());
                    });
                }
            });
            let server = Secure::start(BOTH, Clients::All, Way::Keep(ANSWER));
            let keys = format!("keep-alive = {keep_alive}\ntls = {{ {TRUSTING} }}");
            let mut target = server.target("127.0.0.1", &keys);
            target.endpoints[0].addrs = vec![addr];
            let mut rig = Rig::with(vec![], vec![fire(|_| {})], |spec| {
                (spec.targets, spec.handshake_timeout) = (vec![target], Duration::from_millis(300));
            });
            let mut spec = rig.phase(rate(20.0), Duration::from_millis(500));
            (spec.connections, spec.total_connections) = (10, 10);
            (spec.users, spec.total_users, spec.capacity) = (10, 10, 10);
            rig.begin(&spec);
            until(spec.t0 + Duration::from_secs(2));
            let (counts, _) = rig.end(1, GRACE);
            let case = format!("{} bytes said, keep-alive {keep_alive}: {counts:?}", said.len());
            assert_eq!(
                (counts.scheduled, counts.failed + counts.waiting, counts.dropped),
                (10, 10, 0),
                "{case}"
            );
            // Places of a pool are filled by one attempt at a time once one has failed.
            assert!(counts.failed >= if keep_alive { 4 } else { 10 }, "{case}");
            let batch = rig.samples();
            let errors: Vec<_> = batch.series[0].errors.iter().map(|e| (e.class.as_str(), e.count)).collect();
            assert_eq!(errors, [("tls", counts.failed)], "{case}");
            assert_eq!(batch.threads[0].connects, 0, "{case}");
            rig.handle.join();
            wait_for("all attempts to end", || held.lock().unwrap().len() as u64 >= counts.failed);
            let longest = held.lock().unwrap().iter().max().copied();
            // A request has 20 s, and reaching the server 10.
            assert!(longest < Some(Duration::from_secs(3)), "{case}: {longest:?}");
        }
    }
}

#[test]
fn the_ca_of_the_plan_is_trusted_and_no_other() {
    let server = Secure::start(BOTH, Clients::All, Way::Keep(ANSWER));
    let asked = |host: &str, tls: &str| ten(server.target(host, &format!("tls = {{ {tls} }}")));
    let refused = (0, vec![("tls".to_owned(), 10)]);
    assert_eq!(asked("127.0.0.1", TRUSTING), (10, vec![]));
    assert_eq!(asked("127.0.0.1", "ca = \"DIR/other.pem\", server-name = \"shop.test\""), refused);
    assert_eq!(asked("127.0.0.1", "ca = \"DIR/ca.pem\", server-name = \"pay.test\""), refused);
    assert_eq!(asked("127.0.0.1", "ca = \"DIR/ca.pem\""), refused);
    assert_eq!(asked("127.0.0.1", "insecure = true"), (10, vec![]));
}

#[test]
fn the_server_is_asked_for_by_its_name() {
    let server = Secure::start(BOTH, Clients::All, Way::Keep(ANSWER));
    for (host, tls, name) in [
        ("127.0.0.1", TRUSTING, Some("shop.test")),
        ("localhost", "ca = \"DIR/ca.pem\"", Some("localhost")),
        ("localhost", TRUSTING, Some("shop.test")),
        // There is no such thing as an address for a name (RFC 6066, section 3).
        ("127.0.0.1", "insecure = true", None),
    ] {
        let mut target = server.target(host, &format!("tls = {{ {tls} }}"));
        // Where `localhost` is ::1 first, nobody is there.
        target.endpoints[0].addrs = vec![server.addr];
        assert_eq!(ten(target), (10, vec![]), "{host}, {tls}");
        let seen = server.handshakes();
        assert!(!seen.is_empty() && seen.iter().all(|seen| seen.name.as_deref() == name), "{seen:?}");
    }
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_it() {
    for version in ["1.2", "1.3"] {
        let server = Secure::start(BOTH, Clients::Certified, Way::Keep(ANSWER));
        let tls = format!("{TRUSTING}, min-version = \"{version}\", max-version = \"{version}\"");
        let certified = format!(
            "tls = {{ {tls}, client-cert = \"DIR/client.pem\", client-key = \"DIR/client-key.pem\" }}"
        );
        assert_eq!(ten(server.target("127.0.0.1", &certified)), (10, vec![]), "{version}");
        assert!(server.handshakes().iter().all(|seen| seen.client));
        let target = server.target("127.0.0.1", &format!("tls = {{ {tls} }}"));
        assert_eq!(ten(target), (0, vec![("tls".to_owned(), 10)]), "{version}");
    }
}

#[test]
fn a_body_that_a_close_ends_is_whole_only_with_the_alert() {
    let reset = || (0, vec![("reset".to_owned(), 10)]);
    let whole = || (10, vec![]);
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nhello";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
    for (way, expected) in [
        (Way::Close(until_close), whole()),
        (Way::Cut(until_close), reset()),
        // These say themselves where they end (RFC 9112, section 9.8).
        (Way::Cut(ANSWER), whole()),
        (Way::Cut(chunked), whole()),
        (Way::Cut(half), reset()),
        (Way::Close(half), reset()),
    ] {
        for version in ["1.2", "1.3"] {
            let server = Secure::start(BOTH, Clients::All, way);
            let keys = format!("tls = {{ {TRUSTING}, max-version = \"{version}\" }}");
            assert_eq!(ten(server.target("127.0.0.1", &keys)), expected, "TLS {version}");
        }
    }
}

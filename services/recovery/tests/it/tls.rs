//! Targets that are reached by TLS, with the certificates of the run's bundle.

use std::path::Path;

use protocol::faults::TargetView;
use protocol::id::RunId;
use protocol::v1;
use test_servers::tls::Secure;

use crate::rig::{Rig, Setup, unix_ns};

/// A plan of one target that wants both sides' certificates.
fn plan(server: &Secure) -> String {
    format!(
        r#"
name = "recovery"
run-phases = ["idle", "baseline"]
[targets.shop]
url = "https://{}"
tls = {{ ca = "ca.pem", client-cert = "client.pem", client-key = "key.pem", server-name = "shop.test" }}
[recovery.shop]
interval = "1s"
[[scenarios]]
name = "buy"
guest = "http"
target = "shop"
config.steps = [{{ name = "home", get = "/" }}]
"#,
        server.address
    )
}

/// What a run needs of recovery, with these files in its bundle.
async fn command(rig: &Rig, server: &Secure, files: &[(&str, &Path)]) -> v1::OpenRecovery {
    let mut command = v1::OpenRecovery {
        run: RunId::new().to_bytes(),
        plan_digest: rig.bus.put_object(plan(server).as_bytes()).await.unwrap(),
        ..Default::default()
    };
    for (name, path) in files {
        let digest = rig.bus.put_object(&std::fs::read(path).unwrap()).await.unwrap();
        command.files.push(v1::BundleFile { name: (*name).to_owned(), digest });
    }
    command
}

/// Watches the target in a phase until it is seen to be so.
async fn watch(rig: &Rig, open: v1::OpenRecovery, what: &str, is_so: impl Fn(&TargetView) -> bool) {
    let run = open.run.clone();
    assert_eq!(rig.ask(open).await.unwrap().problems, []);
    rig.ask(v1::BeginRecoveryPhase { run: run.clone(), phase: 1, t0_unix_ns: unix_ns() }).await.unwrap();
    rig.until_of(&run, what, |view| view.targets.first().is_some_and(&is_so)).await;
    rig.ask(v1::CloseRecovery { run }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_target_is_healthy_for_those_alone_whom_the_plan_trusts() {
    let rig = Rig::start(Setup::default()).await;
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, stranger) = (Secure::mutual(dir.path()).await, Secure::mutual(other.path()).await);
    let (certificate, key) = server.client.clone().unwrap();
    let ours = [("cert:shop", certificate.as_path()), ("key:shop", key.as_path())];

    let trusted = [("ca:shop", server.ca.as_path()), ours[0], ours[1]];
    watch(&rig, command(&rig, &server, &trusted).await, "it is well", |target| target.healthy).await;

    let wrong_ca = [("ca:shop", stranger.ca.as_path()), ours[0], ours[1]];
    let unknown = |target: &TargetView| {
        !target.healthy
            && target.seen.contains("TLS handshake with")
            && target.seen.contains("invalid peer certificate")
    };
    watch(&rig, command(&rig, &server, &wrong_ca).await, "its certificate is not trusted", unknown).await;

    let (certificate, key) = stranger.client.clone().unwrap();
    let wrong_client =
        [("ca:shop", server.ca.as_path()), ("cert:shop", certificate.as_path()), ("key:shop", key.as_path())];
    let refused = |target: &TargetView| !target.healthy && target.seen.contains("alert");
    watch(&rig, command(&rig, &server, &wrong_client).await, "our certificate is refused", refused).await;

    // Nobody is believed for want of a certificate.
    let problems = rig.ask(command(&rig, &server, &ours).await).await.unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].message, "target shop: the bundle has no file ca:shop");
    rig.end().await;
}

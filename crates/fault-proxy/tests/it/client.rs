//! npm's `toxiproxy-node-client` drives the proxy.

use std::path::Path;
use std::process::Command;

use crate::program::Program;
use crate::upstream::Upstream;

/// The directory with the client, which `cargo xtask test` installs.
const MODULES: &str = "GAUNTLET_TEST_TOXIPROXY_CLIENT";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_the_node_client() {
    let modules = std::env::var_os(MODULES).unwrap_or_else(|| {
        panic!("{MODULES} is not set: run `cargo xtask test`, or set it to a node_modules directory")
    });
    let (program, upstream) = (Program::start(&[]), Upstream::echo().await);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/drive.js");
    let url = program.url.clone();
    let run = move || {
        Command::new("node")
            .arg(script)
            .arg(url)
            .arg(upstream.address.clone())
            .env("NODE_PATH", modules)
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).ends_with("every call was made\n"), "{}", text(&output.stdout));
}

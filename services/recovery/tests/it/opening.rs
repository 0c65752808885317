//! What keeps recovery from taking part in a run.

use protocol::id::RunId;
use protocol::v1;

use crate::rig::{Rig, Setup};

const PLAN: &str = r#"
name = "recovery"
run-phases = ["idle", "baseline"]
[processes.shop]
command = ["shop"]
[targets.shop]
url = "http://127.0.0.1:1"
platform = { process = "shop" }
[recovery.shop]
strategy = ["restart", "failover"]
backup = { url = "http://127.0.0.1:2" }
[[scenarios]]
name = "buy"
guest = "http"
target = "shop"
config.steps = [{ name = "home", get = "/" }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_missing_is_said_at_once() {
    let rig = Rig::start(Setup::default()).await;
    let run = RunId::new().to_bytes();
    let ask = async |command: v1::OpenRecovery| {
        let problems = rig.ask(v1::OpenRecovery { run: run.clone(), ..command }).await.unwrap().problems;
        let words =
            |problem: v1::Problem| format!("{}: {} ({})", problem.kind, problem.message, problem.mend);
        problems.into_iter().map(words).collect::<Vec<_>>()
    };
    let found =
        ask(v1::OpenRecovery { plan_digest: format!("sha256:{}", "0".repeat(64)), ..Default::default() });
    let found = found.await;
    assert!(found.len() == 1 && found[0].starts_with("environment: the plan: "), "{found:?}");
    let plan_digest = rig.bus.put_object(b"name = 3").await.unwrap();
    let found = ask(v1::OpenRecovery { plan_digest, ..Default::default() }).await;
    assert!(found.len() == 1 && found[0].starts_with("plan: "), "{found:?}");
    let plan_digest = rig.bus.put_object(PLAN.as_bytes()).await.unwrap();
    let nowhere = rig.dir.path().join("nowhere").to_string_lossy().into_owned();
    let command = v1::OpenRecovery {
        plan_digest,
        platform_dir: nowhere.clone(),
        proxy_url: "no url".to_owned(),
        ..Default::default()
    };
    let found = ask(command).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("no url") && found[1].contains(&nowhere), "{found:?}");
    assert!(found[2].starts_with("environment: recovery.shop: failover leads load elsewhere"), "{found:?}");
    // Nothing of it was begun.
    let refused =
        rig.ask(v1::BeginRecoveryPhase { run: run.clone(), phase: 0, t0_unix_ns: 0 }).await.unwrap_err();
    assert!(refused.contains("expected OpenRecovery before"), "{refused}");
    assert!(rig.ask(v1::QueryRecovery { run }).await.unwrap_err().contains("no part in run"));
    rig.end().await;
}

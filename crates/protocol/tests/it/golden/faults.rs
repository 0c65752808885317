//! Messages of chaos and recovery.
#![allow(clippy::needless_update, reason = "fields added later keep their defaults in messages of version 1")]

use protocol::v1::*;

use super::Checked;
use super::instances::{file, problem, run, text, texts};

fn detour() -> Detour {
    Detour {
        target: text("shop"),
        endpoint: 1,
        address: text("127.0.0.1:40001"),
        phases: vec![6, 300],
        ..Default::default()
    }
}

/// Every message of `faults.proto`.
pub(super) fn all(check: &mut Checked) {
    chaos(check);
    by_hand(check);
    recovery(check);
}

fn chaos(check: &mut Checked) {
    check.check("Detour", &detour());
    let prepare = PrepareRun { run: run(), detours: vec![detour()], ..Default::default() };
    check.check("PrepareRun.detours", &prepare);
    let open = OpenChaos {
        run: run(),
        plan_digest: text("sha256:ab"),
        platform_dir: text("/run/processes"),
        ..Default::default()
    };
    check.check("OpenChaos", &open);
    let reply = OpenChaosReply {
        problems: vec![problem()],
        detours: vec![detour()],
        proxy_url: text("http://127.0.0.1:8474"),
        proxy_token: text("secret"),
        planned_json: texts(&["{}"]),
        ..Default::default()
    };
    check.check("OpenChaosReply", &reply);
    let begin = BeginChaosPhase { run: run(), phase: 6, t0_unix_ns: 2, duration_ns: 3, ..Default::default() };
    check.check("BeginChaosPhase", &begin);
    let end = EndChaosPhase { run: run(), phase: 6, reason: text("signal SIGINT"), ..Default::default() };
    check.check("EndChaosPhase", &end);
    let unrecovered = texts(&["kill", "kill#2"]);
    let ended =
        ChaosPhaseEnded { unrecovered: unrecovered.clone(), last_sequence: 300, ..Default::default() };
    check.check("ChaosPhaseEnded", &ended);
    check.check("CloseChaos", &CloseChaos { run: run(), ..Default::default() });
    check.check("ChaosClosed", &ChaosClosed { unrecovered, last_sequence: 300, ..Default::default() });
    let news = FaultNews {
        run: run(),
        sequence: 300,
        at_unix_ns: 4,
        event_json: text(r#"{"kind":"notice","message":"x"}"#),
        ..Default::default()
    };
    check.check("FaultNews", &news);
}

fn by_hand(check: &mut Checked) {
    let inject = InjectFault {
        run: run(),
        fault_toml: text("recipe = \"kill\""),
        by: text("cli"),
        ..Default::default()
    };
    check.check("InjectFault", &inject);
    let reply = InjectFaultReply { refused: text("no"), fault: text("kill"), ..Default::default() };
    check.check("InjectFaultReply", &reply);
    let stop = StopFault { run: run(), fault: text("kill"), by: text("cli"), ..Default::default() };
    check.check("StopFault", &stop);
    let reply = StopFaultReply { refused: text("no"), ended: texts(&["kill"]), ..Default::default() };
    check.check("StopFaultReply", &reply);
    check.check("QueryFaults", &QueryFaults { run: run(), ..Default::default() });
    let faults =
        Faults { faults_json: texts(&["{}"]), capabilities_json: texts(&["[]"]), ..Default::default() };
    check.check("Faults", &faults);
}

fn recovery(check: &mut Checked) {
    let open = OpenRecovery {
        run: run(),
        plan_digest: text("sha256:ab"),
        platform_dir: text("/run/processes"),
        proxy_url: text("http://127.0.0.1:8474"),
        proxy_token: text("secret"),
        detours: vec![detour()],
        ..Default::default()
    };
    check.check("OpenRecovery", &open);
    let open = OpenRecovery { run: run(), files: vec![file("ca:shop")], ..Default::default() };
    check.check("OpenRecovery.files", &open);
    let reply = OpenRecoveryReply { problems: vec![problem()], ..Default::default() };
    check.check("OpenRecoveryReply", &reply);
    let begin = BeginRecoveryPhase { run: run(), phase: 6, t0_unix_ns: 2, ..Default::default() };
    check.check("BeginRecoveryPhase", &begin);
    check.check("EndRecoveryPhase", &EndRecoveryPhase { run: run(), phase: 6, ..Default::default() });
    let ended = RecoveryPhaseEnded { open: texts(&["shop-1"]), last_sequence: 300, ..Default::default() };
    check.check("RecoveryPhaseEnded", &ended);
    check.check("CloseRecovery", &CloseRecovery { run: run(), ..Default::default() });
    let news = RecoveryNews {
        run: run(),
        sequence: 300,
        at_unix_ns: 4,
        event_json: text(r#"{"kind":"notice","message":"x"}"#),
        ..Default::default()
    };
    check.check("RecoveryNews", &news);
    check.check("QueryRecovery", &QueryRecovery { run: run(), ..Default::default() });
    check.check("RecoveryStatus", &RecoveryStatus { status_json: text("{}"), ..Default::default() });
    let shed = ShedLoad { run: run(), incident: text("shop-1"), keep: 0.5, ..Default::default() };
    check.check("ShedLoad", &shed);
    check.check("ShedLoadReply", &ShedLoadReply { refused: text("no"), ..Default::default() });
}

//! Subjects and logs are addresses that other versions use, too.

use protocol::failure::FailureClass;
use protocol::id::{RunId, WorkerId};
use protocol::message::{broadcast_filter, broadcast_subject, command_subject, log_name, record_subject};
use protocol::v1::{GuestFault, Heartbeat, PrepareRun, SampleBatch};

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn subjects_name_area_run_and_message() {
    let run = RUN.parse::<RunId>().unwrap().to_bytes();
    let beat = Heartbeat { run: run.clone(), ..Default::default() };
    assert_eq!(broadcast_subject(&beat), format!("gauntlet.v1.load.{RUN}.heartbeat"));
    assert_eq!(broadcast_subject(&Heartbeat::default()), "gauntlet.v1.load.none.heartbeat");
    assert_eq!(broadcast_filter::<Heartbeat>(), "gauntlet.v1.load.*.heartbeat");
    assert_eq!(command_subject::<PrepareRun>(None), "gauntlet.v1.load.any.prepare");
    assert_eq!(command_subject::<PrepareRun>(Some("w1")), "gauntlet.v1.load.any.prepare.w1");
    let batch = SampleBatch { run, ..Default::default() };
    assert_eq!(record_subject(&batch), format!("gauntlet.v1.load.{RUN}.samples"));
    assert_eq!(log_name::<SampleBatch>(), "load.samples");
    assert_eq!(log_name::<GuestFault>(), "load.guest-faults");
}

#[test]
fn ids_keep_their_order_bytes_and_text() {
    let (first, second) = (WorkerId::new(), WorkerId::new());
    assert!(first < second, "later ids sort after earlier ones");
    assert_eq!(WorkerId::from_bytes(&first.to_bytes()).unwrap(), first);
    assert_eq!(first.to_string().parse::<WorkerId>().unwrap(), first);
    let error = WorkerId::from_bytes(&[1, 2, 3]).unwrap_err().to_string();
    assert_eq!(error, "3 bytes is not a WorkerId: expected a UUID");
    let error = "worker seven".parse::<WorkerId>().unwrap_err().to_string();
    assert_eq!(error, r#""worker seven" is not a WorkerId: expected a UUID"#);
}

#[test]
fn failure_classes_keep_their_numbers_and_names() {
    let classes: Vec<_> = FailureClass::ALL.iter().map(|class| (*class as u8, class.name())).collect();
    let expected = ["connect", "tls", "reset", "timeout", "malformed", "too-large", "guest", "exhausted"];
    assert_eq!(classes.iter().map(|(_, name)| *name).collect::<Vec<_>>(), expected);
    assert!(classes.iter().enumerate().all(|(index, (number, _))| index == usize::from(*number)));
    for class in FailureClass::ALL {
        assert_eq!(serde_json::to_string(&class).unwrap(), format!("{:?}", class.name()));
    }
}

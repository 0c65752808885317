//! What cannot be started or done is refused with its reason.

use platform::identity::ProcessId;
use platform::processes::{Processes, Spec, StartError};
use platform::{Asked, InstanceId, Platform as _, PlatformError};

use crate::lab::{Lab, shop, spec};

#[tokio::test]
async fn a_missing_program_says_where_it_was_looked_for() {
    let lab = Lab::new();
    let mut spec = spec("");
    spec.command = vec!["no-such-shop".to_owned()];
    spec.env.insert("PATH".to_owned(), "/opt/nowhere:/bin".to_owned());
    let text = lab.define(&spec).await.unwrap_err().to_string();
    let beside = lab.dir.path().join("no-such-shop").display().to_string();
    for part in [beside.as_str(), "/opt/nowhere/no-such-shop", "/bin/no-such-shop"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    // A path with a directory is not looked up in PATH.
    spec.command = vec!["./no-such-shop".to_owned()];
    assert!(!lab.define(&spec).await.unwrap_err().to_string().contains("/bin/"));
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_with_its_reason() {
    let lab = Lab::new();
    let refused = async |spec: &Spec| match lab.try_start(spec).await.unwrap_err() {
        PlatformError::Start(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(refused(&Spec { command: vec![], ..spec("") }).await, StartError::NoCommand { .. }));
    let absent = Spec { dir: Some("absent".into()), ..spec("") };
    assert!(matches!(refused(&absent).await, StartError::NoDirectory { dir, .. } if dir.ends_with("absent")));
    let check = Spec { ready: Some("https://127.0.0.1/".to_owned()), ..spec("") };
    assert!(matches!(refused(&check).await, StartError::ReadyCheck { .. }));
    let log = lab.dir.path().join("absent/process.log");
    let id = lab.processes.define(&spec(""), lab.dir.path(), &log).await.unwrap();
    let error = lab.processes.start(&id).await.unwrap_err();
    assert!(
        matches!(&error, PlatformError::Start(StartError::LogFile { path, .. }) if *path == log),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_the_system_cannot_execute_says_so() {
    let lab = Lab::new();
    lab.program("my-shop", "#!/no/such/interpreter\n", true, "755");
    let spec = Spec { command: vec!["./my-shop".to_owned()], ..spec("") };
    let text = lab.try_start(&spec).await.unwrap_err().to_string();
    assert!(text.contains("my-shop cannot be started") && text.contains("No such file"), "{text}");
}

#[tokio::test]
async fn an_unknown_instance_is_named_with_those_that_are_there() {
    let lab = Lab::new();
    let other = InstanceId::new("till").unwrap();
    let text = lab.processes.stop(&other).await.unwrap_err().to_string();
    assert!(text.contains("instance till: not known") && text.contains("there is none"), "{text}");
    lab.define(&spec("")).await.unwrap();
    let text = lab.processes.start(&other).await.unwrap_err().to_string();
    assert!(text.contains("there are shop"), "{text}");
}

#[test]
fn names_that_cannot_name_files_are_refused() {
    for wrong in ["", ".hidden", "a/b", "a\0b", &"x".repeat(201)] {
        let error = InstanceId::new(wrong).unwrap_err();
        assert!(matches!(error, PlatformError::Name { .. }), "{error}");
    }
    assert_eq!(InstanceId::new("shop 1.2").unwrap().to_string(), "shop 1.2");
}

#[tokio::test]
async fn what_does_not_run_cannot_be_paused_or_looked_at_but_ended() {
    let lab = Lab::new();
    lab.define(&spec("exit 7")).await.unwrap();
    let text = lab.processes.pause(&shop()).await.unwrap_err().to_string();
    assert_eq!(text, "instance shop: does not run: never started: start it first");
    assert_eq!(lab.processes.stop(&shop()).await.unwrap().status, "never started");
    lab.processes.start(&shop()).await.unwrap();
    lab.processes.exited(&shop()).await.unwrap();
    for error in [
        lab.processes.pause(&shop()).await.unwrap_err(),
        lab.processes.resume(&shop()).await.unwrap_err(),
        lab.processes.addresses(&shop()).await.unwrap_err(),
        lab.processes.version(&shop()).await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "instance shop: does not run: exit code 7: start it first");
    }
    let stopped = lab.processes.kill(&shop()).await.unwrap();
    assert_eq!((stopped.status.as_str(), stopped.killed), ("exit code 7", false));
    assert_eq!(lab.seen().await.asked, None, "it had ended before anybody asked");
}

#[tokio::test]
async fn only_the_owner_defines_and_nobody_takes_over_what_runs() {
    let lab = Lab::new();
    lab.shop("echo up; exec sleep 600").await;
    let error = lab.open().define(&spec(""), lab.dir.path(), &lab.log()).await.unwrap_err();
    assert!(matches!(error, PlatformError::NotOwner { .. }), "{error}");
    let error = lab.define(&spec("")).await.unwrap_err();
    assert!(matches!(error, PlatformError::Runs { .. }), "{error}");
    let init = ProcessId::of(1).unwrap();
    let error = Processes::create(&lab.state_dir(), init).unwrap_err();
    assert!(matches!(error, PlatformError::InUse { .. }), "{error}");
    let error = Processes::open(&lab.dir.path().join("absent")).unwrap_err();
    assert!(matches!(error, PlatformError::State { .. }), "{error}");
}

#[tokio::test]
async fn a_record_that_is_not_ours_is_refused_and_named() {
    let lab = Lab::new();
    lab.define(&spec("")).await.unwrap();
    let path = lab.state_dir().join("shop.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for wrong in [text.replace("\"format\": 1", "\"format\": 2"), text[..text.len() / 2].to_owned()] {
        std::fs::write(&path, wrong).unwrap();
        let error = lab.processes.instances().await.unwrap_err().to_string();
        assert!(error.contains("shop.json"), "{error}");
    }
    std::fs::write(&path, text).unwrap();
    lab.processes.expect_exit(&shop(), Asked::Stop).await.unwrap();
}

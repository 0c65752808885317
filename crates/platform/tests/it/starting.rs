//! Starts: sessions, environment, generations, records.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use platform::proc_fs;
use platform::{InstanceState, Platform as _, PlatformError};

use crate::lab::{Lab, alive, shop, spec};

#[tokio::test]
async fn output_environment_and_directory_are_as_the_plan_says() {
    let lab = Lab::new();
    std::fs::create_dir(lab.dir.path().join("sub")).unwrap();
    let mut spec = spec("echo out $COLOUR $(basename \"$PWD\"); echo err >&2; cat; exit 3");
    spec.env.insert("COLOUR".to_owned(), "blue".to_owned());
    spec.dir = Some("sub".into());
    lab.try_start(&spec).await.unwrap();
    assert_eq!(lab.processes.exited(&shop()).await.unwrap(), "exit code 3");
    assert_eq!(lab.text(), "out blue sub\nerr\n");
    assert_eq!(lab.processes.logs(&shop(), 10).await.unwrap(), ["out blue sub", "err"]);
    assert_eq!(lab.processes.logs(&shop(), 1).await.unwrap(), ["err"]);
    let seen = lab.seen().await;
    assert_eq!((seen.state, seen.status.as_deref()), (InstanceState::Exited, Some("exit code 3")));
    assert_eq!(seen.asked, None, "it ended by itself");
}

#[tokio::test]
async fn it_leads_a_session_of_its_own_under_the_pid_that_was_spawned() {
    let lab = Lab::new();
    let id = lab.define(&spec("echo up; exec sleep 600")).await.unwrap();
    let created = lab.processes.instance(&id).await.unwrap();
    assert_eq!((created.state, created.generation, created.process), (InstanceState::Created, 0, None));
    let started = lab.processes.start(&id).await.unwrap();
    assert!(started.by_us);
    let instance = started.instance;
    assert_eq!((instance.state, instance.generation), (InstanceState::Running, 1));
    assert!(instance.started_unix_ms > 0 && instance.clock.is_none() && instance.status.is_none());
    let process = instance.process.clone().unwrap();
    let stat = proc_fs::stat(process.pid).unwrap();
    assert_eq!((stat.session, stat.group, stat.parent), (process.pid, process.pid, std::process::id()));
    assert_eq!(stat.started, process.started_ticks);
    lab.until_logged("up").await;
    assert_eq!(lab.processes.instances().await.unwrap(), [lab.seen().await]);
    lab.processes.kill(&id).await.unwrap();
    assert!(!Path::new(&format!("/proc/{}", process.pid)).exists(), "it was reaped");
}

#[tokio::test]
async fn a_start_of_what_runs_leaves_it_and_one_of_what_ended_begins_the_next_generation() {
    let lab = Lab::new();
    let first = lab.shop("echo up; exec sleep 600").await;
    let again = lab.processes.start(&shop()).await.unwrap();
    assert_eq!((again.by_us, &again.instance), (false, &first));
    lab.processes.stop(&shop()).await.unwrap();
    std::fs::write(lab.log(), "").unwrap();
    let second = lab.processes.start(&shop()).await.unwrap();
    assert_eq!((second.by_us, second.instance.generation), (true, 2));
    assert_ne!(second.instance.process, first.process);
    assert_eq!(second.instance.asked, None, "the stop was the former one's");
    lab.until_logged("up").await;
}

#[tokio::test]
async fn what_the_former_one_left_is_ended_before_the_next_start() {
    let lab = Lab::new();
    lab.shop("sh -c 'echo child=$$; echo up; exec sleep 600' & wait").await;
    let child = lab.logged("child").await;
    let leader = lab.seen().await.process.unwrap();
    leader.open().unwrap().unwrap().signal(platform::identity::Signal::KILL).unwrap();
    assert_eq!(lab.processes.exited(&shop()).await.unwrap(), "signal 9");
    assert!(alive(&child), "its session goes on without it");
    lab.processes.start(&shop()).await.unwrap();
    assert!(!alive(&child));
}

#[tokio::test]
async fn a_program_beside_the_plan_goes_before_path_and_must_be_executable() {
    let lab = Lab::new();
    let program = lab.program("my-shop", "#!/bin/sh\necho mine\n", true, "644");
    let mut spec = spec("");
    spec.command = vec!["my-shop".to_owned()];
    let error = lab.define(&spec).await.unwrap_err();
    let PlatformError::Start(platform::processes::StartError::NotExecutable { path, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(*path, program);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.try_start(&spec).await.unwrap();
    assert_eq!(lab.processes.exited(&shop()).await.unwrap(), "exit code 0");
    assert_eq!(lab.processes.logs(&shop(), 10).await.unwrap(), ["mine"]);
}

#[tokio::test]
async fn state_is_for_its_owner_alone_and_gone_when_it_is_closed() {
    let lab = Lab::new();
    lab.shop("echo up; exec sleep 600").await;
    let process = lab.seen().await.process.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&lab.state_dir()), 0o700);
    for entry in std::fs::read_dir(lab.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(platform::processes::leader(&lab.state_dir(), "shop").unwrap(), Some(process.clone()));
    let state_dir = lab.state_dir();
    lab.processes.close().await.unwrap();
    assert!(!alive(&process));
    assert!(!state_dir.exists());
}

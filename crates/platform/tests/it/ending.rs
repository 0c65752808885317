//! Stops and kills: nothing is left.

use std::time::Duration;

use platform::identity::{Signal, State};
use platform::{Asked, Platform as _, Stopped};

use crate::lab::{Lab, alive, shop, spec};
use crate::support::until;

fn stopped(status: &str, killed: bool) -> Stopped {
    Stopped { status: status.to_owned(), killed }
}

#[tokio::test]
async fn stop_lets_it_end_by_itself() {
    let lab = Lab::new();
    lab.shop("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done").await;
    assert_eq!(lab.processes.stop(&shop()).await.unwrap(), stopped("exit code 0", false));
    assert!(lab.text().contains("bye"));
    assert_eq!(lab.seen().await.asked, Some(Asked::Stop));
}

#[tokio::test]
async fn stop_kills_what_ignores_the_signal() {
    let lab = Lab::new();
    let mut spec = spec("trap '' TERM; echo up; while :; do sleep 0.01; done");
    spec.stop_timeout = Duration::from_millis(50);
    lab.try_start(&spec).await.unwrap();
    lab.until_logged("up").await;
    assert_eq!(lab.processes.stop(&shop()).await.unwrap(), stopped("signal 9", true));
}

#[tokio::test]
async fn stop_reaches_what_is_paused() {
    let lab = Lab::new();
    lab.shop("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done").await;
    lab.processes.pause(&shop()).await.unwrap();
    assert_eq!(lab.processes.stop(&shop()).await.unwrap(), stopped("exit code 0", false));
    assert!(lab.text().contains("bye"));
}

/// Children: one that ignores SIGTERM, one in a session of its own, and a daemon in a session of its own without a parent.
const FAMILY: &str = "sh -c 'trap \"\" TERM; echo deaf=$$; while :; do sleep 0.01; done' &
    setsid sh -c 'echo stray=$$; exec sleep 600' &
    (setsid sh -c 'echo daemon=$$; exec sleep 600' &)
    echo up; wait";

#[tokio::test]
async fn stop_leaves_no_descendant_behind() {
    let lab = Lab::new();
    lab.shop(FAMILY).await;
    let family = [lab.logged("deaf").await, lab.logged("stray").await, lab.logged("daemon").await];
    assert!(family.iter().all(alive));
    assert!(!lab.processes.stop(&shop()).await.unwrap().killed, "the leader itself ended in time");
    assert!(!family.iter().any(alive), "{family:?}");
}

#[tokio::test]
async fn kill_leaves_no_descendant_behind() {
    let lab = Lab::new();
    let leader = lab.shop(FAMILY).await.process.unwrap();
    let family = [lab.logged("deaf").await, lab.logged("stray").await, lab.logged("daemon").await];
    let members = lab.processes.members(&shop()).unwrap();
    assert_eq!(members.first(), Some(&leader));
    assert!(family.iter().all(|process| members.contains(process)), "{family:?} in {members:?}");
    assert_eq!(lab.processes.kill(&shop()).await.unwrap(), stopped("signal 9", true));
    assert!(!family.iter().any(alive) && !alive(&leader), "{family:?}");
    assert_eq!(lab.seen().await.asked, Some(Asked::Kill));
}

#[tokio::test]
async fn kill_does_not_wait_for_a_stop_that_waits() {
    let lab = Lab::new();
    // It would be given its whole stop timeout.
    lab.shop("trap 'echo asked' TERM; echo up; while :; do sleep 0.01; done").await;
    let (other, id) = (lab.open(), shop());
    let killing = async {
        lab.until_logged("asked").await;
        other.kill(&id).await.unwrap()
    };
    let (stop, kill) = tokio::join!(lab.processes.stop(&id), killing);
    assert_eq!((stop.unwrap(), kill), (stopped("signal 9", false), stopped("signal 9", true)));
}

#[tokio::test]
async fn a_session_whose_leader_ended_is_ended_too() {
    let lab = Lab::new();
    lab.shop("sh -c 'echo child=$$; exec sleep 600' & while :; do sleep 0.01; [ -s process.log ] && echo up && exit 4; done").await;
    let child = lab.logged("child").await;
    assert_eq!(lab.processes.exited(&shop()).await.unwrap(), "exit code 4");
    assert!(alive(&child));
    assert_eq!(lab.processes.stop(&shop()).await.unwrap(), stopped("exit code 4", false));
    assert!(!alive(&child));
}

#[tokio::test]
async fn dropping_the_owners_handle_kills_all_and_another_handle_nothing() {
    let lab = Lab::new();
    let leader = lab.shop("sh -c 'echo child=$$; exec sleep 600' & echo up; wait").await.process.unwrap();
    let child = lab.logged("child").await;
    drop(lab.open());
    assert!(alive(&leader) && alive(&child));
    let Lab { processes, dir } = lab;
    drop(processes);
    until("both to end", || !alive(&leader) && !alive(&child)).await;
    until("the leader to be reaped", || platform::proc_fs::stat(leader.pid).is_err()).await;
    drop(dir);
}

#[tokio::test]
async fn several_may_wait_for_its_end() {
    let lab = Lab::new();
    lab.try_start(&spec("exec sleep 0.05")).await.unwrap();
    let (other, id) = (lab.open(), shop());
    let (first, second) = tokio::join!(lab.processes.exited(&id), other.exited(&id));
    assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), ("exit code 0", "exit code 0"));
}

#[tokio::test]
async fn an_end_by_other_means_can_be_announced() {
    let lab = Lab::new();
    let leader = lab.shop("echo up; exec sleep 600").await.process.unwrap();
    lab.open().expect_exit(&shop(), Asked::Kill).await.unwrap();
    let handle = leader.open().unwrap().unwrap();
    handle.signal(Signal::KILL).unwrap();
    assert_eq!(lab.processes.exited(&shop()).await.unwrap(), "signal 9");
    assert_eq!(handle.state().unwrap(), State::Ended);
    assert_eq!(lab.seen().await.asked, Some(Asked::Kill));
}

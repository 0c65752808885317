//! Pauses, read back from the kernel.

use std::time::{Duration, Instant};

use platform::identity::State;
use platform::{InstanceState, Platform as _};

use crate::lab::{Lab, shop};

#[tokio::test]
async fn a_pause_stops_all_of_it_and_a_resume_lets_all_go_on() {
    let lab = Lab::new();
    let script = "sh -c 'echo child=$$; while :; do sleep 0.01; done' &
        setsid sh -c 'echo stray=$$; while :; do sleep 0.01; done' &
        echo up; while :; do sleep 0.01; done";
    let leader = lab.shop(script).await.process.unwrap();
    let all = [leader, lab.logged("child").await, lab.logged("stray").await];
    let states = || all.iter().map(|process| process.open().unwrap().unwrap().state().unwrap());
    // Twice: also what stands still already, or goes on, is left in that state.
    for _ in 0..2 {
        lab.processes.pause(&shop()).await.unwrap();
        assert!(states().all(|state| state == State::Stopped));
        let members = lab.processes.members(&shop()).unwrap();
        for member in members {
            let stat = platform::proc_fs::stat(member.pid).unwrap();
            assert!(stat.stopped(), "{stat:?}");
        }
        assert_eq!(lab.seen().await.state, InstanceState::Paused);
    }
    for _ in 0..2 {
        lab.open().resume(&shop()).await.unwrap();
        assert!(states().all(|state| state == State::Running));
        assert_eq!(lab.seen().await.state, InstanceState::Running);
    }
}

#[tokio::test]
async fn what_forks_all_the_time_is_paused_as_a_whole() {
    let lab = Lab::new();
    lab.shop("echo up; while :; do (:) & (:) & wait; done").await;
    lab.processes.pause(&shop()).await.unwrap();
    for member in lab.processes.members(&shop()).unwrap() {
        let stat = platform::proc_fs::stat(member.pid).unwrap();
        assert!(stat.stopped(), "{stat:?}");
    }
    lab.processes.resume(&shop()).await.unwrap();
    lab.processes.kill(&shop()).await.unwrap();
    // Each has its signal, and the last may still be ending.
    let deadline = Instant::now() + Duration::from_secs(10);
    while let members = lab.processes.members(&shop()).unwrap()
        && !members.is_empty()
    {
        assert!(Instant::now() < deadline, "{members:?} are alive ten seconds after they were killed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_waits_for_a_child_to_become_another_program_is_paused_as_soon_as_it_has() {
    let lab = Lab::new();
    // The shell starts programs by `vfork`, all the time: a child that is stopped in between would keep it from stopping.
    lab.shop("echo up; while :; do sleep 0; done").await;
    for _ in 0..50 {
        lab.processes.pause(&shop()).await.unwrap();
        let leader = lab.seen().await.process.unwrap().open().unwrap().unwrap();
        assert_eq!(leader.state().unwrap(), State::Stopped);
        lab.processes.resume(&shop()).await.unwrap();
    }
}

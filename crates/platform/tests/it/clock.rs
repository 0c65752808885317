//! Clocks that can be set off, seen by the process itself.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use platform::{Clock, InstanceState, Platform as _};

use crate::lab::{Lab, shop, spec};
use crate::support::until;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn library_is_missing() -> bool {
    match platform::processes::libfaketime() {
        Ok(_) => false,
        Err(why) => {
            println!("SKIPPED: {why}");
            true
        }
    }
}

/// Seconds by which the last `date` of the log was ahead of the machine's clock, by less than a minute.
fn offset_minutes(text: &str) -> Option<i64> {
    let at: i64 = text.lines().rev().find_map(|line| line.strip_prefix("date=")?.parse().ok())?;
    Some((at - now() + 30).div_euclid(60))
}

/// Prints the time again and again; a child, so that the offset is seen to be inherited.
const DATES: &str = "echo up; while :; do date +date=%s; sleep 0.02; done";

#[tokio::test]
async fn an_offset_in_the_file_is_what_the_process_sees_until_it_is_taken_back() {
    if library_is_missing() {
        return;
    }
    let lab = Lab::new();
    let mut spec = spec(DATES);
    spec.clock_adjustable = true;
    let instance = lab.try_start(&spec).await.unwrap().instance;
    let Some(Clock::Adjustable { file }) = instance.clock else { panic!("{instance:?}") };
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "+0\n");
    until("the machine's time", || offset_minutes(&lab.text()) == Some(0)).await;
    std::fs::write(&file, "+3600s\n").unwrap();
    until("an hour ahead", || offset_minutes(&lab.text()) == Some(60)).await;
    std::fs::write(&file, "-600s\n").unwrap();
    until("ten minutes behind", || offset_minutes(&lab.text()) == Some(-10)).await;

    // Whoever set the offset takes it back: a restart does not.
    lab.processes.kill(&shop()).await.unwrap();
    std::fs::write(lab.log(), "").unwrap();
    lab.processes.start(&shop()).await.unwrap();
    until("ten minutes behind after a restart", || offset_minutes(&lab.text()) == Some(-10)).await;
    std::fs::write(&file, "+0\n").unwrap();
    until("the machine's time again", || offset_minutes(&lab.text()) == Some(0)).await;
}

#[tokio::test]
async fn nothing_of_the_library_is_left_when_the_process_was_killed() {
    if library_is_missing() {
        return;
    }
    let lab = Lab::new();
    let mut spec = spec("echo up; exec sleep 600");
    spec.clock_adjustable = true;
    let process = lab.try_start(&spec).await.unwrap().instance.process.unwrap();
    let shared =
        |pid: u32| ["faketime_shm_", "sem.faketime_sem_"].map(|name| format!("/dev/shm/{name}{pid}"));
    process.open().unwrap().unwrap().signal(platform::identity::Signal::KILL).unwrap();
    assert_eq!(lab.processes.exited(&shop()).await.unwrap(), "signal 9");
    for path in shared(process.pid) {
        until(&format!("{path} to be gone"), || !Path::new(&path).exists()).await;
    }
}

#[tokio::test]
async fn without_the_library_it_starts_all_the_same_and_says_why_its_clock_is_fixed() {
    if platform::processes::libfaketime().is_ok() {
        println!("SKIPPED: libfaketime is there");
        return;
    }
    let lab = Lab::new();
    let mut spec = spec("echo up; exec sleep 600");
    spec.clock_adjustable = true;
    let instance = lab.try_start(&spec).await.unwrap().instance;
    assert_eq!(instance.state, InstanceState::Running);
    let Some(Clock::Fixed { why }) = instance.clock else { panic!("{instance:?}") };
    assert!(why.contains("install libfaketime"), "{why}");
}

#[tokio::test]
async fn a_program_that_drops_the_library_is_said_to_have_a_fixed_clock() {
    if library_is_missing() {
        return;
    }
    let lab = Lab::new();
    let mut spec = spec("unset LD_PRELOAD; echo up; exec sleep 600");
    spec.clock_adjustable = true;
    lab.try_start(&spec).await.unwrap();
    lab.until_logged("up").await;
    let mut seen = lab.seen().await;
    let deadline = std::time::Instant::now() + crate::support::LONG;
    while matches!(seen.clock, Some(Clock::Adjustable { .. })) && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        seen = lab.seen().await;
    }
    let Some(Clock::Fixed { why }) = seen.clock else { panic!("{seen:?}") };
    assert!(why.contains("does not load libfaketime"), "{why}");
}

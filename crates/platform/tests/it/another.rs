//! Another process of the operating system that uses the same state directory: this test binary, started anew.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use platform::Platform as _;
use platform::identity::ProcessId;
use platform::processes::Processes;

use crate::lab::{shop, spec};
use crate::support::Scripted;

const ROLE: &str = "GAUNTLET_PLATFORM_TEST_ROLE";
const PLACE: &str = "GAUNTLET_PLATFORM_TEST_PLACE";

/// Does something in another process; what it says after `said: ` comes line by line.
pub(crate) fn process(role: &str, place: &Path) -> Scripted {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "another::plays_its_role", "--nocapture"]);
    command.env(ROLE, role).env(PLACE, place).stdin(Stdio::null()).stdout(Stdio::piped());
    Scripted::of(command)
}

/// The next line that it says.
pub(crate) fn said(process: &mut Scripted) -> String {
    loop {
        let line = process.line();
        if let Some((_, said)) = line.split_once("said: ") {
            return said.to_owned();
        }
        assert!(process.is_open(), "the other process ended: {line:?}");
    }
}

#[tokio::test]
async fn plays_its_role() {
    // Among the other tests it has none.
    let (Some(role), Some(place)) = (std::env::var_os(ROLE), std::env::var_os(PLACE)) else { return };
    let place = PathBuf::from(place);
    let state = place.join("state");
    match role.to_str().unwrap() {
        "start" => {
            let started = Processes::open(&state).unwrap().start(&shop()).await.unwrap();
            println!("said: {} {}", started.by_us, started.instance.process.unwrap().pid);
        }
        "stop" => println!("said: {:?}", Processes::open(&state).unwrap().stop(&shop()).await.unwrap()),
        "own" => {
            let processes = Processes::create(&state, ProcessId::current().unwrap()).unwrap();
            let script = "setsid sh -c 'echo stray=$$; exec sleep 600' & echo up; exec sleep 600";
            let log = place.join("process.log");
            let id = processes.define(&spec(script), &place, &log).await.unwrap();
            processes.start(&id).await.unwrap();
            println!("said: owned");
            std::future::pending::<()>().await;
        }
        role => panic!("no such role: {role}"),
    }
}

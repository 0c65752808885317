//! Faults by hand: injected like those of the plan, or refused before anything is touched.

use protocol::event::Event;

use crate::lab::{Lab, fault};

/// A fault as it is asked for by hand.
fn asked(recipe: &str, target: &str, duration: &str, lines: &str) -> String {
    format!(
        "recipe = \"{recipe}\"\ntarget = \"{target}\"\nduration = \"{duration}\"\nstop = \"none\"\n{lines}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_hand_is_as_by_plan() {
    let lab = Lab::new("").await;
    lab.open().await;
    let early = lab.inject(&asked("pause", "shop", "1s", "")).await;
    assert!(early.refused.contains("no phase is under way"), "{early:?}");
    lab.begin().await;
    let reply = lab.inject(&asked("pause", "shop", "1s", "")).await;
    assert_eq!((reply.refused.as_str(), reply.fault.as_str()), ("", "pause"));
    lab.injected("pause").await;
    lab.ended("pause").await;
    let again = lab.inject(&asked("pause", "shop", "50s", "")).await;
    assert_eq!((again.refused.as_str(), again.fault.as_str()), ("", "pause#2"));
    lab.injected("pause#2").await;
    let all = lab.stop("").await;
    assert_eq!(all.ended, ["pause#2"]);
    assert_eq!(lab.ended("pause#2").await.0, "stopped by cli");
    let begun = lab.told("FaultBeginning", |event| matches!(event, Event::FaultBeginning { .. })).await;
    let Event::FaultBeginning { fault } = begun else { unreachable!() };
    assert_eq!((fault.by.as_str(), fault.victims.len()), ("cli", 1));
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_is_refused_with_its_reason() {
    let lab = Lab::new(&fault("hangs", "pause", "100ms", "50s", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    let told = lab.events().len();
    for (toml, expected) in [
        (asked("pause", "off", "1s", ""), "chaos"),
        (asked("pause", "nobody", "1s", ""), "nobody"),
        (asked("pause", "shop", "2h", ""), "duration"),
        (asked("pause", "shop", "59900ms", ""), "the fault would go on after its phase"),
        (asked("pause", "shop", "1s", "mode = \"all\""), "allows at most 1"),
        (asked("memory", "shop", "1s", "size = \"1TiB\"\nmode = \"all\""), "mode"),
        (asked("latency", "shop", "1s", "latency = \"1s\""), "the load goes to shop directly"),
        (asked("explode", "shop", "1s", ""), "explode"),
        ("recipe = \"pause\"\ntarget = \"shop\"".to_owned(), "duration"),
    ] {
        let reply = lab.inject(&toml).await;
        assert!(reply.refused.contains(expected) && reply.fault.is_empty(), "{toml}: {reply:?}");
    }
    let unknown = lab.stop("nothing of this name").await;
    assert!(unknown.refused.contains("there is no fault \"nothing of this name\""), "{unknown:?}");
    assert_eq!(lab.events().len(), told, "nothing of what was refused is told");
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    lab.close().await;
    lab.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cap_of_a_target_holds_by_hand_too() {
    let lab = Lab::new(&fault("hangs", "pause", "100ms", "50s", "")).await;
    lab.open().await;
    lab.begin().await;
    lab.injected("hangs").await;
    // One of two may be away. Whichever is drawn: it is away already, or it would be the second.
    for attempt in 0..4 {
        let reply = lab.inject(&asked("kill", "shop", "1s", &format!("name = \"kill {attempt}\""))).await;
        let why = &reply.refused;
        assert!(why.contains("allows at most 1") || why.contains("would hit the instance"), "{reply:?}");
    }
    lab.close().await;
    lab.nothing_left().await;
}

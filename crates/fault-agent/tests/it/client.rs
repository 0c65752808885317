//! The typed client on a real agent.

use std::path::Path;
use std::time::Duration;

use fault_agent::{
    Action, Agent, CloseError, EndError, Ended, Event, Events, How, InjectError, Options, StartError,
};
use platform::identity::Signal;
use service::{Shutdown, Tasks};
use tokio::time::timeout;

use crate::session::{PATIENCE, Session, signal};
use crate::wire::{PROGRAM, clean, findings, place};

const LONG: Duration = Duration::from_secs(600);

async fn start(dir: &Path, lease: Duration) -> (Tasks, Agent, Events) {
    let tasks = Tasks::new(Shutdown::new());
    let mut options = Options::new([PROGRAM], dir);
    options.lease = lease;
    let (agent, events) = Agent::start(options, &tasks).await.unwrap();
    (tasks, agent, events)
}

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

async fn ended(events: &mut Events) -> Ended {
    match next(events).await {
        Event::Ended(ended) => ended,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn inject_end_events_close() {
    let (_temp, dir) = place();
    let session = Session::start();
    let (_tasks, agent, mut events) = start(&dir, Duration::from_secs(1)).await;
    let pause = || Action::Pause { victims: vec![session.id.clone()] };
    let injected = agent.inject("p", pause(), LONG).await.unwrap();
    assert_eq!((injected.id.as_str(), session.states().as_str()), ("p", "TTT"));
    let refused = agent.inject("p", pause(), LONG).await;
    assert!(
        matches!(&refused, Err(InjectError::Refused(refused)) if refused.problem == "fault p is held already")
    );
    // Longer than the lease, which the client renews.
    assert!(timeout(Duration::from_secs(3), events.next()).await.is_err());
    assert_eq!(session.states(), "TTT");
    let told = agent.end("p").await.unwrap();
    assert_eq!(ended(&mut events).await, told);
    assert!(matches!(agent.end("p").await, Err(EndError::Refused(_))));
    agent.inject("c", Action::Cpu { threads: 1 }, Duration::from_millis(100)).await.unwrap();
    assert_eq!(ended(&mut events).await.how, How::Duration);
    agent.inject("d", Action::Cpu { threads: 1 }, LONG).await.unwrap();
    assert_eq!(agent.close().await, Ok(()));
    assert_eq!(findings(&dir), []);
    assert_eq!(ended(&mut events).await.how, How::Quit);
    assert_eq!(events.next().await, None);
    assert_eq!(agent.close().await, Ok(()), "it is closed already");
    assert_eq!(agent.end("d").await, Err(EndError::Gone));
    assert_eq!(agent.inject("e", pause(), LONG).await, Err(InjectError::Gone));
}

#[tokio::test]
async fn a_dead_agent_is_replaced_and_each_end_told_once() {
    let (_temp, dir) = place();
    let session = Session::start();
    let (_tasks, agent, mut events) = start(&dir, Duration::from_secs(1)).await;
    for round in ["a", "b"] {
        let pause = Action::Pause { victims: vec![session.id.clone()] };
        agent.inject(&format!("p{round}"), pause, LONG).await.unwrap();
        agent.inject(&format!("c{round}"), Action::Cpu { threads: 1 }, LONG).await.unwrap();
        agent.end(&format!("c{round}")).await.unwrap();
        assert_eq!(ended(&mut events).await.how, How::Asked);
        let process = agent.process().await.unwrap();
        signal(&process, if round == "a" { Signal::KILL } else { Signal::STOP });
        assert!(matches!(next(&mut events).await, Event::Lost { .. }));
        let over = ended(&mut events).await;
        assert_eq!(over.id, format!("p{round}"));
        assert!(matches!(over.how, How::AgentGone | How::LeftOver), "{over:?}");
        let Event::Back { agent: back } = next(&mut events).await else { panic!("not back") };
        assert_ne!(back, process);
        assert!(session.runs());
    }
    assert_eq!(agent.close().await, Ok(()));
    clean(&dir);
}

#[tokio::test]
async fn what_is_asked_of_a_dying_agent_is_answered() {
    let (_temp, dir) = place();
    let session = Session::start();
    let (_tasks, agent, mut events) = start(&dir, Duration::from_secs(1)).await;
    let pause = Action::Pause { victims: vec![session.id.clone()] };
    agent.inject("p", pause, LONG).await.unwrap();
    signal(&agent.process().await.unwrap(), Signal::STOP);
    let (injected, over) = timeout(PATIENCE, async {
        tokio::join!(agent.inject("c", Action::Cpu { threads: 1 }, LONG), agent.end("p"))
    })
    .await
    .unwrap();
    assert_eq!(injected, Err(InjectError::Lost));
    let over = over.unwrap();
    assert_eq!(over.id, "p");
    assert!(matches!(next(&mut events).await, Event::Lost { .. }));
    assert_eq!(ended(&mut events).await, over);
    assert!(matches!(next(&mut events).await, Event::Back { .. }));
    assert_eq!(agent.close().await, Ok(()));
    clean(&dir);
}

#[tokio::test]
async fn dropped_without_a_word_it_undoes_all() {
    let (_temp, dir) = place();
    let session = Session::start();
    let (tasks, agent, events) = start(&dir, Duration::from_secs(5)).await;
    let pause = Action::Pause { victims: vec![session.id.clone()] };
    agent.inject("p", pause, LONG).await.unwrap();
    drop((tasks, agent, events));
    clean(&dir);
    assert!(session.runs());
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_an_error() {
    let (_temp, dir) = place();
    let tasks = Tasks::new(Shutdown::new());
    for (command, expected) in [
        ("/absent/agent", "it cannot be started: "),
        ("false", "it ended before it was ready (exit status: 1)"),
    ] {
        let error = Agent::start(Options::new([command], &dir), &tasks).await.unwrap_err();
        let StartError { command: named, problem } = &error;
        assert_eq!(named, command);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[tokio::test]
async fn an_agent_that_cannot_be_replaced_is_given_up_and_what_it_held_is_unrecovered() {
    let (temp, dir) = place();
    let session = Session::start();
    let started = temp.path().join("started");
    let script = format!("mkdir {} 2>/dev/null || exit 9; exec {PROGRAM} \"$@\"", started.display());
    let tasks = Tasks::new(Shutdown::new());
    let options = Options::new(["sh", "-c", &script, "sh"], &dir);
    let (agent, mut events) = Agent::start(options, &tasks).await.unwrap();
    let pause = Action::Pause { victims: vec![session.id.clone()] };
    agent.inject("p", pause, LONG).await.unwrap();
    signal(&agent.process().await.unwrap(), Signal::KILL);
    assert!(matches!(next(&mut events).await, Event::Lost { .. }));
    let Event::Unrecovered(unrecovered) = next(&mut events).await else { panic!("not unrecovered") };
    assert!(
        unrecovered.detail.contains("nothing shows")
            || unrecovered.detail.contains("no agent can be started")
    );
    let Event::GaveUp { detail } = next(&mut events).await else { panic!("not given up") };
    assert!(detail.contains("exit status: 9"), "{detail}");
    assert_eq!(events.next().await, None);
    assert_eq!(agent.end("p").await, Err(EndError::Gone));
    // All the same, its guardian has undone it.
    clean(&dir);
    assert!(session.runs());
}

#[tokio::test]
async fn what_is_not_undone_fails_the_close() {
    let (temp, dir) = place();
    let (_tasks, agent, mut events) = start(&dir, Duration::from_secs(5)).await;
    let action = Action::Disk { directory: temp.path().to_owned(), take: fault_agent::Take::Bytes(4096) };
    agent.inject("d", action, LONG).await.unwrap();
    // In the place of a file that could be removed.
    let filler = temp.path().join(".gauntlet-fault-filler-d");
    std::fs::create_dir(&filler).unwrap();
    assert!(matches!(agent.end("d").await, Err(EndError::Unrecovered(_))));
    assert!(matches!(next(&mut events).await, Event::Unrecovered(unrecovered) if unrecovered.id == "d"));
    assert_eq!(agent.close().await, Err(CloseError::Unrecovered("d".to_owned())));
    std::fs::remove_dir(&filler).unwrap();
    let (_tasks, agent, mut events) = start(&dir, Duration::from_secs(5)).await;
    // By the guardian of the first, which went on trying, or by this one.
    let over = ended(&mut events).await;
    assert!(matches!(over.how, How::AgentGone | How::LeftOver), "{over:?}");
    assert_eq!(agent.close().await, Ok(()));
    clean(&dir);
}

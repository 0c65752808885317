//! What the fault agent holds: one fault of the plan is one or several of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fault_agent::{Action, Agent, CloseError, EndError, Ended, Event, Events, How, InjectError};
use futures::future::{join_all, select_all};
use service::{OnError, Tasks};
use tokio::sync::watch;

use super::{Broke, NotInjected, Undone};

/// How long the agent may take to tell of an end that it says has been.
const TELLS: Duration = Duration::from_secs(5);
/// How long until another agent has told what became of a fault that one had begun when it died.
const REPLACED: Duration = Duration::from_secs(20);

/// What could not be undone, by the agent's name of the fault, with what to do by hand. Shared by all agents of a service.
pub(crate) type Leftovers = Arc<Mutex<BTreeMap<String, String>>>;

type Slots = Arc<Mutex<BTreeMap<String, watch::Sender<Slot>>>>;

/// What is known of a fault of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Alive,
    Ended(Ended),
    Unrecovered(String),
}

/// A running agent, and what it told.
#[derive(Debug)]
pub(crate) struct AgentBackend {
    agent: Agent,
    slots: Slots,
    gone: Arc<AtomicBool>,
    /// What former agents held and nobody was told the end of, by the agent's name.
    found: BTreeMap<String, Ended>,
}

/// What the agent holds of one fault of the plan.
#[derive(Debug)]
pub(crate) struct Held {
    parts: Vec<(String, watch::Receiver<Slot>)>,
}

impl AgentBackend {
    pub(crate) fn new(agent: Agent, mut events: Events, leftovers: Leftovers, tasks: &Tasks) -> Self {
        let (slots, gone) = (Slots::default(), Arc::new(AtomicBool::new(false)));
        let mut found = BTreeMap::new();
        // It has told what it found before it was ready.
        while let Some(event) = events.told() {
            if let Event::Ended(ended) = &event {
                found.insert(ended.id.clone(), ended.clone());
            }
            hear(event, &slots, &leftovers);
        }
        let listen = listen(events, Arc::clone(&slots), leftovers, Arc::clone(&gone));
        tasks.spawn("fault agent's events", OnError::Log, listen);
        Self { agent, slots, gone, found }
    }

    /// The end of a fault that a former agent held, by the agent's name of it.
    pub(crate) fn found(&self, id: &str) -> Option<&Ended> {
        self.found.get(id)
    }

    /// Whether no agent will ever answer again.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) async fn close(&self) -> Result<(), CloseError> {
        self.agent.close().await
    }

    /// Injects all parts, or none: the agent's names and what they do.
    pub(crate) async fn inject(
        &self,
        parts: Vec<(String, Action)>,
        duration: Duration,
    ) -> Result<(Held, String), NotInjected> {
        let injecting = parts.into_iter().map(async |(id, action)| {
            let told = self.open(&id);
            (self.agent.inject(&id, action, duration).await, id, told)
        });
        let (mut begun, mut seen, mut failed) = (Vec::new(), Vec::new(), None);
        for (result, id, told) in join_all(injecting).await {
            match result {
                Ok(injected) => {
                    seen.push(injected.seen);
                    begun.push((id, told));
                }
                Err(error) => {
                    failed = failed.or(Some(self.not_injected(&id, error).await));
                    self.lock().remove(&id);
                }
            }
        }
        let held = Held { parts: begun };
        let Some(failed) = failed else { return Ok((held, seen.join("; "))) };
        match self.undo(held).await {
            Ok(_) => Err(failed),
            Err(detail) => Err(NotInjected::Unrecovered(format!("{failed}; of what had begun: {detail}"))),
        }
    }

    async fn not_injected(&self, id: &str, error: InjectError) -> NotInjected {
        let text = error.to_string();
        if !matches!(error, InjectError::Lost) {
            return NotInjected::Refused(text);
        }
        // It is told what became of it before another agent answers.
        let replaced = async {
            while self.agent.process().await.is_none() && !self.is_gone() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(REPLACED, replaced).await.is_err() || self.is_gone() {
            return NotInjected::Unrecovered(format!("{text}; no other agent has come that could show it"));
        }
        match self.slot(id) {
            Some(Slot::Unrecovered(detail)) => NotInjected::Unrecovered(detail),
            _ => NotInjected::Refused(text),
        }
    }

    /// Ends what is being injected, or is there; for whoever cannot wait until it is.
    pub(crate) async fn hasten(&self, ids: &[String]) {
        // Whether it helped is seen by who injects.
        join_all(ids.iter().map(|id| self.agent.end(id))).await;
    }

    /// Ends all parts, whether they are there or have ended by themselves.
    pub(crate) async fn undo(&self, held: Held) -> Result<Undone, String> {
        let ends = held.parts.into_iter().map(|(id, told)| self.end(id, told));
        let (mut verified, mut lost) = (Vec::new(), Vec::new());
        for end in join_all(ends).await {
            match end {
                Ok(ended) => verified.push(ended.verified),
                Err(detail) => lost.push(detail),
            }
        }
        if lost.is_empty() { Ok(Undone { verified: verified.join("; ") }) } else { Err(lost.join("; ")) }
    }

    async fn end(&self, id: String, mut told: watch::Receiver<Slot>) -> Result<Ended, String> {
        let asked = self.agent.end(&id).await;
        let result = match asked {
            Ok(ended) => Ok(ended),
            Err(EndError::Unrecovered(unrecovered)) => Err(unrecovered.detail),
            Err(error) => {
                let over = told.wait_for(|slot| *slot != Slot::Alive);
                match tokio::time::timeout(TELLS, over).await.map(|slot| slot.map(|slot| slot.clone())) {
                    Ok(Ok(Slot::Ended(ended))) => Ok(ended),
                    Ok(Ok(Slot::Unrecovered(detail))) => Err(detail),
                    _ => Err(error.to_string()),
                }
            }
        };
        self.lock().remove(&id);
        result
    }

    fn open(&self, id: &str) -> watch::Receiver<Slot> {
        let (sender, receiver) = watch::channel(Slot::Alive);
        self.lock().insert(id.to_owned(), sender);
        receiver
    }

    fn slot(&self, id: &str) -> Option<Slot> {
        self.lock().get(id).map(|slot| slot.borrow().clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, watch::Sender<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Waits until a part has ended by itself; why.
    pub(crate) async fn broke(&mut self) -> Broke {
        let waits =
            self.parts.iter_mut().map(|(_, told)| Box::pin(told.wait_for(|slot| *slot != Slot::Alive)));
        let (first, ..) = select_all(waits).await;
        match first.map(|slot| slot.clone()) {
            Ok(Slot::Ended(ended)) => Broke { how: how(ended.how).to_owned() },
            Ok(Slot::Unrecovered(detail)) => Broke { how: detail },
            Ok(Slot::Alive) | Err(_) => Broke { how: "the fault agent is not there any more".to_owned() },
        }
    }
}

/// Why a fault ended, as histories say it.
const fn how(how: How) -> &'static str {
    match how {
        How::Asked => "it was asked to",
        How::Duration => "its time is over",
        How::Lease => "its lease ended: the fault agent did not hear of us",
        How::ControllerGone | How::Quit => "the fault agent was ended",
        How::AgentGone => "the fault agent died: its guardian undid it",
        How::LeftOver => "the fault agent and its guardian died: the next agent undid it",
        How::VictimsGone => "nothing that it held is alive any more",
        How::BrokeOff => "what carried it out broke off",
        How::NoGuardian => "the fault agent has no guardian, and holds nothing without one",
    }
}

async fn listen(
    mut events: Events,
    slots: Slots,
    leftovers: Leftovers,
    gone: Arc<AtomicBool>,
) -> Result<(), std::convert::Infallible> {
    while let Some(event) = events.next().await {
        hear(event, &slots, &leftovers);
    }
    gone.store(true, Ordering::Release);
    // Whoever waits for a fault of it learns that nobody will tell.
    slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    Ok(())
}

fn hear(event: Event, slots: &Slots, leftovers: &Leftovers) {
    let tell = |id: &str, slot: Slot| {
        let slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(id).map(|sender| sender.send_replace(slot)).is_some()
    };
    let left = || leftovers.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Ended(ended) => {
            left().remove(&ended.id);
            if !tell(&ended.id, Slot::Ended(ended.clone())) {
                let (fault, verified) = (&ended.id, &ended.verified);
                tracing::info!(fault, how = ?ended.how, verified, "a fault is undone");
            }
        }
        Event::Unrecovered(lost) => {
            tracing::error!(fault = lost.id, detail = lost.detail, "a fault could not be undone");
            left().insert(lost.id.clone(), lost.detail.clone());
            tell(&lost.id, Slot::Unrecovered(lost.detail));
        }
        Event::Lost { detail } => tracing::warn!(detail, "the fault agent died; another one is started"),
        Event::Back { agent } => tracing::info!(%agent, "another fault agent is there"),
        Event::Guardian { guardian, why } => {
            tracing::warn!(%guardian, why, "another guardian watches the fault agent");
        }
        Event::GaveUp { detail } => tracing::error!(detail, "there is no fault agent any more"),
    }
}

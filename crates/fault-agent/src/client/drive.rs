//! The task that owns the agent's process: passes requests on, tells events, and starts another agent when one dies.

use std::collections::BTreeMap;
use std::time::Duration;

use platform::identity::ProcessId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::owed::Owed;
use super::process::Process;
use super::{Ask, CloseError, EndAnswer, EndError, Event, InjectAnswer, InjectError, Options, StartError};
use crate::exit;
use crate::wait::millis;
use crate::wire::{Refused, Reply, Request, Unrecovered};

/// How long an agent may take until it is ready: it undoes first what a former one left.
const READY_TAKES: Duration = Duration::from_secs(30);
/// How long it may take to undo everything at the end.
const CLOSE_TAKES: Duration = Duration::from_secs(30);
/// How many agents in a row may not come up before none is tried any more.
const TRIES: u32 = 6;
/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// An agent that lived this long counts as one that came up.
const LIVED: Duration = Duration::from_secs(10);
/// What an agent may be silent for beyond its lease, while it is asked at least once a second.
const SILENCE: Duration = Duration::from_secs(2);

pub(super) struct Driver {
    options: Options,
    asks: mpsc::Receiver<Ask>,
    events: mpsc::Sender<Event>,
    owed: Owed,
    injects: BTreeMap<String, InjectAnswer>,
    ends: BTreeMap<String, Vec<EndAnswer>>,
    agent: Option<ProcessId>,
}

/// Why an agent's process is not served any more.
enum Over {
    /// It is to be closed; who asked for it, if anybody did, waits.
    Close(Option<oneshot::Sender<Result<(), CloseError>>>),
    /// It died.
    Died,
    /// It lives and does not answer.
    Hung(String),
}

impl Driver {
    pub(super) fn new(options: Options, asks: mpsc::Receiver<Ask>, events: mpsc::Sender<Event>) -> Self {
        Self {
            options,
            asks,
            events,
            owed: Owed::default(),
            injects: BTreeMap::new(),
            ends: BTreeMap::new(),
            agent: None,
        }
    }

    pub(super) async fn run(mut self, ready: oneshot::Sender<Result<(), StartError>>) {
        let mut process = match self.start().await {
            Ok(process) => process,
            Err(error) => {
                // Who asked is not there any more: then nobody needs the agent either.
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let (_, detail) = match self.serve(&mut process).await {
                Over::Close(answer) => return self.close(process, answer).await,
                Over::Died => process.end().await,
                Over::Hung(why) => process.kill(&why).await,
            };
            if began.elapsed() > LIVED {
                tries = 0;
            }
            self.lost(detail).await;
            process = loop {
                tries += 1;
                match self.start().await {
                    Ok(process) => break process,
                    Err(error) if tries >= TRIES => return self.give_up(&error).await,
                    Err(error) => {
                        tracing::warn!(%error, "the fault agent could not be started, trying again");
                    }
                }
                sleep(FIRST_PAUSE * 2_u32.pow(tries)).await;
            };
            let Some(agent) = self.agent.clone() else { continue };
            self.tell(Event::Back { agent }).await;
        }
    }

    /// Starts an agent and waits until it has told what it found and is ready.
    async fn start(&mut self) -> Result<Process, StartError> {
        let mut process = Process::spawn(&self.options)?;
        let ready = timeout(READY_TAKES, async {
            while let Some(reply) = process.next().await {
                if matches!(reply, Reply::Ready { .. }) {
                    self.reply(reply).await;
                    return true;
                }
                self.reply(reply).await;
            }
            false
        });
        let problem = match ready.await {
            Ok(true) => return Ok(process),
            Ok(false) => {
                format!("it ended before it was ready ({}); see its own words", process.end().await.1)
            }
            Err(_) => process.kill(&format!("it was not ready within {} s", READY_TAKES.as_secs())).await.1,
        };
        let command = self.options.command.first().map(|part| part.to_string_lossy().into_owned());
        Err(StartError { command: command.unwrap_or_default(), problem })
    }

    async fn serve(&mut self, process: &mut Process) -> Over {
        let mut beat = interval((self.options.lease / 5).min(Duration::from_secs(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let request = tokio::select! {
                reply = process.next() => match reply {
                    Some(reply) => {
                        self.reply(reply).await;
                        continue;
                    }
                    None => return Over::Died,
                },
                _ = beat.tick() => {
                    if process.silent_for() > self.options.lease + SILENCE {
                        return Over::Hung(format!("it said nothing for {} ms", process.silent_for().as_millis()));
                    }
                    Request::Renew
                }
                ask = self.asks.recv() => match ask {
                    Some(Ask::Close { answer }) => return Over::Close(Some(answer)),
                    None => return Over::Close(None),
                    Some(ask) => match self.request(ask) {
                        Some(request) => request,
                        None => continue,
                    },
                },
            };
            if !process.ask(&request).await {
                return Over::Hung("it does not take requests".to_owned());
            }
        }
    }

    /// The request for what a handle asks, unless the answer is known here.
    fn request(&mut self, ask: Ask) -> Option<Request> {
        match ask {
            Ask::Inject { id, answer, .. } if self.injects.contains_key(&id) => {
                let refused = Refused {
                    problem: format!("fault {id} is being injected already"),
                    mend: "give each fault a name of its own".to_owned(),
                    id,
                };
                let _ = answer.send(Err(InjectError::Refused(refused)));
                None
            }
            Ask::Inject { id, action, duration, lease, answer } => {
                self.injects.insert(id.clone(), answer);
                let (duration_ms, lease_ms) = (millis(duration), lease.map(millis));
                Some(Request::Inject { id, action, duration_ms, lease_ms })
            }
            Ask::End { id, answer } => {
                self.ends.entry(id.clone()).or_default().push(answer);
                Some(Request::End { id })
            }
            Ask::Process { answer } => {
                let _ = answer.send(self.agent.clone());
                None
            }
            // The caller has taken it out.
            Ask::Close { .. } => None,
        }
    }

    /// Whoever waits for an answer may have gone: that is no matter to the others.
    async fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Ready { agent, .. } => {
                self.agent = Some(agent);
                for id in self.owed.untold() {
                    let detail = format!(
                        "fault {id} is not in the journal of the agent that was started anew, so nothing shows that it is \
                         undone; run the agent's check on {}",
                        self.options.state_dir.display()
                    );
                    self.unrecovered(Unrecovered { id, detail }).await;
                }
                // What was asked of the former agent and is not told by now was not held any more.
                for (id, answers) in std::mem::take(&mut self.ends) {
                    let problem = format!("fault {id} is not held");
                    let mend = "it has ended before, or never began".to_owned();
                    let refused = Refused { id, problem, mend };
                    for answer in answers {
                        let _ = answer.send(Err(EndError::Refused(refused.clone())));
                    }
                }
            }
            Reply::Injected(injected) => {
                self.owed.injected(&injected.id);
                if let Some(answer) = self.injects.remove(&injected.id) {
                    let _ = answer.send(Ok(injected));
                }
            }
            Reply::Ended(ended) => {
                for answer in self.ends.remove(&ended.id).unwrap_or_default() {
                    let _ = answer.send(Ok(ended.clone()));
                }
                if self.owed.ended(&ended.id) {
                    self.tell(Event::Ended(ended)).await;
                }
            }
            Reply::Unrecovered(unrecovered) => self.unrecovered(unrecovered).await,
            Reply::Refused(refused) => {
                if let Some(answer) = self.injects.remove(&refused.id) {
                    let _ = answer.send(Err(InjectError::Refused(refused)));
                } else {
                    for answer in self.ends.remove(&refused.id).unwrap_or_default() {
                        let _ = answer.send(Err(EndError::Refused(refused.clone())));
                    }
                }
            }
            Reply::Guardian { guardian, why } => self.tell(Event::Guardian { guardian, why }).await,
            Reply::Renewed | Reply::Faults { .. } => {}
        }
    }

    async fn unrecovered(&mut self, unrecovered: Unrecovered) {
        for answer in self.ends.remove(&unrecovered.id).unwrap_or_default() {
            let _ = answer.send(Err(EndError::Unrecovered(unrecovered.clone())));
        }
        if self.owed.unrecovered(&unrecovered.id) {
            self.tell(Event::Unrecovered(unrecovered)).await;
        }
    }

    async fn lost(&mut self, detail: String) {
        self.agent = None;
        for answer in std::mem::take(&mut self.injects).into_values() {
            let _ = answer.send(Err(InjectError::Lost));
        }
        tracing::warn!(detail, "the fault agent died; its guardian undoes what it held");
        self.tell(Event::Lost { detail }).await;
    }

    async fn give_up(mut self, error: &StartError) {
        for id in self.owed.untold() {
            let detail = format!(
                "no agent can be started that would show that fault {id} is undone: {error}; run the agent's check on {}",
                self.options.state_dir.display()
            );
            self.unrecovered(Unrecovered { id, detail }).await;
        }
        self.tell(Event::GaveUp { detail: error.to_string() }).await;
    }

    /// Nobody reads events: then nobody misses them.
    async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    async fn close(mut self, mut process: Process, answer: Option<oneshot::Sender<Result<(), CloseError>>>) {
        // One that cannot hear it sees the end of its input.
        process.ask(&Request::Quit).await;
        let told = timeout(CLOSE_TAKES, async {
            while let Some(reply) = process.next().await {
                self.reply(reply).await;
            }
        });
        let (code, detail) = match told.await {
            Ok(()) => process.end().await,
            Err(_) => {
                process.kill(&format!("it did not undo everything within {} s", CLOSE_TAKES.as_secs())).await
            }
        };
        let ended = match code {
            Some(0) => Ok(()),
            Some(code) if code == i32::from(exit::UNRECOVERED) => {
                Err(CloseError::Unrecovered(self.owed.left().join(", ")))
            }
            _ => Err(CloseError::Agent(detail)),
        };
        if let Some(answer) = answer {
            let _ = answer.send(ended);
        }
    }
}

//! Steering a run by hand (requirement R2.4): what can be asked, and the box in which it waits for the run.

use std::collections::{BTreeMap, VecDeque};

use service::Shutdown;
use tokio::sync::{mpsc, oneshot};

/// What somebody asks of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// Send nothing until resumed; the phase's clock stands still.
    Pause,
    /// Go on.
    Resume,
    /// End the run gracefully.
    Stop,
    /// End this phase and go on with the next.
    Skip,
    /// Requests per second for the rest of the phase.
    Rate(f64),
    /// Share of the wanted rate that is sent for as long as whoever asks has an open incident, 0 to 1; 1 = it is closed.
    Shed(f64),
}

impl Action {
    /// Reads the action of a command.
    ///
    /// # Errors
    /// A text for the user when there is none, or the rate is not one.
    pub(crate) fn from_proto(action: Option<protocol::v1::control_run::Action>) -> Result<Self, String> {
        use protocol::v1::control_run::Action as Proto;
        match action {
            Some(Proto::Pause(_)) => Ok(Self::Pause),
            Some(Proto::Resume(_)) => Ok(Self::Resume),
            Some(Proto::Stop(_)) => Ok(Self::Stop),
            Some(Proto::Skip(_)) => Ok(Self::Skip),
            Some(Proto::Rate(rate)) if rate.is_finite() && (0.0..=MAX_RATE).contains(&rate) => {
                Ok(Self::Rate(rate))
            }
            Some(Proto::Rate(rate)) => {
                Err(format!("rate {rate} is not one: expected requests per second from 0 to {MAX_RATE}"))
            }
            None => Err("no action: expected pause, resume, stop, skip or rate".to_owned()),
        }
    }
}

/// No host sends more; anything above is a slip.
pub(crate) const MAX_RATE: f64 = 1e8;

/// Who asks for less load while an incident lasts.
pub(crate) fn shed_by(incident: &str) -> String {
    format!("recovery {incident}")
}

/// A request with who made it and where the answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    /// What is asked.
    pub(crate) action: Action,
    /// Who asks.
    pub(crate) by: String,
    /// Done, or why it cannot be done now.
    pub(crate) reply: oneshot::Sender<Result<(), String>>,
}

impl Request {
    /// Answers; somebody who has gone away needs no answer.
    pub(crate) fn answer(self, answer: Result<(), String>) {
        let _ = self.reply.send(answer);
    }
}

/// What comes to a run from outside.
#[derive(Debug)]
pub(crate) enum Signal {
    /// A request by command or API.
    Request(Request),
    /// The run is to stop: somebody asked for it while that could not be done, or the scheduler shuts down.
    Stop(String),
}

/// The run's end of the box.
pub(crate) struct Inbox {
    requests: mpsc::Receiver<Request>,
    shutdown: Shutdown,
    /// The shutdown was heard.
    told: bool,
    /// Who asked for a stop that has not been acted on.
    deferred: Option<String>,
    /// The run is stopping.
    stopping: bool,
    /// By who asked for it: the share of the wanted rate that is sent; phases come and go, incidents last.
    keeps: BTreeMap<String, f64>,
    /// What was asked while a phase was being started; at most [`REQUESTS`].
    put_off: VecDeque<Request>,
}

/// The service's end of the box.
#[derive(Clone)]
pub(crate) struct Outbox {
    requests: mpsc::Sender<Request>,
}

/// How many requests a box holds: nobody has more than one open.
const REQUESTS: usize = 16;

/// An empty box.
pub(crate) fn channel(shutdown: Shutdown) -> (Outbox, Inbox) {
    let (sender, requests) = mpsc::channel(REQUESTS);
    let (keeps, put_off) = (BTreeMap::new(), VecDeque::new());
    let inbox = Inbox { requests, shutdown, told: false, deferred: None, stopping: false, keeps, put_off };
    (Outbox { requests: sender }, inbox)
}

impl Outbox {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why it cannot be done now, for the user.
    pub(crate) async fn ask(&self, action: Action, by: String) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let over = || "the run is over".to_owned();
        self.requests.send(Request { action, by, reply }).await.map_err(|_| over())?;
        answer.await.unwrap_or_else(|_| Err(over()))
    }
}

impl Inbox {
    /// The next signal; the shutdown comes once. Safe to drop and call anew, as in `select!`.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.deferred.take() {
            Some(by) => Signal::Stop(by),
            None => self.receive().await,
        }
    }

    /// Notes that the run is stopping: from here on nobody need ask for it.
    pub(crate) fn stopping(&mut self) {
        self.stopping = true;
        self.deferred = None;
    }

    /// Who has asked for a stop that was not acted on.
    pub(crate) fn take_deferred(&mut self) -> Option<String> {
        self.deferred.take()
    }

    /// Refuses a request, and says why. How much of the load is sent is noted at any time: it holds for what comes.
    pub(crate) fn refuse(&mut self, request: Request, why: &str) {
        if let Action::Shed(keep) = request.action {
            self.keep(&request.by, keep);
            request.answer(Ok(()));
        } else {
            request.answer(Err(why.to_owned()));
        }
    }

    /// Keeps a request until the phase has started. The history tells of a phase before its workers do, so that who asks
    /// then is right to.
    pub(crate) fn put_off(&mut self, request: Request, why: &str) {
        if matches!(request.action, Action::Shed(_)) || self.put_off.len() >= REQUESTS {
            self.refuse(request, why);
        } else {
            self.put_off.push_back(request);
        }
    }

    /// The next request that was put off.
    pub(crate) fn next_put_off(&mut self) -> Option<Request> {
        self.put_off.pop_front()
    }

    /// Refuses all that was put off: the phase does not start.
    pub(crate) fn refuse_put_off(&mut self, why: &str) {
        while let Some(request) = self.next_put_off() {
            self.refuse(request, why);
        }
    }

    /// Notes which share of the wanted rate somebody wants to be sent; 1 = he has no wish any more.
    pub(crate) fn keep(&mut self, by: &str, keep: f64) {
        if keep < 1.0 {
            self.keeps.insert(by.to_owned(), keep);
        } else {
            self.keeps.remove(by);
        }
    }

    /// The share of the wanted rate that is to be sent: the least that somebody wants.
    pub(crate) fn kept(&self) -> f64 {
        self.keeps.values().copied().fold(1.0, f64::min)
    }

    /// Does `work` to its end whatever comes: a stop is kept for later, everything else is refused because `doing`.
    pub(crate) async fn refusing<T>(&mut self, doing: &str, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let signal = tokio::select! {
                biased;
                done = &mut work => return done,
                signal = self.receive() => signal,
            };
            match signal {
                Signal::Stop(by) if !self.stopping => {
                    self.deferred.get_or_insert(by);
                }
                Signal::Request(request) if request.action == Action::Stop && !self.stopping => {
                    self.deferred.get_or_insert_with(|| request.by.clone());
                    request.answer(Ok(()));
                }
                Signal::Request(request) if request.action == Action::Stop => {
                    request.answer(Err("the run is stopping already".to_owned()));
                }
                Signal::Request(request) => self.refuse(request, doing),
                Signal::Stop(_) => {}
            }
        }
    }

    async fn receive(&mut self) -> Signal {
        if self.told {
            return match self.requests.recv().await {
                Some(request) => Signal::Request(request),
                None => std::future::pending().await,
            };
        }
        tokio::select! {
            biased;
            () = self.shutdown.triggered() => {
                self.told = true;
                Signal::Stop(self.shutdown.reason().unwrap_or_else(|| "shutdown".to_owned()))
            }
            Some(request) = self.requests.recv() => Signal::Request(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_least_share_counts_and_is_noted_when_nothing_else_is_done() {
        let (outbox, mut inbox) = channel(Shutdown::new());
        let asking = async {
            outbox.ask(Action::Shed(0.5), "recovery shop-1".to_owned()).await.unwrap();
            outbox.ask(Action::Shed(0.2), "recovery core-1".to_owned()).await.unwrap();
            outbox.ask(Action::Pause, "cli".to_owned()).await
        };
        let refused = inbox.refusing("the phase is ending", asking).await;
        assert_eq!(refused, Err("the phase is ending".to_owned()));
        assert_eq!(inbox.kept(), 0.2);
        inbox.keep("recovery core-1", 1.0);
        assert_eq!(inbox.kept(), 0.5);
        inbox.keep("recovery shop-1", 1.0);
        assert_eq!(inbox.kept(), 1.0);
    }

    #[tokio::test]
    async fn what_is_put_off_is_answered_later_and_a_share_at_once() {
        let (outbox, mut inbox) = channel(Shutdown::new());
        let ask = |action| outbox.ask(action, "cli".to_owned());
        let asked =
            async { tokio::join!(ask(Action::Pause), ask(Action::Rate(5.0)), ask(Action::Shed(0.5))) };
        let answered = async {
            for _ in 0..3 {
                let Signal::Request(request) = inbox.next().await else { panic!("nobody stops") };
                inbox.put_off(request, "the phase is being started");
            }
            assert_eq!(inbox.kept(), 0.5);
            let first = inbox.next_put_off().unwrap();
            assert_eq!(first.action, Action::Pause);
            first.answer(Ok(()));
            inbox.refuse_put_off("the phase does not start");
        };
        let ((pause, rate, shed), ()) = tokio::join!(asked, answered);
        assert_eq!((pause, shed), (Ok(()), Ok(())));
        assert_eq!(rate, Err("the phase does not start".to_owned()));
    }
}

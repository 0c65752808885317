//! Following a run: its history goes to the run directory, its figures to the terminal.

use std::time::{Duration, Instant};

use bus::Subscription;
use protocol::event::{Entry, Event};
use protocol::id::RunId;
use protocol::v1::{self, control_run::Action};
use service::telemetry::Telemetry;
use service::traces::untraced;
use tokio::time::MissedTickBehavior;

use super::progress::Progress;
use super::services::{Services, read_entry};
use super::signals::{Came, Signals};
use crate::failure::Failure;
use crate::run_dir::RunDir;

/// How often the terminal is drawn anew, and looked whether an announcement was lost.
const REDRAW: Duration = Duration::from_millis(200);
/// How long the scheduler may take to close its runs once it was told to end.
const SCHEDULER_CLOSES: Duration = Duration::from_secs(60);

/// After so long without an entry a deployed scheduler is asked whether there are more.
const QUIET: Duration = Duration::from_secs(2);

/// After so long without an answer a deployed scheduler is given up.
const GONE: Duration = Duration::from_secs(45);

/// How a run came to its end.
pub(crate) enum Followed {
    /// With a verdict.
    Ended {
        /// Its exit code.
        code: u8,
        /// The whole history.
        history: Vec<Entry>,
    },
    /// By a second signal, without one.
    AtOnce(u8),
}

/// A run that is followed.
pub(crate) struct Following {
    run: RunId,
    announced: Subscription<v1::HistoryEntry>,
    live: Subscription<v1::Aggregate>,
    history: Vec<Entry>,
    lost: u64,
    /// When an entry came last, or was asked for.
    heard: Instant,
    /// When the scheduler was heard last.
    answered: Instant,
    stopped: Option<Came>,
}

impl Following {
    /// Listens, before there is anything to hear.
    ///
    /// # Errors
    /// When the bus fails.
    pub(crate) async fn subscribe(services: &Services, run: RunId) -> Result<Self, Failure> {
        Ok(Self {
            run,
            announced: services.bus.subscribe().await?,
            live: services.bus.subscribe().await?,
            history: Vec::new(),
            lost: 0,
            heard: Instant::now(),
            answered: Instant::now(),
            stopped: None,
        })
    }

    /// Follows until the run has ended, or a second signal came.
    ///
    /// # Errors
    /// When the history cannot be kept, or a service ends the run's services.
    pub(crate) async fn until_the_end(
        mut self,
        services: &Services,
        dir: &mut RunDir,
        signals: &mut Signals,
        progress: &mut Progress,
        telemetry: Option<&Telemetry>,
    ) -> Result<Followed, Failure> {
        let mut redraw = tokio::time::interval(REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let run = self.run.to_bytes();
        loop {
            let before = self.history.len();
            tokio::select! {
                biased;
                came = signals.next() => {
                    if self.stopped.is_some() {
                        return Ok(Followed::AtOnce(came.code()));
                    }
                    self.stopped = Some(came);
                    progress.note("stopping: the load ramps down and results are collected; the same again ends at once");
                    self.ask_to_stop(services, came).await;
                }
                () = services.shutdown.triggered() => return self.service_lost(services, dir, signals).await,
                Some(entry) = self.announced.next() => {
                    if entry.run == run {
                        self.announced(services, entry).await?;
                    }
                }
                Some(aggregate) = self.live.next() => {
                    if aggregate.run == run {
                        progress.live(&aggregate);
                    }
                }
                _ = redraw.tick() => {
                    progress.tick();
                    if self.announced.lost() > self.lost || self.quiet(services) {
                        self.lost = self.announced.lost();
                        self.heard = Instant::now();
                        self.catch_up(services).await?;
                    }
                }
            }
            for entry in &self.history[before..] {
                dir.append(entry)?;
                progress.event(&entry.event);
                if let Event::PhaseStarted { phase, .. } = &entry.event {
                    set_level(telemetry, progress.log_level(*phase));
                }
            }
            if let Some(code) = ended(&self.history[before..]) {
                return Ok(Followed::Ended { code, history: self.history });
            }
        }
    }

    /// Whether a network may have swallowed the last announcements.
    fn quiet(&self, services: &Services) -> bool {
        services.are_deployed() && self.heard.elapsed() > QUIET
    }

    async fn ask_to_stop(&self, services: &Services, came: Came) {
        let stop = v1::ControlRun {
            run: self.run.to_bytes(),
            by: came.by.to_owned(),
            action: Some(Action::Stop(true)),
        };
        let refused = match services.ask(&stop).await {
            Ok(reply) => reply.refused,
            Err(failure) => failure.to_string(),
        };
        if !refused.is_empty() {
            // The run cannot be told, so its scheduler is, which then ends all its runs for this reason.
            tracing::warn!(refused, "the run did not take the stop; its services are ended");
            services.shutdown.trigger(came.by);
        }
    }

    /// Takes an announced entry; those before it that were not announced are read from the store.
    async fn announced(&mut self, services: &Services, announced: v1::HistoryEntry) -> Result<(), Failure> {
        (self.heard, self.answered) = (Instant::now(), Instant::now());
        let next = self.history.last().map_or(1, |entry| entry.sequence + 1);
        if announced.sequence < next {
            return Ok(());
        }
        if announced.sequence > next {
            return self.catch_up(services).await;
        }
        self.history.push(read_entry(announced)?);
        Ok(())
    }

    async fn catch_up(&mut self, services: &Services) -> Result<(), Failure> {
        let last = self.history.last().map_or(0, |entry| entry.sequence);
        // Asked now and then: no part of the trace.
        match untraced(services.history(self.run, last)).await {
            Ok(entries) => {
                self.history.extend(entries);
                self.answered = Instant::now();
                Ok(())
            }
            // A scheduler that is being started anew does not answer; it is asked again.
            Err(_) if services.are_deployed() && self.answered.elapsed() < GONE => Ok(()),
            Err(failure) if services.are_deployed() => {
                let seconds = self.answered.elapsed().as_secs();
                let text = if services.bus.is_connected() {
                    format!("lost service scheduler: it has not answered for {seconds} s ({failure})")
                } else {
                    format!(
                        "lost NATS: the scheduler has not been heard for {seconds} s, and NATS cannot be reached"
                    )
                };
                Err(Failure::with_code(scheduler::verdict::code::ABORTED, text))
            }
            Err(failure) => Err(failure),
        }
    }

    /// The services end before the run has: a service failed, or a signal found no run to stop. The scheduler still closes
    /// the run, which then has a verdict.
    async fn service_lost(
        mut self,
        services: &Services,
        dir: &mut RunDir,
        signals: &mut Signals,
    ) -> Result<Followed, Failure> {
        tokio::select! {
            came = signals.next() => return Ok(Followed::AtOnce(came.code())),
            _ = services.ended(SCHEDULER_CLOSES) => {}
        }
        let known = self.history.len();
        self.catch_up(services).await?;
        for entry in &self.history[known..] {
            dir.append(entry)?;
        }
        match ended(&self.history) {
            Some(code) => Ok(Followed::Ended { code, history: self.history }),
            None => Err(Failure::with_code(
                self.stopped.map_or(scheduler::verdict::code::ABORTED, Came::code),
                services.shutdown.reason().unwrap_or_else(|| "the services ended".to_owned()),
            )),
        }
    }
}

/// The exit code, if the run's end is among these.
fn ended(entries: &[Entry]) -> Option<u8> {
    entries.iter().find_map(|entry| match entry.event {
        Event::RunEnded { exit_code, .. } => Some(exit_code),
        _ => None,
    })
}

fn set_level(telemetry: Option<&Telemetry>, level: &str) {
    if let Some(telemetry) = telemetry
        && let Err(error) = telemetry.set_level(level)
    {
        tracing::warn!(%error, level, "the phase's log level is not in effect");
    }
}

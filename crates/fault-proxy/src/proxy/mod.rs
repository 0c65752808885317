//! A proxy: where it listens, where it leads, its toxics, its connections.

mod address;
mod serve;
mod toxics;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use service::{OnError, Shutdown, Tasks};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::flow::Chain;
use crate::splice::Pipes;
use crate::toxic::{Lease, Stream};
use crate::wire::{self, Draws, LeaseView, ProxyInput, ProxyView, ToxicView};
use crate::{Error, Options};

pub(crate) use serve::{Common, Counters};

/// How long closed connections may take to be gone. They are dropped where they stand, so this is never used up.
const CLOSING: Duration = Duration::from_secs(5);

/// The pause before a port that was taken meanwhile is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// A proxy.
pub(crate) struct Proxy {
    name: String,
    options: Arc<Options>,
    common: Arc<Common>,
    chain: watch::Sender<Chain>,
    state: Mutex<State>,
    /// Held while the listener is opened or closed, and only then.
    running: tokio::sync::Mutex<Option<Running>>,
}

#[derive(Clone)]
struct State {
    listen: String,
    upstream: String,
    enabled: bool,
    lease: Option<Lease>,
    /// How long it stays disabled.
    disabled: Option<Lease>,
    /// The next toxic's.
    next_id: u64,
}

struct Running {
    listening: Tasks,
    course: Arc<serve::Course>,
}

impl Proxy {
    /// A proxy that does not listen yet.
    pub(crate) fn new(
        name: String,
        listen: String,
        upstream: String,
        options: &Arc<Options>,
        budget: &Budget,
        pipes: &Pipes,
    ) -> Self {
        let (chain, _) = watch::channel(Chain::default());
        let common = Arc::new(Common::new(&name, options.seed, budget.clone(), pipes.clone()));
        let state = State { listen, upstream, enabled: false, lease: None, disabled: None, next_id: 0 };
        Self {
            name,
            options: Arc::clone(options),
            common,
            chain,
            state: Mutex::new(state),
            running: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.common.counters()
    }

    /// What was drawn for its connections.
    pub(crate) fn draws(&self) -> Draws {
        self.common.draws()
    }

    /// Its toxics as a connection sees them.
    #[cfg(test)]
    pub(crate) fn subscribed(&self) -> watch::Receiver<Chain> {
        self.chain.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Valid between any two statements: a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the API shows it.
    pub(crate) fn view(&self) -> ProxyView {
        let toxics = self.toxics();
        let state = self.state();
        ProxyView {
            name: self.name.clone(),
            listen: state.listen.clone(),
            upstream: state.upstream.clone(),
            enabled: state.enabled,
            enabled_in: state.disabled.map(|lease| LeaseView::from(lease).ends_in),
            toxics,
            lease: state.lease.map(Into::into),
        }
    }

    /// Its toxics, those of the upstream first, as Toxiproxy lists them.
    pub(crate) fn toxics(&self) -> Vec<ToxicView> {
        let chain = self.chain.borrow();
        let (down, up): (Vec<_>, Vec<_>) = chain.iter().partition(|toxic| toxic.stream == Stream::Downstream);
        up.into_iter().chain(down).map(|toxic| ToxicView::from(&**toxic)).collect()
    }

    /// When it ends, is enabled by itself, or a toxic of it ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        let toxics = self.chain.borrow().iter().filter_map(|toxic| toxic.lease).map(|lease| lease.ends).min();
        let State { lease, disabled, .. } = *self.state();
        lease.into_iter().chain(disabled).map(|lease| lease.ends).chain(toxics).min()
    }

    /// Whether its lease has ended.
    pub(crate) fn has_ended(&self, now: Instant) -> bool {
        self.state().lease.is_some_and(|lease| lease.ends <= now)
    }

    /// Sets its lease.
    pub(crate) fn lease(&self, ttl: Option<Duration>) {
        let mut state = self.state();
        state.lease = wire::lease(state.lease, ttl);
    }

    /// It is not enabled: for how long.
    ///
    /// # Errors
    /// When the time is too long.
    pub(crate) fn disable(&self, input: &ProxyInput) -> Result<(), Error> {
        let ttl = wire::named_ttl("disabled_ttl", input.disabled_ttl)?;
        let mut state = self.state();
        state.disabled = wire::lease(state.disabled, ttl);
        Ok(())
    }

    /// Whether it has been disabled for as long as it was to be.
    pub(crate) fn is_to_listen(&self, now: Instant) -> bool {
        self.state().disabled.is_some_and(|lease| lease.ends <= now)
    }

    /// Listens if it has been disabled for long enough. An address that cannot be had is tried again soon.
    pub(crate) async fn listen_again(&self) {
        let mut running = self.running.lock().await;
        // Disabled anew while we waited for our turn, it stays so.
        if !self.is_to_listen(Instant::now()) {
            return;
        }
        if let Err(error) = self.open(&mut running).await {
            tracing::warn!(proxy = self.name, %error, "the proxy is to listen again, and cannot yet");
            self.state().disabled = Some(Lease::new(AGAIN));
        }
    }

    /// Listens; where it does already, nothing happens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        let mut running = self.running.lock().await;
        self.open(&mut running).await
    }

    /// Closes the listener and all connections.
    pub(crate) async fn stop(&self) {
        let mut running = self.running.lock().await;
        self.close(&mut running, Duration::ZERO).await;
    }

    /// Closes the listener, waits for connections to end by themselves at most `grace`, then closes them.
    pub(crate) async fn end(&self, grace: Duration) {
        let mut running = self.running.lock().await;
        self.close(&mut running, grace).await;
    }

    /// Changes what is given. Another address or upstream closes its connections; another address its listener, too. With
    /// another upstream alone it keeps its port throughout: who connects meanwhile is led to the new one.
    ///
    /// # Errors
    /// When the new address cannot be had; the proxy is then disabled, and keeps the new address.
    pub(crate) async fn update(&self, input: &ProxyInput) -> Result<(), Error> {
        let ttl = wire::ttl(input.ttl)?;
        wire::named_ttl("disabled_ttl", input.disabled_ttl)?;
        let mut running = self.running.lock().await;
        let present = self.state().clone();
        if let Some(listen) = &input.listen
            && self.listens_elsewhere(listen).await?
        {
            self.close(&mut running, Duration::ZERO).await;
            self.state().listen.clone_from(listen);
        }
        if let Some(upstream) = input.upstream.as_ref().filter(|upstream| **upstream != present.upstream) {
            self.state().upstream.clone_from(upstream);
            if let Some(running) = &*running {
                end(&running.course.change(upstream)).await;
                tracing::info!(proxy = self.name, upstream, "proxy leads elsewhere");
            }
        }
        self.lease(ttl);
        if input.enabled.unwrap_or(present.enabled) {
            self.open(&mut running).await
        } else {
            self.close(&mut running, Duration::ZERO).await;
            self.disable(input)
        }
    }

    /// Whether it listens elsewhere or leads elsewhere.
    ///
    /// # Errors
    /// When the address is none.
    pub(crate) async fn differs(&self, listen: &str, upstream: &str) -> Result<bool, Error> {
        Ok(self.state().upstream != upstream || self.listens_elsewhere(listen).await?)
    }

    async fn listens_elsewhere(&self, listen: &str) -> Result<bool, Error> {
        let present = self.state().listen.clone();
        Ok(present != listen && address::resolve(listen).await?.to_string() != present)
    }

    async fn open(&self, running: &mut Option<Running>) -> Result<(), Error> {
        if running.is_some() {
            return Ok(());
        }
        let State { listen, upstream, .. } = self.state().clone();
        let (listener, bound) = address::listen(&listen, self.options.any_address).await?;
        let course = Arc::new(serve::Course::new(&upstream));
        let started = Running { listening: Tasks::new(Shutdown::new()), course: Arc::clone(&course) };
        let accept = serve::accept(listener, course, Arc::clone(&self.common), self.chain.subscribe());
        started.listening.spawn("proxy listener", OnError::Log, accept);
        *running = Some(started);
        let mut state = self.state();
        state.listen = bound.to_string();
        state.enabled = true;
        state.disabled = None;
        tracing::info!(proxy = self.name, listen = state.listen, upstream = state.upstream, "proxy listens");
        Ok(())
    }

    async fn close(&self, running: &mut Option<Running>, grace: Duration) {
        self.state().enabled = false;
        let Some(Running { listening, course }) = running.take() else { return };
        listening.abort();
        listening.finish(CLOSING).await;
        let connections = course.connections();
        if !grace.is_zero() {
            connections.finish(grace).await;
        }
        end(&connections).await;
        tracing::info!(proxy = self.name, "proxy closed");
    }
}

/// Closes connections.
async fn end(connections: &Tasks) {
    connections.abort();
    connections.finish(CLOSING).await;
}

//! The fault proxy: a process that is there as long as its run, and again on the same ports when it dies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fault_proxy::client::{Client, ClientError};
use fault_proxy::{ProxyInput, ToxicInput};
use service::{OnError, Shutdown, Tasks};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::proxy_process::{self, ProxyCommand, ProxyProcess, ProxyRecord};
use super::proxy_view::{place, shown};
use super::toxics::Deed;
use super::{Broke, NotInjected, Undone};

/// How often leases are renewed, and the process is looked at.
const TICK: Duration = Duration::from_secs(1);
/// So many looks in a row may go unanswered before the process counts as hung.
const SILENT: u32 = 3;
/// How often it is started again in a row before it is given up.
const TRIES: u32 = 6;
/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a fault waits for a proxy that is being started again.
const BACK: Duration = Duration::from_secs(5);
/// The pause before an undo is tried again that nobody answered.
const AGAIN: Duration = Duration::from_millis(50);

/// The proxy of a run. Clones mean the same one.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    command: ProxyCommand,
    client: Client,
    record: Mutex<ProxyRecord>,
    /// Where proxies lead when nobody has led them elsewhere, by name.
    upstreams: BTreeMap<String, String>,
    life: watch::Sender<Life>,
    stop: Shutdown,
    stopped: Shutdown,
}

/// How the process is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    /// The so-many-th one runs.
    Up(u64),
    /// The so-many-th one died, of this, and another is being started.
    Down(u64, String),
    /// None will run any more.
    GivenUp(String),
}

/// A fault that is done to proxies.
#[derive(Debug)]
pub(crate) struct Held {
    id: String,
    proxies: Vec<String>,
    refuses: bool,
    /// How long it lasts when nobody renews it.
    lease: Duration,
    /// The process that holds it.
    generation: u64,
}

impl Proxy {
    /// Takes over the one that an earlier life of this service left behind for the same run, so that what goes through
    /// it does not notice; else starts it with these proxies, on the ports that they had if it was this run's.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) async fn open(
        command: ProxyCommand,
        run: &str,
        mut proxies: Vec<ProxyInput>,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let upstreams =
            proxies.iter().filter_map(|proxy| Some((proxy.name.clone()?, proxy.upstream.clone()?)));
        let upstreams = upstreams.collect();
        let kept = command.kept();
        if let Some(kept) = &kept {
            if kept.run == run
                && let Some((process, client)) = taken_over(kept, &proxies).await
            {
                return Ok(Self::watched(command, process, client, kept.clone(), upstreams, tasks));
            }
            proxy_process::end(&kept.process).await;
        }
        let (mut api, mut token) = (format!("{}:0", bracketed(command.address)), fresh_token()?);
        if let Some(kept) = kept.filter(|kept| kept.run == run) {
            for proxy in &mut proxies {
                if let Some(known) = kept.proxies.iter().find(|known| known.name == proxy.name) {
                    // Also where failover had led it.
                    proxy.clone_from(known);
                }
            }
            (api, token) = (kept.api, kept.token);
        }
        let process = command.start(&api, &token, &proxies).await?;
        let url = format!("http://{}", process.api);
        let client = Client::new(&url, Some(&token)).map_err(|error| error.to_string())?;
        let views = client.list().await.map_err(|error| error.to_string())?;
        for proxy in &mut proxies {
            let view = proxy.name.as_ref().and_then(|name| views.get(name));
            proxy.listen = view.map(|view| view.listen.clone());
        }
        let (run, api) = (run.to_owned(), process.api.clone());
        let record = ProxyRecord { run, process: process.process.clone(), api, token, proxies };
        Ok(Self::watched(command, process, client, record, upstreams, tasks))
    }

    /// One that runs, with somebody who looks after it.
    fn watched(
        command: ProxyCommand,
        process: ProxyProcess,
        client: Client,
        record: ProxyRecord,
        upstreams: BTreeMap<String, String>,
        tasks: &Tasks,
    ) -> Self {
        let inner = Inner {
            command,
            client,
            record: Mutex::new(record),
            upstreams,
            life: watch::Sender::new(Life::Up(1)),
            stop: Shutdown::new(),
            stopped: Shutdown::new(),
        };
        let proxy = Self { inner: Arc::new(inner) };
        proxy.keep();
        tasks.spawn("fault proxy", OnError::Log, proxy.clone().supervise(process));
        proxy
    }

    /// Where its API is: host and port, and what callers send.
    pub(crate) fn api(&self) -> (String, String) {
        let record = self.record();
        (record.api, record.token)
    }

    /// Its proxies with their ports.
    pub(crate) fn proxies(&self) -> Vec<ProxyInput> {
        self.record().proxies
    }

    /// Why it does not run; `None` = it does, or is being started again.
    pub(crate) fn given_up(&self) -> Option<String> {
        match &*self.inner.life.borrow() {
            Life::GivenUp(why) => Some(why.clone()),
            Life::Up(_) | Life::Down(..) => None,
        }
    }

    /// Ends it: whatever goes through it is cut off, also connections that linger.
    pub(crate) async fn close(&self) {
        self.leave("its run is over").await;
        proxy_process::end(&self.record().process).await;
        self.inner.command.forget();
    }

    /// Lets it run without this service: load goes through it until another life takes it over or its lease has ended.
    pub(crate) async fn leave(&self, reason: &str) {
        self.inner.stop.trigger(reason);
        self.inner.stopped.triggered().await;
    }

    fn record(&self) -> ProxyRecord {
        self.inner.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self) {
        if let Err(error) = self.inner.command.keep(&self.record()) {
            tracing::warn!(%error, "the fault proxy's ports cannot be kept for another life of this service");
        }
    }

    async fn supervise(self, mut process: ProxyProcess) -> Result<(), String> {
        let mut generation = 1;
        loop {
            let Some(why) = self.watch(&mut process).await else {
                self.inner.stopped.trigger("nobody looks after it any more");
                return Ok(());
            };
            tracing::warn!(why, "the fault proxy is started again");
            self.inner.life.send_replace(Life::Down(generation, why));
            process = match self.start_again().await {
                Ok(Some(process)) => process,
                Ok(None) => {
                    self.inner.stopped.trigger("it had died");
                    return Ok(());
                }
                Err(why) => {
                    self.inner.life.send_replace(Life::GivenUp(why.clone()));
                    self.inner.stopped.trigger("given up");
                    return Err(why);
                }
            };
            generation += 1;
            {
                let mut record = self.inner.record.lock().unwrap_or_else(PoisonError::into_inner);
                record.process = process.process.clone();
            }
            self.keep();
            self.inner.life.send_replace(Life::Up(generation));
        }
    }

    /// Watches a process until it is not there any more, and says why; `None` = it is to be ended.
    async fn watch(&self, process: &mut ProxyProcess) -> Option<String> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            tokio::select! {
                biased;
                () = self.inner.stop.triggered() => return None,
                how = process.ended() => return Some(how),
                _ = ticks.tick() => {}
            }
            // Each call renews the process's lease. Who is led elsewhere by failover is led there again.
            let look = tokio::time::timeout(TICK, self.inner.client.list());
            let views = tokio::select! {
                biased;
                () = self.inner.stop.triggered() => return None,
                views = look => views,
            };
            match views {
                Ok(Ok(views)) => {
                    silent = 0;
                    let mut record = self.inner.record.lock().unwrap_or_else(PoisonError::into_inner);
                    for proxy in &mut record.proxies {
                        let view = proxy.name.as_ref().and_then(|name| views.get(name));
                        proxy.upstream =
                            view.map(|view| view.upstream.clone()).or_else(|| proxy.upstream.take());
                    }
                }
                Ok(Err(_)) | Err(_) => silent += 1,
            }
            if silent >= SILENT {
                proxy_process::end(&process.process).await;
                return Some(format!("it did not answer {SILENT} times in a row, and was killed"));
            }
        }
    }

    async fn start_again(&self) -> Result<Option<ProxyProcess>, String> {
        let ProxyRecord { api, token, proxies, .. } = self.record();
        let mut last = String::new();
        for attempt in 0..TRIES {
            if self.inner.stop.is_triggered() {
                return Ok(None);
            }
            match self.inner.command.start(&api, &token, &proxies).await {
                Ok(process) => return Ok(Some(process)),
                Err(why) => last = why,
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(attempt)).await;
        }
        Err(last)
    }

    /// Does something to proxies under a name, and reads it back. It ends by itself when it is not renewed for `lease`.
    pub(crate) async fn inject(
        &self,
        id: &str,
        deed: &Deed,
        toxicity: f64,
        proxies: Vec<String>,
        lease: Duration,
    ) -> Result<(Held, String), NotInjected> {
        let generation = self.up().await.map_err(NotInjected::Refused)?;
        let refuses = matches!(deed, Deed::Refuse);
        let held = Held { id: id.to_owned(), proxies, refuses, lease, generation };
        let mut seen = Vec::new();
        for proxy in &held.proxies {
            let done = match deed {
                Deed::Toxic(stream, attributes) => {
                    let toxic = ToxicInput::new(id, attributes).on(*stream).hitting(toxicity).leased(lease);
                    // Load that failover leads elsewhere leaves the fault behind.
                    let toxic = match self.inner.upstreams.get(proxy) {
                        Some(upstream) => toxic.only_for(upstream),
                        None => toxic,
                    };
                    self.inner.client.add_toxic(proxy, &toxic).await.map(|_| ())
                }
                Deed::Refuse => self.inner.client.disable_for(proxy, lease).await.map(|_| ()),
            };
            let read = match done {
                Ok(()) => self.inner.client.proxy(proxy).await,
                Err(error) => Err(error),
            };
            match read.map_err(|error| error.to_string()).and_then(|view| shown(&view, id, deed)) {
                Ok(text) => seen.push(text),
                Err(why) => {
                    return Err(match self.undo(held).await {
                        Ok(_) => NotInjected::Refused(why),
                        Err(detail) => {
                            NotInjected::Unrecovered(format!("{why}; of what had begun: {detail}"))
                        }
                    });
                }
            }
        }
        Ok((held, seen.join("; ")))
    }

    /// The process that runs, waited for.
    async fn up(&self) -> Result<u64, String> {
        let mut life = self.inner.life.subscribe();
        let settled = life.wait_for(|life| !matches!(life, Life::Down(..)));
        match tokio::time::timeout(BACK, settled).await.map(|life| life.map(|life| life.clone())) {
            Ok(Ok(Life::Up(generation))) => Ok(generation),
            Ok(Ok(Life::GivenUp(why))) => Err(why),
            _ => Err("the fault proxy died and is not there again yet".to_owned()),
        }
    }

    /// Renews a fault until it has ended by itself; why.
    pub(crate) async fn broke(&self, held: &Held) -> Broke {
        let mut life = self.inner.life.subscribe();
        let died = async {
            let _ = life.wait_for(|life| *life != Life::Up(held.generation)).await;
        };
        let renewed = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Some(gone) = self.renew(held).await {
                    return gone;
                }
            }
        };
        let how = tokio::select! {
            biased;
            () = died => "the fault proxy died".to_owned(),
            gone = renewed => gone,
        };
        Broke { how }
    }

    /// What was found instead of the fault; `None` = it goes on, or nobody answered, which is for the supervisor to judge.
    async fn renew(&self, held: &Held) -> Option<String> {
        for proxy in &held.proxies {
            if held.refuses {
                match self.inner.client.proxy(proxy).await {
                    Ok(view) if view.enabled => {
                        return Some(format!(
                            "its lease had ended, or somebody had the proxy {proxy} listen again"
                        ));
                    }
                    // Who does not answer now is asked again at the next tick, like one that does not take it.
                    Ok(_) => {
                        let _ = self.inner.client.disable_for(proxy, held.lease).await;
                    }
                    Err(_) => {}
                }
            } else if let Err(error) = self.inner.client.renew_toxic(proxy, &held.id).await
                && error.is_missing()
            {
                return Some(format!("its toxic was gone from the proxy {proxy}: {error}"));
            }
        }
        None
    }

    /// Undoes a fault, and reads that back; again, as long as nobody answers and the proxy may come back.
    pub(crate) async fn undo(&self, held: Held) -> Result<Undone, String> {
        loop {
            let error = match self.try_undo(&held).await {
                Ok(verified) => return Ok(Undone { verified: verified.join("; ") }),
                Err(NotUndone::Failed(error)) => error,
                Err(NotUndone::Seen(found)) => return Err(found),
            };
            if let Some(why) = self.given_up() {
                return Err(format!(
                    "the fault proxy died, and with it the fault, but it cannot be started again ({why}): load has no way"
                ));
            }
            if !error.is_unreachable() {
                return Err(error.to_string());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Reads back that proxies have nothing of a fault that an earlier life of this service did to them.
    ///
    /// # Errors
    /// What they have of it, or why that cannot be seen.
    pub(crate) async fn has_not(&self, id: &str, proxies: &[String]) -> Result<String, String> {
        let mut verified = Vec::new();
        for proxy in proxies {
            let view = self.inner.client.proxy(proxy).await.map_err(|error| error.to_string())?;
            let place = place(&view);
            if !view.enabled || view.toxics.iter().any(|toxic| toxic.name == id) {
                return Err(format!("{place} still has it"));
            }
            verified.push(format!("{place} listens and has no toxic of its name"));
        }
        Ok(verified.join("; "))
    }

    async fn try_undo(&self, held: &Held) -> Result<Vec<String>, NotUndone> {
        let client = &self.inner.client;
        let again = *self.inner.life.borrow() != Life::Up(held.generation);
        let counters = if held.refuses || again { None } else { client.counters().await.ok() };
        let mut verified = Vec::new();
        for proxy in &held.proxies {
            if held.refuses {
                client.set_enabled(proxy, true).await?;
            } else {
                match client.remove_toxic(proxy, &held.id).await {
                    // It has ended by itself.
                    Err(error) if error.is_missing() => {}
                    result => result?,
                }
            }
            let view = client.proxy(proxy).await?;
            let place = place(&view);
            if view.toxics.iter().any(|toxic| toxic.name == held.id) || (held.refuses && !view.enabled) {
                return Err(NotUndone::Seen(format!("{place} still has it")));
            }
            let acted = counters.as_ref().and_then(|counters| {
                let effects = counters.proxies.get(proxy)?.toxics.get(&held.id)?;
                Some(format!(", after it acted {} times", effects.effects))
            });
            let what = if held.refuses { "listens again" } else { "has no toxic of its name" };
            let again = if again { " in another process" } else { "" };
            verified.push(format!("{place} {what}{again}{}", acted.unwrap_or_default()));
        }
        Ok(verified)
    }
}

/// The proxy of an earlier life, without what that one did to it; `None` = it is gone, or not what is wanted.
async fn taken_over(kept: &ProxyRecord, wanted: &[ProxyInput]) -> Option<(ProxyProcess, Client)> {
    let process = ProxyProcess::of_another(&kept.process, &kept.api)?;
    let client = Client::new(&format!("http://{}", kept.api), Some(&kept.token)).ok()?;
    // All listen again, and no toxic is left; what goes through them goes on.
    client.reset().await.ok()?;
    let views = client.list().await.ok()?;
    let as_kept = |name: &String| {
        let listen = kept.proxies.iter().find(|proxy| proxy.name.as_ref() == Some(name))?.listen.as_ref()?;
        Some(views.get(name).is_some_and(|view| view.enabled && view.listen == *listen))
    };
    let as_wanted = views.len() == wanted.len()
        && wanted.iter().all(|proxy| proxy.name.as_ref().and_then(as_kept) == Some(true));
    as_wanted.then_some((process, client))
}

enum NotUndone {
    Failed(ClientError),
    Seen(String),
}

impl From<ClientError> for NotUndone {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

fn bracketed(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn fresh_token() -> Result<String, String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

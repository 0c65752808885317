//! All proxies by name, and the task that ends what nobody renews.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::proxy::Proxy;
use crate::splice::Pipes;
use crate::toxic::Attributes;
use crate::wire::{self, ProxyInput, ProxyView, ToxicInput, ToxicView};
use crate::{Error, Options};

/// All proxies. Clones share them.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<Options>,
    budget: Budget,
    pipes: Pipes,
    /// Held for the look only, never while something is waited for.
    proxies: Mutex<BTreeMap<String, Arc<Proxy>>>,
    /// Held by whoever adds or takes away proxies: one at a time.
    changing: tokio::sync::Mutex<()>,
    leases: Notify,
}

impl Registry {
    /// Without proxies.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let inner = Inner {
            budget: Budget::new(options.buffer_bytes),
            pipes: Pipes::default(),
            options: Arc::new(options),
            proxies: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            leases: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    fn proxies(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Proxy>>> {
        self.inner.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Proxy>> {
        self.proxies().values().cloned().collect()
    }

    pub(crate) fn proxy(&self, name: &str) -> Result<Arc<Proxy>, Error> {
        self.proxies().get(name).cloned().ok_or(Error::NoProxy)
    }

    /// Bytes that all connections hold.
    pub(crate) fn held(&self) -> usize {
        self.inner.budget.held()
    }

    /// All proxies as the API shows them.
    #[must_use]
    pub fn list(&self) -> Vec<ProxyView> {
        self.all().iter().map(|proxy| proxy.view()).collect()
    }

    /// Adds a proxy, and starts it where it is to be enabled.
    ///
    /// # Errors
    /// When a field is missing, the name is taken, or the address cannot be had.
    pub async fn create(&self, input: &ProxyInput) -> Result<ProxyView, Error> {
        let _one = self.inner.changing.lock().await;
        let proxy = self.made(input, "")?;
        if self.proxies().contains_key(proxy.name()) {
            return Err(Error::ProxyExists);
        }
        self.put(proxy, input).await.map(|proxy| proxy.view())
    }

    /// Adds proxies, or replaces those whose address or upstream is another; the others stay as they are, but for their
    /// toxics and lease, where these are given. Nothing is done when any of them is wrong.
    ///
    /// # Errors
    /// What is wrong, and the proxies that were there or added before an address could not be had.
    pub async fn populate(&self, inputs: &[ProxyInput]) -> Result<Vec<ProxyView>, (Error, Vec<ProxyView>)> {
        let _one = self.inner.changing.lock().await;
        for (index, input) in inputs.iter().enumerate() {
            let checked =
                self.made(input, &format!(" at proxy {}", index + 1)).and_then(|_| checked_toxics(input));
            checked.map_err(|error| (error, Vec::new()))?;
        }
        let mut done = Vec::with_capacity(inputs.len());
        for input in inputs {
            match self.add_or_replace(input).await {
                Ok(proxy) => done.push(proxy.view()),
                Err(error) => return Err((error, done)),
            }
        }
        Ok(done)
    }

    async fn add_or_replace(&self, input: &ProxyInput) -> Result<Arc<Proxy>, Error> {
        let proxy = self.made(input, "")?;
        let present = self.proxies().get(proxy.name()).cloned();
        if let Some(present) = present {
            let listen = input.listen.as_deref().unwrap_or_default();
            let upstream = input.upstream.as_deref().unwrap_or_default();
            if !present.differs(listen, upstream).await? {
                if let Some(toxics) = &input.toxics {
                    present.set_toxics(toxics)?;
                }
                present.lease(wire::ttl(input.ttl)?);
                self.inner.leases.notify_one();
                return Ok(present);
            }
            present.stop().await;
        }
        self.put(proxy, input).await
    }

    /// Changes a proxy.
    ///
    /// # Errors
    /// When it is not there, or its new address cannot be had.
    pub async fn update(&self, name: &str, input: &ProxyInput) -> Result<ProxyView, Error> {
        let proxy = self.proxy(name)?;
        proxy.update(input).await?;
        self.inner.leases.notify_one();
        Ok(proxy.view())
    }

    /// Takes a proxy away: its listener and connections are closed.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let _one = self.inner.changing.lock().await;
        let proxy = self.proxies().remove(name).ok_or(Error::NoProxy)?;
        proxy.stop().await;
        Ok(())
    }

    /// Enables all proxies and removes all toxics.
    ///
    /// # Errors
    /// When an address cannot be had.
    pub async fn reset(&self) -> Result<(), Error> {
        for proxy in self.all() {
            proxy.start().await?;
            proxy.remove_toxics();
        }
        Ok(())
    }

    /// Adds a toxic to a proxy.
    ///
    /// # Errors
    /// When the proxy is not there, or the toxic is none or has a name that is taken.
    pub fn add_toxic(&self, proxy: &str, input: &ToxicInput) -> Result<ToxicView, Error> {
        let added = self.proxy(proxy)?.add_toxic(input)?;
        self.inner.leases.notify_one();
        Ok(added)
    }

    /// Changes a toxic and renews its lease.
    ///
    /// # Errors
    /// When it is not there, or what is given is wrong.
    pub fn update_toxic(&self, proxy: &str, toxic: &str, input: &ToxicInput) -> Result<ToxicView, Error> {
        let changed = self.proxy(proxy)?.update_toxic(toxic, input)?;
        self.inner.leases.notify_one();
        Ok(changed)
    }

    /// Ends proxies and toxics whose lease has ended, and enables proxies that were disabled for a time, as long as it runs.
    pub async fn end_leases(&self) {
        loop {
            let next = self.all().iter().filter_map(|proxy| proxy.next_end()).min();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.end_those_over(Instant::now()).await,
                () = self.inner.leases.notified() => {}
            }
        }
    }

    async fn end_those_over(&self, now: Instant) {
        for proxy in self.all() {
            let toxics = proxy.end_toxics(now);
            if !toxics.is_empty() {
                tracing::info!(proxy = proxy.name(), ?toxics, "toxics ended: nobody renewed them");
            }
            if proxy.is_to_listen(now) {
                tracing::info!(
                    proxy = proxy.name(),
                    "the proxy listens again: nobody renewed that it does not"
                );
                self.enable_one(&proxy).await;
            }
            if proxy.has_ended(now) {
                tracing::info!(proxy = proxy.name(), "the proxy ended: nobody renewed it");
                self.end_one(&proxy).await;
            }
        }
    }

    /// Enables this proxy, unless it was taken away.
    async fn enable_one(&self, proxy: &Arc<Proxy>) {
        let _one = self.inner.changing.lock().await;
        if self.is_there(proxy) {
            proxy.listen_again().await;
        }
    }

    /// Whether it is this proxy that has its name.
    fn is_there(&self, proxy: &Arc<Proxy>) -> bool {
        self.proxies().get(proxy.name()).is_some_and(|there| Arc::ptr_eq(there, proxy))
    }

    /// Takes away this proxy, and none that has its name by now.
    async fn end_one(&self, proxy: &Arc<Proxy>) {
        let _one = self.inner.changing.lock().await;
        // Renewed while we waited for our turn, it stays.
        if self.is_there(proxy) && proxy.has_ended(Instant::now()) {
            self.proxies().remove(proxy.name());
            proxy.stop().await;
        }
    }

    /// Closes all listeners, waits for connections to end by themselves for at most the options' grace, then closes them.
    pub async fn close(&self) {
        self.close_within(self.inner.options.grace).await;
    }

    /// Closes all listeners and connections.
    pub async fn close_at_once(&self) {
        self.close_within(Duration::ZERO).await;
    }

    async fn close_within(&self, grace: Duration) {
        let _one = self.inner.changing.lock().await;
        let deadline = Instant::now() + grace;
        let proxies = std::mem::take(&mut *self.proxies());
        let ends =
            proxies.values().map(|proxy| proxy.end(deadline.saturating_duration_since(Instant::now())));
        // All at once, so that the last one accepts no longer than the first.
        let mut ends: Vec<_> = ends.map(Box::pin).collect();
        std::future::poll_fn(|context| {
            ends.retain_mut(|end| end.as_mut().poll(context).is_pending());
            if ends.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    fn made(&self, input: &ProxyInput, place: &str) -> Result<Arc<Proxy>, Error> {
        let needed = |name: &str, value: &Option<String>| {
            value
                .clone()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| Error::Missing(format!("{name}{place}")))
        };
        let (name, upstream) = (needed("name", &input.name)?, needed("upstream", &input.upstream)?);
        wire::ttl(input.ttl)?;
        let listen = input.listen.clone().unwrap_or_default();
        let Inner { options, budget, pipes, .. } = &*self.inner;
        Ok(Arc::new(Proxy::new(name, listen, upstream, options, budget, pipes)))
    }

    async fn put(&self, proxy: Arc<Proxy>, input: &ProxyInput) -> Result<Arc<Proxy>, Error> {
        if let Some(toxics) = &input.toxics {
            proxy.set_toxics(toxics)?;
        }
        proxy.lease(wire::ttl(input.ttl)?);
        if input.enabled.unwrap_or(true) {
            proxy.start().await?;
        } else {
            proxy.disable(input)?;
        }
        self.proxies().insert(proxy.name().to_owned(), Arc::clone(&proxy));
        self.inner.leases.notify_one();
        Ok(proxy)
    }
}

/// All toxics that are given are right, each by itself; [`Attributes`] over their defaults.
fn checked_toxics(input: &ProxyInput) -> Result<(), Error> {
    for toxic in input.toxics.iter().flatten() {
        let defaults: Attributes = toxic.parts()?.attributes;
        toxic.attributes(&defaults)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

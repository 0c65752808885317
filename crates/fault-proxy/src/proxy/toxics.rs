//! Changes of a proxy's toxics. Each is published as a whole; connections take it over by themselves, and nobody waits
//! for them.

use std::sync::Arc;

use tokio::time::Instant;

use super::Proxy;
use crate::Error;
use crate::flow::Chain;
use crate::toxic::{Toxic, ToxicCounters};
use crate::wire::{self, ToxicInput, ToxicView};

impl Proxy {
    /// Adds a toxic after all others.
    ///
    /// # Errors
    /// When it is none, or its name is taken.
    pub(crate) fn add_toxic(&self, input: &ToxicInput) -> Result<ToxicView, Error> {
        self.change(|chain| {
            let (toxic, view) = self.made(input, chain)?;
            Ok((chain.iter().cloned().chain([toxic]).collect(), view))
        })
    }

    /// Changes attributes and toxicity, and renews the lease.
    ///
    /// # Errors
    /// When it is not there, or what is given is wrong.
    pub(crate) fn update_toxic(&self, name: &str, input: &ToxicInput) -> Result<ToxicView, Error> {
        self.change(|chain| {
            let present = chain.iter().find(|toxic| toxic.name == name).ok_or(Error::NoToxic)?;
            let changed = Arc::new(updated(present, input)?);
            let view = ToxicView::from(&*changed);
            let with = |toxic: &Arc<Toxic>| Arc::clone(if toxic.id == changed.id { &changed } else { toxic });
            Ok((chain.iter().map(with).collect(), view))
        })
    }

    /// Removes a toxic. What it holds passes at once; where it dropped data, the connection is closed.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn remove_toxic(&self, name: &str) -> Result<(), Error> {
        self.change(|chain| {
            let left: Chain = chain.iter().filter(|toxic| toxic.name != name).cloned().collect();
            if left.len() == chain.len() { Err(Error::NoToxic) } else { Ok((left, ())) }
        })
    }

    /// Removes all.
    pub(crate) fn remove_toxics(&self) {
        self.chain.send_replace(Chain::default());
    }

    /// A toxic as the API shows it.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn toxic(&self, name: &str) -> Result<ToxicView, Error> {
        let chain = self.chain.borrow();
        chain
            .iter()
            .find(|toxic| toxic.name == name)
            .map(|toxic| ToxicView::from(&**toxic))
            .ok_or(Error::NoToxic)
    }

    /// All toxics, for who counts what they did.
    pub(crate) fn chain(&self) -> Chain {
        Arc::clone(&self.chain.borrow())
    }

    /// Makes these all its toxics. One that is there with its name, type, stream and upstream is changed and not replaced.
    ///
    /// # Errors
    /// When one is wrong; then nothing has changed.
    pub(crate) fn set_toxics(&self, inputs: &[ToxicInput]) -> Result<(), Error> {
        self.change(|chain| {
            let mut all: Vec<Arc<Toxic>> = Vec::with_capacity(inputs.len());
            for input in inputs {
                let parts = input.parts()?;
                let same = |toxic: &&Arc<Toxic>| {
                    toxic.name == parts.name
                        && toxic.stream == parts.stream
                        && toxic.upstream == parts.upstream
                        && toxic.attributes.type_name() == parts.attributes.type_name()
                };
                let toxic = match chain.iter().find(same) {
                    Some(_) if all.iter().any(|other| other.name == parts.name) => {
                        return Err(Error::ToxicExists);
                    }
                    Some(present) => Arc::new(updated(present, input)?),
                    None => self.made(input, &all)?.0,
                };
                all.push(toxic);
            }
            Ok((all.into(), ()))
        })
    }

    /// Removes toxics whose lease has ended; their names.
    pub(crate) fn end_toxics(&self, now: Instant) -> Vec<String> {
        let is_over = |toxic: &&Arc<Toxic>| toxic.lease.is_some_and(|lease| lease.ends <= now);
        let mut ended = Vec::new();
        self.chain.send_if_modified(|chain| {
            ended = chain.iter().filter(is_over).map(|toxic| toxic.name.clone()).collect();
            if !ended.is_empty() {
                *chain = chain.iter().filter(|toxic| !is_over(toxic)).cloned().collect();
            }
            !ended.is_empty()
        });
        ended
    }

    fn made(&self, input: &ToxicInput, others: &[Arc<Toxic>]) -> Result<(Arc<Toxic>, ToxicView), Error> {
        let parts = input.parts()?;
        if others.iter().any(|toxic| toxic.name == parts.name) {
            return Err(Error::ToxicExists);
        }
        let attributes = input.attributes(&parts.attributes)?;
        let toxic = Toxic {
            id: self.next_id(),
            revision: 0,
            name: parts.name,
            stream: parts.stream,
            upstream: parts.upstream,
            toxicity: parts.toxicity,
            attributes,
            lease: wire::lease(None, parts.ttl),
            counters: Arc::new(ToxicCounters::default()),
        };
        let view = ToxicView::from(&toxic);
        Ok((Arc::new(toxic), view))
    }

    fn next_id(&self) -> u64 {
        let mut state = self.state();
        state.next_id += 1;
        state.next_id
    }

    /// Publishes another list, made from the present one; nobody else changes it meanwhile. Connections are woken where there is
    /// anything in it for them.
    fn change<T>(&self, make: impl FnOnce(&Chain) -> Result<(Chain, T), Error>) -> Result<T, Error> {
        let mut result = Err(Error::NoToxic);
        self.chain.send_if_modified(|chain| match make(chain) {
            Ok((changed, value)) => {
                let is_news = differ(chain, &changed);
                *chain = changed;
                result = Ok(value);
                is_news
            }
            Err(error) => {
                result = Err(error);
                false
            }
        });
        result
    }
}

/// Whether connections have to know: leases are none of their business.
fn differ(before: &Chain, after: &Chain) -> bool {
    let same = |(a, b): (&Arc<Toxic>, &Arc<Toxic>)| {
        a.id == b.id && a.revision == b.revision && a.toxicity.to_bits() == b.toxicity.to_bits()
    };
    before.len() != after.len() || !before.iter().zip(after.iter()).all(same)
}

fn updated(present: &Toxic, input: &ToxicInput) -> Result<Toxic, Error> {
    let attributes = input.attributes(&present.attributes)?;
    Ok(Toxic {
        revision: present.revision + u64::from(attributes != present.attributes),
        toxicity: input.toxicity(present.toxicity)?,
        attributes,
        lease: wire::lease(present.lease, wire::ttl(input.ttl)?),
        ..present.clone()
    })
}

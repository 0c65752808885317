//! What the API reads and writes, in Toxiproxy's JSON and a few fields of our own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::Error;
use crate::toxic::{Attributes, Lease, Stream, Toxic};

/// A time to live at most, in milliseconds: seven weeks.
const LONGEST: u64 = u32::MAX as u64;

/// A proxy as it is asked for. What is absent or null has its default, or stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ProxyInput {
    /// Unique. Needed for a new one.
    pub name: Option<String>,
    /// Host and port; port 0 takes any free one. Default `127.0.0.1:0`.
    pub listen: Option<String>,
    /// Host and port. Needed for a new one.
    pub upstream: Option<String>,
    /// Default true.
    pub enabled: Option<bool>,
    /// Milliseconds after which the proxy ends by itself, from each change of it; 0 = never. Default 0. Not in Toxiproxy.
    pub ttl: Option<u64>,
    /// In `/populate` and in the file: all toxics that it shall have. Not in Toxiproxy.
    pub toxics: Option<Vec<ToxicInput>>,
}

/// A toxic as it is asked for. What is absent or null has its default, or stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ToxicInput {
    /// Default: type and stream.
    pub name: Option<String>,
    /// Needed for a new one.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// Default downstream.
    pub stream: Option<String>,
    /// 0 to 1. Default 1.
    pub toxicity: Option<f64>,
    /// By type.
    pub attributes: Option<Map<String, Value>>,
    /// Milliseconds after which the toxic ends by itself, from each change of it; 0 = never. Default 0. Not in Toxiproxy.
    pub ttl: Option<u64>,
}

/// What a toxic is made of, checked.
#[derive(Clone, Debug)]
pub(crate) struct ToxicParts {
    pub(crate) name: String,
    pub(crate) stream: Stream,
    pub(crate) toxicity: f64,
    pub(crate) attributes: Attributes,
    pub(crate) ttl: Option<Duration>,
}

impl ToxicInput {
    /// A new toxic, but for its attributes, which are checked last: [`Self::attributes`].
    pub(crate) fn parts(&self) -> Result<ToxicParts, Error> {
        let stream = match &self.stream {
            Some(name) => Stream::named(name).ok_or(Error::Stream)?,
            None => Stream::default(),
        };
        let type_name = self.type_name.as_deref().unwrap_or_default();
        let attributes = Attributes::of_type(type_name).ok_or(Error::Type)?;
        if !attributes.fits(stream) {
            let stream = stream.name();
            return Err(Error::Body(format!(
                "stream: found {stream}, expected downstream: {type_name} is about answers"
            )));
        }
        let given = self.name.clone().filter(|name| !name.is_empty());
        let name = given.unwrap_or_else(|| format!("{type_name}_{}", stream.name()));
        Ok(ToxicParts { name, stream, toxicity: self.toxicity(1.0)?, attributes, ttl: ttl(self.ttl)? })
    }

    /// The toxicity, where none is given the present one.
    pub(crate) fn toxicity(&self, present: f64) -> Result<f64, Error> {
        match self.toxicity {
            Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
            Some(share) => {
                Err(Error::Body(format!("toxicity: found {share}, expected a number from 0 to 1")))
            }
            None => Ok(present),
        }
    }

    /// The attributes over the present ones.
    pub(crate) fn attributes(&self, present: &Attributes) -> Result<Attributes, Error> {
        let none = Map::new();
        present.with(self.attributes.as_ref().unwrap_or(&none)).map_err(Error::Body)
    }
}

/// A time to live; zero = for ever.
pub(crate) fn ttl(millis: Option<u64>) -> Result<Option<Duration>, Error> {
    match millis {
        Some(millis) if millis > LONGEST => {
            Err(Error::Body(format!("ttl: found {millis}, expected milliseconds from 0 to {LONGEST}")))
        }
        millis => Ok(millis.map(Duration::from_millis)),
    }
}

/// The lease after a change: a new one where a time is given, none where it is zero, else the present one from now on.
pub(crate) fn lease(present: Option<Lease>, given: Option<Duration>) -> Option<Lease> {
    let ttl = given.or_else(|| present.map(|lease| lease.ttl))?;
    (!ttl.is_zero()).then(|| Lease::new(ttl))
}

/// A proxy as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyView {
    pub(crate) name: String,
    pub(crate) listen: String,
    pub(crate) upstream: String,
    pub(crate) enabled: bool,
    pub(crate) toxics: Vec<ToxicView>,
    #[serde(flatten)]
    pub(crate) lease: Option<LeaseView>,
}

/// A toxic as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ToxicView {
    attributes: Attributes,
    name: String,
    #[serde(rename = "type")]
    type_name: &'static str,
    stream: Stream,
    toxicity: f64,
    #[serde(flatten)]
    lease: Option<LeaseView>,
}

/// A lease as the API shows it, in milliseconds; only there where there is one.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct LeaseView {
    ttl: u128,
    ends_in: u128,
}

impl From<Lease> for LeaseView {
    fn from(lease: Lease) -> Self {
        let left = lease.ends.saturating_duration_since(Instant::now());
        Self { ttl: lease.ttl.as_millis(), ends_in: left.as_millis() }
    }
}

impl From<&Toxic> for ToxicView {
    fn from(toxic: &Toxic) -> Self {
        Self {
            attributes: toxic.attributes.clone(),
            name: toxic.name.clone(),
            type_name: toxic.attributes.type_name(),
            stream: toxic.stream,
            toxicity: toxic.toxicity,
            lease: toxic.lease.map(Into::into),
        }
    }
}

//! What is asked of the API. Whoever asks by [`crate::client`] writes what the API reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;
use crate::toxic::{Attributes, Lease, Stream};

/// A time to live at most, in milliseconds: seven weeks.
const LONGEST: u64 = u32::MAX as u64;

/// A proxy as it is asked for. What is absent or null has its default, or stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ProxyInput {
    /// Unique. Needed for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Host and port; port 0 takes any free one. Default `127.0.0.1:0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Host and port. Needed for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// With `enabled` false: milliseconds after which the proxy is enabled by itself, from each change of it; 0 = never. Default
    /// 0. Not in Toxiproxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_ttl: Option<u64>,
    /// Milliseconds after which the proxy ends by itself, from each change of it; 0 = never. Default 0. Not in Toxiproxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// In `/populate` and in the file: all toxics that it shall have. Not in Toxiproxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toxics: Option<Vec<ToxicInput>>,
}

impl ProxyInput {
    /// A proxy of this name that leads to a host and port, and listens on any free port of loopback.
    #[must_use]
    pub fn new(name: impl Into<String>, upstream: impl Into<String>) -> Self {
        Self { name: Some(name.into()), upstream: Some(upstream.into()), ..Self::default() }
    }

    /// Listens on this host and port.
    #[must_use]
    pub fn listening_on(self, address: impl Into<String>) -> Self {
        Self { listen: Some(address.into()), ..self }
    }

    /// Ends by itself after this time, from each change of it; zero = never. Whole milliseconds.
    #[must_use]
    pub fn leased(self, ttl: Duration) -> Self {
        Self { ttl: Some(millis(ttl)), ..self }
    }

    /// Does not listen, until so long after each change of it; zero = for ever. Whole milliseconds.
    #[must_use]
    pub fn disabled_for(self, ttl: Duration) -> Self {
        Self { enabled: Some(false), disabled_ttl: Some(millis(ttl)), ..self }
    }
}

/// A toxic as it is asked for. What is absent or null has its default, or stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ToxicInput {
    /// Default: type and stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Needed for a new one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Default downstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// It acts on connections that lead there only, so a proxy that is led elsewhere leaves it behind: host and port, as the
    /// proxy's are written. Default: on all. Stays as it is. Not in Toxiproxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// 0 to 1. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toxicity: Option<f64>,
    /// By type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Map<String, Value>>,
    /// Milliseconds after which the toxic ends by itself, from each change of it; 0 = never. Default 0. Not in Toxiproxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// What a toxic is made of, checked.
#[derive(Clone, Debug)]
pub(crate) struct ToxicParts {
    pub(crate) name: String,
    pub(crate) stream: Stream,
    pub(crate) upstream: Option<String>,
    pub(crate) toxicity: f64,
    pub(crate) attributes: Attributes,
    pub(crate) ttl: Option<Duration>,
}

impl ToxicInput {
    /// A toxic of this name, downstream, which hits every connection.
    #[must_use]
    pub fn new(name: impl Into<String>, attributes: &Attributes) -> Self {
        let fields = match serde_json::to_value(attributes) {
            Ok(Value::Object(fields)) => fields,
            // Attributes are plain fields: there is nothing that could not be written.
            _ => Map::new(),
        };
        Self {
            name: Some(name.into()),
            type_name: Some(attributes.type_name().to_owned()),
            attributes: Some(fields),
            ..Self::default()
        }
    }

    /// Acts there.
    #[must_use]
    pub fn on(self, stream: Stream) -> Self {
        Self { stream: Some(stream.name().to_owned()), ..self }
    }

    /// Acts on connections that lead to this upstream only.
    #[must_use]
    pub fn only_for(self, upstream: impl Into<String>) -> Self {
        Self { upstream: Some(upstream.into()), ..self }
    }

    /// Hits this share of connections, 0 to 1.
    #[must_use]
    pub fn hitting(self, toxicity: f64) -> Self {
        Self { toxicity: Some(toxicity), ..self }
    }

    /// Ends by itself after this time, from each change of it; zero = never. Whole milliseconds.
    #[must_use]
    pub fn leased(self, ttl: Duration) -> Self {
        Self { ttl: Some(millis(ttl)), ..self }
    }

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
        Ok(ToxicParts {
            name,
            stream,
            upstream: self.upstream.clone().filter(|upstream| !upstream.is_empty()),
            toxicity: self.toxicity(1.0)?,
            attributes,
            ttl: ttl(self.ttl)?,
        })
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

/// No shorter than asked for: what is leased for less than a millisecond must not become what never ends.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A time to live; zero = for ever.
pub(crate) fn ttl(millis: Option<u64>) -> Result<Option<Duration>, Error> {
    named_ttl("ttl", millis)
}

/// The same in a field of this name.
pub(crate) fn named_ttl(name: &str, millis: Option<u64>) -> Result<Option<Duration>, Error> {
    match millis {
        Some(millis) if millis > LONGEST => {
            Err(Error::Body(format!("{name}: found {millis}, expected milliseconds from 0 to {LONGEST}")))
        }
        millis => Ok(millis.map(Duration::from_millis)),
    }
}

/// The lease after a change: a new one where a time is given, none where it is zero, else the present one from now on.
pub(crate) fn lease(present: Option<Lease>, given: Option<Duration>) -> Option<Lease> {
    let ttl = given.or_else(|| present.map(|lease| lease.ttl))?;
    (!ttl.is_zero()).then(|| Lease::new(ttl))
}

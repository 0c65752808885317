//! An expert as the orchestrator knows it: what it is sent, and what stands before it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, Uri};
use expert_apis::{Asked, Envelope};
use http_body_util::Full;
use resilience::bulkhead::Bulkhead;

use super::member::{Member, http};
use super::metrics::OfExpert;
use super::settings::Settings;
use serving::breaker::Shared;
use serving::traces::{Child, KeyValue};

pub(super) struct Expert {
    pub(super) member: Member,
    pub(super) breaker: Option<Arc<Shared>>,
    pub(super) bulkhead: Arc<Bulkhead>,
    pub(super) counters: Arc<OfExpert>,
    uri: Uri,
    headers: HeaderMap,
    envelope: Envelope,
}

impl Expert {
    /// One of the circle; what it was known as before keeps its counts, and its breaker and bulkhead where their settings stay.
    ///
    /// # Errors
    /// When its URL or key is none.
    pub(super) fn new(
        member: Member,
        settings: &Settings,
        max_tokens: u32,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let api = member.kind.api();
        let uri = http(&member.url)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in api.headers(&member.key) {
            let name: HeaderName = name.parse().map_err(|_| format!("header {name}: no name of one"))?;
            let value = HeaderValue::from_str(&value).map_err(|_| "key: no value of a header".to_owned())?;
            headers.insert(name, value);
        }
        let none = serde_json::Map::new();
        let asked = Asked { model: &member.model, system: None, max_tokens, stream: false, options: &none };
        let envelope = api.envelope(&asked);
        let kept = |known: &&Arc<Shared>| settings.breaker.map(Into::into) == Some(known.settings());
        let breaker = match before.and_then(|before| before.breaker.as_ref()).filter(kept) {
            Some(known) => Some(Arc::clone(known)),
            None => settings.breaker.map(|breaker| Arc::new(Shared::new(breaker.into()))),
        };
        let limits = settings.bulkhead.into();
        let kept = |known: &&Arc<Bulkhead>| known.settings() == limits;
        let bulkhead = match before.map(|before| &before.bulkhead).filter(kept) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Bulkhead::new(limits)),
        };
        let counters = before.map_or_else(Arc::default, |before| Arc::clone(&before.counters));
        Ok(Self { member, breaker, bulkhead, counters, uri, headers, envelope })
    }

    /// The span of an attempt, from 1, at the expert in this place; after OpenTelemetry's conventions for HTTP clients.
    pub(super) fn span(&self, place: usize, attempt: u32) -> Child {
        Child::begin("ask expert", || {
            let (host, port) = (self.uri.host().unwrap_or_default(), self.uri.port_u16().unwrap_or(80));
            vec![
                KeyValue::new("circle.expert", i64::try_from(place).unwrap_or(i64::MAX)),
                KeyValue::new("circle.expert.type", self.member.kind.name()),
                KeyValue::new("circle.attempt", i64::from(attempt)),
                KeyValue::new("http.request.method", "POST"),
                // Without what may be a secret in it: user and query.
                KeyValue::new("url.full", format!("http://{host}:{port}{}", self.uri.path())),
                KeyValue::new("server.address", host.to_owned()),
                KeyValue::new("server.port", i64::from(port)),
            ]
        })
    }

    /// A request with a question, which is escaped for a JSON string.
    pub(super) fn request(&self, question: &str) -> Request<Full<Bytes>> {
        let Envelope { before, user, close, after, .. } = &self.envelope;
        let body = [before.as_slice(), user, question.as_bytes(), close, after].concat();
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

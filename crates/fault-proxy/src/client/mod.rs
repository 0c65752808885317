//! Drives a fault proxy, from whatever process: each call of its API as a function.

mod error;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wire::{Counters, Draws, ProxyInput, ProxyView, ToxicInput, ToxicView};

pub use error::ClientError;

/// How long a call may take. None of them waits for a connection, so this is for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who drives a fault proxy. Clones share what they hold.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    shown: Arc<str>,
    token: Option<Arc<str>>,
}

impl Client {
    /// For the API at a URL such as `http://127.0.0.1:8474`, with the token that the proxy was started with, if there is one.
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let wrong = |problem: String| ClientError::Url { url: url.to_owned(), problem };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if parsed.cannot_be_a_base() || !parsed.has_host() {
            return Err(wrong("it has no host".to_owned()));
        }
        let http = reqwest::Client::builder()
            // Who drives the proxy is on its machine or has its address: no proxy of the environment is between them.
            .no_proxy()
            .redirect(Policy::none())
            // Calls are few, and a connection that is kept fails the first one after the proxy was replaced.
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build();
        let http = http.map_err(|error| wrong(error.to_string()))?;
        Ok(Self { http, shown: url.trim_end_matches('/').into(), url: parsed, token: token.map(Arc::from) })
    }

    /// As it was given, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// The version of Toxiproxy whose API it speaks.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn version(&self) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        self.get::<Version>(&["version"]).await.map(|answer| answer.version)
    }

    /// All proxies by name.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list(&self) -> Result<BTreeMap<String, ProxyView>, ClientError> {
        self.get(&["proxies"]).await
    }

    /// A proxy.
    ///
    /// # Errors
    /// When it is not there, or the call fails.
    pub async fn proxy(&self, proxy: &str) -> Result<ProxyView, ClientError> {
        self.get(&["proxies", proxy]).await
    }

    /// Adds a proxy; what is shown has the port that it got.
    ///
    /// # Errors
    /// When its name is taken, its address cannot be had, or the call fails.
    pub async fn create_proxy(&self, proxy: &ProxyInput) -> Result<ProxyView, ClientError> {
        self.send(Method::POST, &["proxies"], proxy).await
    }

    /// Adds proxies, or replaces those whose address or upstream is another; the others stay, but for the toxics and the lease
    /// that are given.
    ///
    /// # Errors
    /// When one of them is wrong, an address cannot be had, or the call fails.
    pub async fn populate(&self, proxies: &[ProxyInput]) -> Result<Vec<ProxyView>, ClientError> {
        #[derive(Deserialize)]
        struct Populated {
            proxies: Vec<ProxyView>,
        }
        let answer: Populated = self.send(Method::POST, &["populate"], &proxies).await?;
        Ok(answer.proxies)
    }

    /// Changes what is given of a proxy, and renews its lease.
    ///
    /// # Errors
    /// When it is not there, its address cannot be had, or the call fails.
    pub async fn update_proxy(&self, proxy: &str, change: &ProxyInput) -> Result<ProxyView, ClientError> {
        self.send(Method::PATCH, &["proxies", proxy], change).await
    }

    /// Leads a proxy elsewhere: its connections are closed, its port stays open, and who connects from now on comes there.
    ///
    /// # Errors
    /// When it is not there, or the call fails.
    pub async fn set_upstream(&self, proxy: &str, upstream: &str) -> Result<ProxyView, ClientError> {
        let change = ProxyInput { upstream: Some(upstream.to_owned()), ..ProxyInput::default() };
        self.update_proxy(proxy, &change).await
    }

    /// Opens a proxy, on the port that it had, or closes it with its connections: whoever connects is refused.
    ///
    /// # Errors
    /// When it is not there, its address cannot be had, or the call fails.
    pub async fn set_enabled(&self, proxy: &str, enabled: bool) -> Result<ProxyView, ClientError> {
        self.update_proxy(proxy, &ProxyInput { enabled: Some(enabled), ..ProxyInput::default() }).await
    }

    /// Closes a proxy likewise, for so long, unless it is told again within that time; zero = for ever.
    ///
    /// # Errors
    /// When it is not there, or the call fails.
    pub async fn disable_for(&self, proxy: &str, ttl: Duration) -> Result<ProxyView, ClientError> {
        self.update_proxy(proxy, &ProxyInput::default().disabled_for(ttl)).await
    }

    /// Takes a proxy away.
    ///
    /// # Errors
    /// When it is not there, or the call fails.
    pub async fn delete_proxy(&self, proxy: &str) -> Result<(), ClientError> {
        self.tell(Method::DELETE, &["proxies", proxy]).await
    }

    /// The toxics of a proxy.
    ///
    /// # Errors
    /// When it is not there, or the call fails.
    pub async fn toxics(&self, proxy: &str) -> Result<Vec<ToxicView>, ClientError> {
        self.get(&["proxies", proxy, "toxics"]).await
    }

    /// Adds a toxic, after all others. From the answer on it is at work on every byte that is sent.
    ///
    /// # Errors
    /// When the proxy is not there, the toxic's name is taken or something about it is wrong, or the call fails.
    pub async fn add_toxic(&self, proxy: &str, toxic: &ToxicInput) -> Result<ToxicView, ClientError> {
        self.send(Method::POST, &["proxies", proxy, "toxics"], toxic).await
    }

    /// Changes attributes, toxicity or time to live, and renews the lease.
    ///
    /// # Errors
    /// When it is not there, what is given is wrong, or the call fails.
    pub async fn update_toxic(
        &self,
        proxy: &str,
        toxic: &str,
        change: &ToxicInput,
    ) -> Result<ToxicView, ClientError> {
        self.send(Method::PATCH, &["proxies", proxy, "toxics", toxic], change).await
    }

    /// Has a toxic live for its time from now on. Connections do not notice.
    ///
    /// # Errors
    /// When it is not there any more, or the call fails.
    pub async fn renew_toxic(&self, proxy: &str, toxic: &str) -> Result<ToxicView, ClientError> {
        self.update_toxic(proxy, toxic, &ToxicInput::default()).await
    }

    /// Removes a toxic. From the answer on it does nothing more to any byte that is sent.
    ///
    /// # Errors
    /// When it is not there, or the call fails.
    pub async fn remove_toxic(&self, proxy: &str, toxic: &str) -> Result<(), ClientError> {
        self.tell(Method::DELETE, &["proxies", proxy, "toxics", toxic]).await
    }

    /// Enables all proxies and removes all toxics.
    ///
    /// # Errors
    /// When an address cannot be had, or the call fails.
    pub async fn reset(&self) -> Result<(), ClientError> {
        self.tell(Method::POST, &["reset"]).await
    }

    /// What has happened.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn counters(&self) -> Result<Counters, ClientError> {
        self.get(&["counters"]).await
    }

    /// Which toxics hit which connections of a proxy.
    ///
    /// # Errors
    /// When it is not there, or the call fails.
    pub async fn draws(&self, proxy: &str) -> Result<Draws, ClientError> {
        self.get(&["proxies", proxy, "draws"]).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.read(&self.ask(Method::GET, path, None::<&()>).await?)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.read(&self.ask(method, path, Some(body)).await?)
    }

    async fn tell(&self, method: Method, path: &[&str]) -> Result<(), ClientError> {
        self.ask(method, path, None::<&()>).await.map(|_| ())
    }

    /// A call that succeeded.
    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&impl Serialize>,
    ) -> Result<Answer, ClientError> {
        let call = format!("{method} /{}", path.join("/"));
        let failed =
            |source| ClientError::NoAnswer { url: self.shown.to_string(), call: call.clone(), source };
        let mut request = self.http.request(method, self.address(path)?);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        if status.is_success() {
            return Ok(Answer { call, text });
        }
        Err(ClientError::refused(&self.shown, call, status.as_u16(), &text))
    }

    /// Names are the user's: whatever is in them is one part of the path.
    fn address(&self, path: &[&str]) -> Result<Url, ClientError> {
        let is_lost = |part: &&&str| matches!(**part, "" | "." | "..");
        if let Some(name) = path.iter().find(is_lost) {
            return Err(ClientError::Name((*name).to_owned()));
        }
        let mut url = self.url.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        Ok(url)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ClientError> {
        serde_json::from_str(&answer.text).map_err(|source| ClientError::Unreadable {
            url: self.shown.to_string(),
            call: answer.call.clone(),
            source,
        })
    }
}

struct Answer {
    call: String,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_part_of_the_path_each() {
        let client = Client::new("http://127.0.0.1:8474/", None).unwrap();
        assert_eq!(client.url(), "http://127.0.0.1:8474");
        let url = client.address(&["proxies", "a/b c", "toxics", "a shop dies?"]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:8474/proxies/a%2Fb%20c/toxics/a%20shop%20dies%3F");
        for name in ["", ".", ".."] {
            let refused = client.address(&["proxies", name]).unwrap_err();
            assert!(refused.to_string().contains("expected a name"), "{refused}");
        }
    }

    #[test]
    fn urls_that_lead_nowhere_are_named() {
        for url in ["127.0.0.1:8474", "nowhere", "mailto:x"] {
            let refused = Client::new(url, None).unwrap_err().to_string();
            assert!(refused.contains(url) && refused.contains("http://127.0.0.1:8474"), "{refused}");
        }
    }
}

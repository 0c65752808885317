//! A run that is under way, reached through its HTTP API.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::args::LiveRunArgs;
use crate::failure::Failure;
use crate::run_dir;

/// A run on this host answers at once, but may be busy with a phase's end or with the undo of a fault.
const ANSWER: Duration = Duration::from_secs(40);

/// Does what a command of one answer does.
pub(super) fn block_on(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(error.to_string()))?;
    runtime.block_on(work)
}

/// See the module.
pub(super) struct LiveRun {
    http: reqwest::Client,
    /// Of the API, without a slash at its end.
    url: String,
    id: String,
}

impl LiveRun {
    /// Finds the run: that of the API that was named, or the newest of the report directory.
    ///
    /// # Errors
    /// When there is none, or its API does not answer.
    pub(super) async fn find(args: &LiveRunArgs) -> Result<Self, Failure> {
        let http = client(args.api_token_file.as_deref())?;
        let (url, id) = match &args.api {
            Some(url) => {
                let url = url.trim_end_matches('/').to_owned();
                let id = live_run(&http, &url).await?;
                (url, id)
            }
            None => newest_live(&args.report_dir)?,
        };
        Ok(Self { http, url, id })
    }

    /// What there is under the run: `faults`.
    ///
    /// # Errors
    /// When it is refused, or the API does not answer.
    pub(super) async fn get(&self, what: &str) -> Result<Value, Failure> {
        let url = self.address(what);
        self.send(&url, self.http.get(&url)).await
    }

    /// Asks for something; what was answered, null where that is nothing.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn post(&self, what: &str, body: &Value) -> Result<Value, Failure> {
        let url = self.address(what);
        self.send(&url, self.http.post(&url).json(body)).await
    }

    fn address(&self, what: &str) -> String {
        format!("{}/v1/runs/{}/{what}", self.url, self.id)
    }

    async fn send(&self, url: &str, request: RequestBuilder) -> Result<Value, Failure> {
        let answer = request.send().await.map_err(|error| unreachable(url, &error))?;
        if !answer.status().is_success() {
            return Err(refusal(url, answer).await);
        }
        let bytes = answer.bytes().await.map_err(|error| unreachable(url, &error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::environment(format!("{url}: the answer cannot be read: {error}")))
    }
}

async fn refusal(url: &str, answer: Response) -> Failure {
    let status = answer.status();
    let problem: Value = answer.json().await.unwrap_or_default();
    let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    let said = format!("{}: {}", text("title"), text("detail"));
    if status.is_client_error() {
        Failure::input(format!("refused ({status}): {said}"))
    } else {
        Failure::environment(format!("{url} answered {status}: {said}"))
    }
}

/// API and id of the newest run that is under way.
fn newest_live(report_dir: &Path) -> Result<(String, String), Failure> {
    let none = || {
        Failure::input(format!(
            "no run is under way in {}; name its directory with --report-dir, or its API with --api",
            report_dir.display()
        ))
    };
    if !report_dir.is_dir() {
        return Err(none());
    }
    let api = run_dir::all(report_dir)?.iter().find_map(|dir| run_dir::live(dir)).ok_or_else(none)?;
    Ok((api.url, api.run))
}

/// The id of the run that an API steers.
async fn live_run(http: &reqwest::Client, url: &str) -> Result<String, Failure> {
    let answer = http.get(format!("{url}/v1/runs")).send().await.map_err(|error| unreachable(url, &error))?;
    let runs: Value = answer.json().await.map_err(|error| unreachable(url, &error))?;
    let live = runs.as_array().into_iter().flatten().find(|run| run["state"] != "ended");
    live.and_then(|run| run["id"].as_str())
        .map(str::to_owned)
        .ok_or_else(|| Failure::input(format!("{url} has no run under way")))
}

fn client(token_file: Option<&Path>) -> Result<reqwest::Client, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(file) = token_file {
        headers.insert(AUTHORIZATION, bearer(file)?);
    }
    reqwest::Client::builder()
        .timeout(ANSWER)
        .default_headers(headers)
        // The run is on this host; a proxy of the environment is not meant for it.
        .no_proxy()
        .build()
        .map_err(|error| Failure::bug(error.to_string()))
}

/// The header with the token of a file.
fn bearer(file: &Path) -> Result<HeaderValue, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::input(format!("--api-token-file: cannot read {shown}: {error}")))?;
    let mut header = HeaderValue::from_str(&format!("Bearer {}", text.trim_end())).map_err(|_| {
        Failure::input(format!(
            "--api-token-file: found other than text in {shown}, expected a token in one line"
        ))
    })?;
    header.set_sensitive(true);
    Ok(header)
}

fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::environment(format!("{url} does not answer: {cause}; has the run ended?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_not_there_is_named() {
        let missing = client(Some(Path::new("/nowhere/token"))).err().unwrap();
        assert!(missing.code() == 2 && missing.to_string().contains("/nowhere/token"), "{missing}");
    }
}

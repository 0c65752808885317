//! `gauntlet control`: steering a run that is under way, through its HTTP API.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::args::{Action, ControlArgs};
use crate::failure::Failure;
use crate::{output, run_dir};

/// A run on this host answers at once, but may be busy with a phase's end.
const ANSWER: Duration = Duration::from_secs(30);

pub(crate) fn send(args: &ControlArgs) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(error.to_string()))?;
    runtime.block_on(async {
        let client = Client::new(args.api_token_file.as_deref())?;
        let (url, run) = match &args.api {
            Some(url) => {
                let url = url.trim_end_matches('/').to_owned();
                let run = client.live_run(&url).await?;
                (url, run)
            }
            None => newest_live(args)?,
        };
        let (word, body) = match args.action {
            Action::Pause => ("pause", json!({ "action": "pause" })),
            Action::Resume => ("resume", json!({ "action": "resume" })),
            Action::Stop => ("stop", json!({ "action": "stop" })),
            Action::Skip => ("skip", json!({ "action": "skip" })),
            Action::Rate { rate } => ("rate", json!({ "action": "rate", "rate": rate })),
        };
        client.post(&format!("{url}/v1/runs/{run}/control"), &body).await?;
        output::line(&format!("{word}: done"));
        Ok(0)
    })
}

/// API and id of the newest run that is under way.
fn newest_live(args: &ControlArgs) -> Result<(String, String), Failure> {
    let none = || {
        Failure::input(format!(
            "no run is under way in {}; name its directory with --report-dir, or its API with --api",
            args.report_dir.display()
        ))
    };
    if !args.report_dir.is_dir() {
        return Err(none());
    }
    let api = run_dir::all(&args.report_dir)?.iter().find_map(|dir| run_dir::live(dir)).ok_or_else(none)?;
    Ok((api.url, api.run))
}

struct Client {
    http: reqwest::Client,
}

impl Client {
    fn new(token_file: Option<&Path>) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(file) = token_file {
            headers.insert(AUTHORIZATION, bearer(file)?);
        }
        let http = reqwest::Client::builder()
            .timeout(ANSWER)
            .default_headers(headers)
            // The run is on this host; a proxy of the environment is not meant for it.
            .no_proxy()
            .build()
            .map_err(|error| Failure::bug(error.to_string()))?;
        Ok(Self { http })
    }

    /// The id of the run that the API steers.
    async fn live_run(&self, url: &str) -> Result<String, Failure> {
        let answer =
            self.http.get(format!("{url}/v1/runs")).send().await.map_err(|error| unreachable(url, &error))?;
        let runs: Value = answer.json().await.map_err(|error| unreachable(url, &error))?;
        let live = runs.as_array().into_iter().flatten().find(|run| run["state"] != "ended");
        live.and_then(|run| run["id"].as_str())
            .map(str::to_owned)
            .ok_or_else(|| Failure::input(format!("{url} has no run under way")))
    }

    async fn post(&self, url: &str, body: &Value) -> Result<(), Failure> {
        let answer = self.http.post(url).json(body).send().await.map_err(|error| unreachable(url, &error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let problem: Value = answer.json().await.unwrap_or_default();
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let said = format!("{}: {}", text("title"), text("detail"));
        if status.is_client_error() {
            Err(Failure::input(format!("refused ({status}): {said}")))
        } else {
            Err(Failure::environment(format!("{url} answered {status}: {said}")))
        }
    }
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
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::args::Action;

    /// Answers two requests of a client, and gives their heads.
    fn api(listener: &TcpListener) -> Vec<String> {
        let answers = [r#"[{"id":"r1","state":"running"}]"#, "{}"];
        let heads = answers.map(|body| {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let length = body.len();
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
                .unwrap();
            head.join("\n")
        });
        heads.into()
    }

    #[test]
    fn a_token_goes_with_every_request_and_the_newest_live_run_is_steered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("api-token");
        std::fs::write(&file, "s3cret\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || api(&listener));
        let args = ControlArgs {
            action: Action::Pause,
            api: Some(url),
            api_token_file: Some(file),
            report_dir: "runs".into(),
        };
        assert_eq!(send(&args).unwrap(), 0);
        let heads = serving.join().unwrap();
        assert!(heads[0].starts_with("GET /v1/runs HTTP/1.1"), "{heads:?}");
        assert!(heads[1].starts_with("POST /v1/runs/r1/control HTTP/1.1"), "{heads:?}");
        assert!(heads.iter().all(|head| head.contains("authorization: Bearer s3cret")), "{heads:?}");
    }

    #[test]
    fn a_token_that_is_not_there_is_named() {
        let missing = Client::new(Some(Path::new("/nowhere/token"))).err().unwrap();
        assert!(missing.code() == 2 && missing.to_string().contains("/nowhere/token"), "{missing}");
    }
}

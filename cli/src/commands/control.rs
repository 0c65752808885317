//! `gauntlet control`: steering a run that is under way, through its HTTP API.

use serde_json::json;

use super::live_run::{LiveRun, block_on};
use crate::args::{Action, ControlArgs};
use crate::failure::Failure;
use crate::output;

pub(crate) fn send(args: &ControlArgs) -> Result<u8, Failure> {
    block_on(async {
        let run = LiveRun::find(&args.run).await?;
        let (word, body) = match args.action {
            Action::Pause => ("pause", json!({ "action": "pause" })),
            Action::Resume => ("resume", json!({ "action": "resume" })),
            Action::Stop => ("stop", json!({ "action": "stop" })),
            Action::Skip => ("skip", json!({ "action": "skip" })),
            Action::Rate { rate } => ("rate", json!({ "action": "rate", "rate": rate })),
        };
        run.post("control", &body).await?;
        output::line(&format!("{word}: done"));
        Ok(0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::args::LiveRunArgs;

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
        let run = LiveRunArgs { api: Some(url), api_token_file: Some(file), report_dir: "runs".into() };
        let args = ControlArgs { action: Action::Pause, run };
        assert_eq!(send(&args).unwrap(), 0);
        let heads = serving.join().unwrap();
        assert!(heads[0].starts_with("GET /v1/runs HTTP/1.1"), "{heads:?}");
        assert!(heads[1].starts_with("POST /v1/runs/r1/control HTTP/1.1"), "{heads:?}");
        assert!(heads.iter().all(|head| head.contains("authorization: Bearer s3cret")), "{heads:?}");
    }
}

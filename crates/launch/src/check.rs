//! Whether the service that runs with the same settings is ready: what a supervisor asks from beside it, such as a
//! container's health check, without any other program in the image.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Error;
use crate::settings::Common;

/// The word, as a program's first argument, that asks in place of serving.
pub const WORD: &str = "check-health";

/// How long each step of the question may take.
const ANSWER: Duration = Duration::from_secs(3);
/// Bytes of an answer that are read: far more than there can be missing.
const LONGEST: u64 = 16 << 10;

/// Asks the service at [`Common::health`] whether it is ready.
///
/// # Errors
/// When the address cannot be asked at, nobody answers there, or the service says what it waits for.
pub fn readiness(common: &Common) -> Result<(), Error> {
    let address = match common.health.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => address,
        _ => {
            return Err(Error::Input(format!(
                "health: found {:?}, expected the address and port that the service was given: {WORD} cannot find a port \
                 that was any free one",
                common.health
            )));
        }
    };
    let answer = ask(address)
        .map_err(|error| Error::Environment(format!("health: {address} does not answer: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_ascii_whitespace().nth(1).unwrap_or("no status");
    if status == "200" {
        return Ok(());
    }
    Err(Error::Environment(format!("not ready ({status}): {}", body.trim_end().replace('\n', "; "))))
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    // Of HTTP/1.0, which ends an answer by closing and sends no chunks.
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use service::{Shutdown, Tasks};

    use super::*;
    use crate::health::Health;

    #[derive(Debug, clap::Parser)]
    struct Test {
        #[command(flatten)]
        common: Common,
    }

    fn at(address: &str) -> Common {
        Test::parse_from(["test", "--health", address]).common
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_service_is_asked_and_its_answer_is_ours() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let here = at(&free);
        let nobody = readiness(&here).unwrap_err();
        assert!(matches!(&nobody, Error::Environment(text) if text.contains(&free)), "{nobody}");

        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let health = Health::new("test", None);
        health.serve(&free, &tasks, &shutdown).await.unwrap();
        let asked = here.clone();
        let starting = tokio::task::spawn_blocking(move || readiness(&asked)).await.unwrap().unwrap_err();
        assert_eq!(starting.to_string(), "not ready (503): service: starting");
        health.ready();
        tokio::task::spawn_blocking(move || readiness(&here)).await.unwrap().unwrap();
        shutdown.trigger("the test is over");
        tasks.finish(ANSWER).await;
    }

    #[test]
    fn a_port_that_nobody_chose_cannot_be_asked() {
        let error = readiness(&at("127.0.0.1:0")).unwrap_err();
        assert!(matches!(&error, Error::Input(text) if text.contains("any free one")), "{error}");
    }
}

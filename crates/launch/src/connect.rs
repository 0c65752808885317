//! The connections of a deployed service.

use std::path::Path;
use std::time::Duration;

use bus::{Bus, BusError, Credentials, NatsOptions};
use store::{PostgresOptions, Store, StoreError};

use crate::Error;
use crate::settings::{Common, PostgresSettings};

/// How long a service waits for servers that are not there yet: all of them may be starting together.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before a server that is not there is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Connects to NATS as `role`; waits for a server that is starting.
///
/// # Errors
/// When it is not there within a minute, refuses, or lacks what is needed.
pub async fn bus(common: &Common, role: &str) -> Result<Bus, Error> {
    let options = nats_options(common, role)?;
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let error = match Bus::connect(options.clone()).await {
            Ok(bus) => return Ok(bus),
            Err(error) => error,
        };
        let may_come = matches!(error, BusError::Connect { .. } | BusError::Lost { .. });
        if !may_come || tokio::time::Instant::now() >= until {
            return Err(Error::Environment(error.to_string()));
        }
        tracing::info!(%error, "NATS is not there yet; trying again");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Connects to PostgreSQL; the store waits for a server that is starting.
///
/// # Errors
/// When it is not there in time, refuses, or has tables of a newer version.
pub async fn store(settings: &PostgresSettings) -> Result<Store, Error> {
    let options = PostgresOptions {
        password_file: settings.postgres_password_file.clone(),
        ca: settings.postgres_ca.clone(),
        pool: usize::from(settings.postgres_pool),
        ..PostgresOptions::new(settings.postgres_url.clone())
    };
    Store::connect(options).await.map_err(|error| match error {
        StoreError::Options { .. } => Error::Input(error.to_string()),
        error if error.is_environment() => Error::Environment(error.to_string()),
        error => Error::Bug(error.to_string()),
    })
}

/// Options for NATS from a service's settings.
///
/// # Errors
/// When the password cannot be read.
pub fn nats_options(common: &Common, role: &str) -> Result<NatsOptions, Error> {
    let credentials = match &common.nats_password_file {
        Some(file) => Some(Credentials {
            user: common.nats_user.clone().unwrap_or_else(|| role.to_owned()),
            password: secret("nats-password-file", file)?,
        }),
        None => None,
    };
    Ok(NatsOptions {
        urls: common.nats_url.clone(),
        credentials,
        root_ca: common.nats_ca.clone(),
        max_log_bytes: common.nats_log_bytes,
        client_certificate: common.nats_certificate.clone().zip(common.nats_key.clone()),
        ..NatsOptions::new("", role, common.state_dir.join("objects"))
    })
}

/// A secret from a file, without the line's end.
///
/// # Errors
/// When it cannot be read or is empty.
pub fn secret(setting: &str, file: &Path) -> Result<String, Error> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::Input(format!("{setting}: cannot read {shown}: {error}")))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Error::Input(format!(
            "{setting}: {shown} is empty, expected a secret in its first line"
        )));
    }
    Ok(secret.to_owned())
}

//! compose.yaml as the test reads it, and the rules that it keeps.

use anyhow::Context as _;
use serde_json::Value;

use crate::paths::root;

/// The file, with what it merges put in place.
pub(super) struct Compose {
    file: Value,
}

impl Compose {
    /// # Errors
    /// When it is not there or is no YAML.
    pub(super) fn read() -> anyhow::Result<Self> {
        let path = root().join("compose.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let file = serde_saphyr::from_str(&text).context("compose.yaml")?;
        Ok(Self { file })
    }

    /// Every service and what stands under its name.
    pub(super) fn services(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.file["services"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, service)| (name.as_str(), service))
    }

    /// Services that run as long as the stack does.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &str> {
        self.services().filter(|(_, service)| service["restart"] == "unless-stopped").map(|(name, _)| name)
    }

    /// The image of a service.
    ///
    /// # Errors
    /// When there is no such service.
    pub(super) fn image(&self, service: &str) -> anyhow::Result<&str> {
        let image = self.file["services"][service]["image"].as_str();
        image.with_context(|| format!("compose.yaml: service {service} names no image"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn texts(value: &Value) -> Vec<&str> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
    }

    #[test]
    fn ports_are_published_on_loopback_alone() {
        let compose = Compose::read().unwrap();
        let ports: Vec<&str> = compose.services().flat_map(|(_, service)| texts(&service["ports"])).collect();
        assert!(!ports.is_empty() && ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{ports:?}");
        assert!(compose.services().all(|(_, service)| service["network_mode"] != "host"));
    }

    #[test]
    fn secrets_come_from_files_and_each_service_sees_its_own() {
        let compose = Compose::read().unwrap();
        let mut from_files = 0;
        for (name, service) in compose.services() {
            let environment = service["environment"].as_object().cloned().unwrap_or_default();
            for (variable, value) in &environment {
                if ["PASSWORD", "TOKEN", "SECRET"].iter().any(|word| variable.contains(word)) {
                    let value = value.as_str().unwrap();
                    assert!(
                        variable.ends_with("_FILE") && value.starts_with("/run/gauntlet/"),
                        "{name}: {variable}"
                    );
                    from_files += 1;
                }
                let text = value.to_string();
                let user_and_password = text.split("://").nth(1).and_then(|rest| rest.split_once('@'));
                assert!(!user_and_password.is_some_and(|(user, _)| user.contains(':')), "{name}: {variable}");
            }
            let given =
                texts(&service["volumes"]).into_iter().filter(|volume| volume.starts_with("secrets-"));
            let given: BTreeSet<&str> = given.collect();
            assert!(name == "secrets" || given.len() <= 1, "{name}: {given:?}");
            assert!(
                name == "secrets" || given.iter().all(|volume| volume.contains(":ro")),
                "{name}: {given:?}"
            );
        }
        // NATS's for seven, PostgreSQL's for it and two, the API's for two: none has slipped through.
        assert_eq!(from_files, 12);
    }

    #[test]
    fn images_are_pinned_and_ours_are_built_here() {
        let compose = Compose::read().unwrap();
        let dockerfile = std::fs::read_to_string(root().join("deploy/docker/Dockerfile")).unwrap();
        for (name, service) in compose.services() {
            let image = compose.image(name).unwrap();
            let (repository, tag) = image.split_once(':').unwrap();
            let pinned =
                tag.starts_with(|first: char| first.is_ascii_digit()) && tag.matches('.').count() >= 1;
            assert!(pinned, "{name}: {image}");
            let Some(build) = service["build"].as_object() else {
                assert!(["nats", "postgres", "gauntlet"].contains(&repository), "{name}: {image}");
                continue;
            };
            assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{name}");
            let stage = format!(" AS {}\n", build["target"].as_str().unwrap());
            assert!(dockerfile.contains(&stage), "{name}: there is no stage {stage:?}");
        }
        for from in dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")) {
            let image = from.split(' ').next().unwrap();
            assert!(image == "base" || image.contains(|c: char| c.is_ascii_digit()), "{from}");
        }
    }

    #[test]
    fn every_container_is_confined_and_watched() {
        let compose = Compose::read().unwrap();
        for (name, service) in compose.services() {
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
            assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
            assert!(service["logging"]["options"]["max-size"].is_string(), "{name}");
            assert!(service["privileged"].is_null() && service["cap_add"].is_null(), "{name}");
        }
        let lasting: Vec<&str> = compose.lasting().collect();
        assert_eq!(lasting.len(), 9, "{lasting:?}");
        let with_check = compose.services().filter(|(_, service)| service["healthcheck"]["test"].is_array());
        let with_check: BTreeSet<&str> = with_check.map(|(name, _)| name).collect();
        assert_eq!(with_check, lasting.into_iter().collect());
        let suite = &compose.file["networks"]["suite"];
        assert_eq!(suite["internal"], true);
        assert_eq!(texts(&compose.file["services"]["core-services"]["networks"]), ["load"]);
    }
}

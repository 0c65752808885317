//! Who may say and hear what on NATS, and where records and objects are in it: all of it follows from the table of
//! [`crate::message`].

use crate::message::{Line, Verb, table};

/// The services and the command, by the areas of their subjects: each is a user on the bus, and has an inbox of its own.
pub const ROLES: [&str; 6] = ["scheduler", "load", "metrics", "chaos", "recovery", "cli"];

/// The bucket that bundles are in.
pub const BUCKET: &str = "gauntlet-objects";

/// Subjects, with NATS's wildcards, that one user may publish to and subscribe to; nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// It may send to these.
    pub publish: Vec<String>,
    /// It may receive from these.
    pub subscribe: Vec<String>,
}

/// The stream of a log: `gauntlet-load-samples` of `load.samples`.
#[must_use]
pub fn stream_name(log: &str) -> String {
    format!("gauntlet-{}", log.replace('.', "-"))
}

/// The subject that covers a log's records of all runs: `gauntlet.v1.load.*.samples` of `load.samples`.
#[must_use]
pub fn record_filter(log: &str) -> String {
    let (area, what) = log.split_once('.').unwrap_or((log, "*"));
    format!("gauntlet.v1.{area}.*.{what}")
}

/// Every log with the names of its consumers.
#[must_use]
pub fn consumers() -> Vec<(String, Vec<&'static str>)> {
    let records = table().filter(|line| line.verb == Verb::Record);
    records.map(|line| (log(line), line.hears.to_vec())).collect()
}

/// Where a role gets the answers to its commands. Apart from the rest of its inbox, where the server alone answers: nobody
/// else is to say that a record is durable.
#[must_use]
pub fn reply_inbox(role: &str) -> String {
    format!("_INBOX.{role}.bus")
}

/// What a role may do.
#[must_use]
pub fn permissions(role: &str) -> Permissions {
    let mut permissions = Permissions::default();
    let Permissions { publish, subscribe } = &mut permissions;
    publish.push("$JS.API.INFO".to_owned());
    // A connection is known to stand by a message to itself that comes back.
    publish.push(format!("{}.>", reply_inbox(role)));
    subscribe.push(format!("_INBOX.{role}.>"));
    for line in table() {
        let (says, hears) = (line.says.contains(&role), line.hears.contains(&role));
        match line.verb {
            Verb::Broadcast => {
                let subject = format!("gauntlet.v1.{}.*.{}", line.area, line.what);
                publish.extend(says.then(|| subject.clone()));
                subscribe.extend(hears.then_some(subject));
            }
            Verb::Command => {
                let subject = format!("gauntlet.v1.{}.any.{}", line.area, line.what);
                let subjects = [format!("{subject}.*"), subject];
                if says {
                    publish.extend(subjects.clone());
                }
                if hears {
                    subscribe.extend(subjects);
                    publish.extend(line.says.iter().map(|asker| format!("{}.>", reply_inbox(asker))));
                }
            }
            Verb::Record if says || hears => record(line, role, says, hears, publish),
            Verb::Record => {}
        }
    }
    objects(role, publish);
    for subjects in [publish, subscribe] {
        subjects.sort();
        subjects.dedup();
    }
    permissions
}

fn log(line: &Line) -> String {
    format!("{}.{}", line.area, line.what)
}

/// A stream and its consumers are made by whoever needs them first.
fn record(line: &Line, role: &str, says: bool, hears: bool, publish: &mut Vec<String>) {
    let stream = stream_name(&log(line));
    publish.push(format!("$JS.API.STREAM.INFO.{stream}"));
    publish.push(format!("$JS.API.STREAM.CREATE.{stream}"));
    for consumer in line.hears {
        publish.push(format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}"));
    }
    if says {
        publish.push(record_filter(&log(line)));
    }
    if hears {
        publish.push(format!("$JS.API.CONSUMER.INFO.{stream}.{role}"));
        publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{role}"));
        // Acknowledgements, with and without domain and account.
        publish.push(format!("$JS.ACK.{stream}.{role}.>"));
        publish.push(format!("$JS.ACK.*.*.{stream}.{role}.>"));
    }
}

fn objects(role: &str, publish: &mut Vec<String>) {
    let stream = format!("OBJ_{BUCKET}");
    publish.push(format!("$JS.API.STREAM.INFO.{stream}"));
    publish.push(format!("$JS.API.DIRECT.GET.{stream}.>"));
    // Reading an object makes a consumer for it, whose name the server chooses and whose pace the reader sets; one that has
    // lost its place is removed.
    publish.push(format!("$JS.API.CONSUMER.CREATE.{stream}"));
    publish.push(format!("$JS.API.CONSUMER.DELETE.{stream}.>"));
    publish.push(format!("$JS.FC.{stream}.>"));
    // Plans and their files come from the command, or by the scheduler's API.
    if matches!(role, "cli" | "scheduler") {
        publish.push(format!("$JS.API.STREAM.CREATE.{stream}"));
        publish.push(format!("$O.{BUCKET}.>"));
        // A second put of one object at the same time removes the chunks of the first.
        publish.push(format!("$JS.API.STREAM.PURGE.{stream}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_somebody_who_says_it_and_somebody_who_hears_it() {
        for line in table() {
            let named = line.says.iter().chain(line.hears);
            assert!(named.clone().all(|role| ROLES.contains(role)), "{line:?}");
            assert!(!line.says.is_empty() && !line.hears.is_empty(), "{line:?}");
        }
    }

    #[test]
    fn a_worker_cannot_create_runs_nor_read_samples() {
        let load = permissions("load");
        assert!(load.publish.contains(&"gauntlet.v1.load.*.samples".to_owned()));
        assert!(load.subscribe.contains(&"gauntlet.v1.load.any.prepare.*".to_owned()));
        let all = || load.publish.iter().chain(&load.subscribe);
        assert!(
            all().all(|subject| !subject.contains("scheduler.any.create") && !subject.contains("MSG.NEXT"))
        );
        assert!(!load.publish.contains(&format!("$O.{BUCKET}.>")));
        assert!(all().all(|subject| subject != ">" && subject != "$JS.API.>"));
    }

    #[test]
    fn logs_have_their_consumers() {
        assert_eq!(
            consumers(),
            [
                ("load.samples".to_owned(), vec!["metrics"]),
                ("load.guest-faults".to_owned(), vec!["metrics", "scheduler"]),
                ("load.endpoints".to_owned(), vec!["scheduler"]),
                ("chaos.faults".to_owned(), vec!["scheduler", "recovery"]),
                ("recovery.incidents".to_owned(), vec!["scheduler"])
            ]
        );
        assert_eq!(stream_name("load.samples"), "gauntlet-load-samples");
        assert_eq!(record_filter("load.samples"), "gauntlet.v1.load.*.samples");
    }
}

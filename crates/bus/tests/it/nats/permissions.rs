//! That each role may do all it needs and nothing else, on a server with the configuration that is deployed.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerError};
use bus::{Address, Bus, BusError, NatsOptions};
use protocol::access::{BUCKET, ROLES, consumers, stream_name};
use protocol::message::{Broadcast, Command, Line, Record, Verb, table};
use protocol::v1::*;
use tokio::sync::mpsc;

use super::users::{Deployed, LONG, deployed, key, password, soon};

/// The buses of all roles, and what has been tried of the table.
struct All {
    buses: Vec<(&'static str, Bus)>,
    tried: BTreeSet<(&'static str, &'static str)>,
}

impl All {
    async fn connect(place: &Deployed) -> Self {
        let mut buses = Vec::new();
        for role in ROLES {
            buses.push((role, place.bus(role).await));
        }
        Self { buses, tried: BTreeSet::new() }
    }

    fn of(&self, role: &str) -> &Bus {
        &self.buses.iter().find(|(of, _)| *of == role).unwrap().1
    }

    fn line(&mut self, subject: (&'static str, &'static str)) -> &'static Line {
        self.tried.insert(subject);
        table().find(|line| (line.area, line.what) == subject).unwrap()
    }

    async fn broadcast<M: Broadcast>(&mut self) {
        let line = self.line(M::SUBJECT);
        let mut hearing = Vec::new();
        for role in line.hears {
            hearing.push(self.of(role).subscribe::<M>().await.unwrap());
        }
        for role in line.says {
            self.of(role).broadcast(&M::default()).await.unwrap();
            for heard in &mut hearing {
                assert!(soon(line.what, heard.next()).await.is_some(), "{line:?}");
            }
        }
    }

    async fn command<C: Command>(&mut self) {
        let line = self.line(C::SUBJECT);
        for to in [Address::Service, Address::Instance("1f".to_owned())] {
            for server in line.hears {
                let mut requests = self.of(server).serve::<C>(to.clone()).await.unwrap();
                for asker in line.says {
                    let command = C::default();
                    let asked = self.of(asker).command(&to, &command, LONG);
                    let served = async {
                        let request = soon(line.what, requests.next()).await.unwrap();
                        request.reply(Ok(C::Reply::default()));
                    };
                    let (answer, ()) = tokio::join!(asked, served);
                    assert_eq!(answer.err().map(|error| error.to_string()), None, "{line:?}");
                }
            }
        }
    }

    /// `late`: the consumers come after the first record.
    async fn record<R: Record>(&mut self, late: bool) {
        let line = self.line(R::SUBJECT);
        let mut streams = Vec::new();
        for consumer in line.hears.iter().filter(|_| !late) {
            streams.push(self.of(consumer).consume::<R>(consumer).await.unwrap());
        }
        for role in line.says {
            self.of(role).record(&key(1, 1), &R::default()).await.unwrap();
        }
        for consumer in line.hears.iter().filter(|_| late) {
            streams.push(self.of(consumer).consume::<R>(consumer).await.unwrap());
        }
        for stream in &mut streams {
            let delivery = soon(line.what, stream.next()).await.unwrap();
            assert_eq!(delivery.key, key(1, 1));
            delivery.ack().await.unwrap();
        }
    }
}

#[tokio::test]
async fn each_role_can_do_what_it_needs() {
    let place = deployed();
    let mut all = All::connect(&place).await;
    all.broadcast::<Heartbeat>().await;
    all.broadcast::<Aggregate>().await;
    all.broadcast::<HistoryEntry>().await;
    all.broadcast::<SchedulerBeat>().await;
    all.command::<PrepareRun>().await;
    all.command::<StartPhase>().await;
    all.command::<ChangePhase>().await;
    all.command::<AssignSegment>().await;
    all.command::<EndPhase>().await;
    all.command::<EndRun>().await;
    all.command::<CreateRun>().await;
    all.command::<ControlRun>().await;
    all.command::<QueryHistory>().await;
    all.command::<QueryClock>().await;
    all.command::<WatchRun>().await;
    all.command::<UnwatchRun>().await;
    all.command::<MarkPhase>().await;
    all.command::<QueryAggregate>().await;
    all.command::<QueryRun>().await;
    all.command::<QueryProbes>().await;
    all.command::<OpenChaos>().await;
    all.command::<BeginChaosPhase>().await;
    all.command::<EndChaosPhase>().await;
    all.command::<CloseChaos>().await;
    all.command::<InjectFault>().await;
    all.command::<StopFault>().await;
    all.command::<QueryFaults>().await;
    all.command::<OpenRecovery>().await;
    all.command::<BeginRecoveryPhase>().await;
    all.command::<EndRecoveryPhase>().await;
    all.command::<CloseRecovery>().await;
    all.command::<QueryRecovery>().await;
    all.command::<ShedLoad>().await;
    all.record::<SampleBatch>(false).await;
    all.record::<GuestFault>(true).await;
    all.record::<EndpointNews>(false).await;
    all.record::<FaultNews>(false).await;
    all.record::<RecoveryNews>(true).await;
    let lines: BTreeSet<_> = table().map(|line| (line.area, line.what)).collect();
    assert_eq!(all.tried, lines, "a message that this test does not try");
    assert_eq!(violations(&place), Vec::<String>::new());
}

#[tokio::test]
async fn bundles_come_from_those_who_put_them_to_everybody() {
    let place = deployed();
    let all = All::connect(&place).await;
    let nowhere = format!("sha256:{}", "0".repeat(64));
    for (role, bus) in &all.buses {
        // The bucket is not there yet either.
        let missing = bus.fetch_object(&nowhere).await;
        assert!(matches!(missing, Err(BusError::NoObject { .. })), "{role}: {missing:?}");
    }
    for (number, putter) in ["cli", "scheduler"].into_iter().enumerate() {
        let bytes = vec![number as u8; 300 << 10];
        let digest = all.of(putter).put_object(&bytes).await.unwrap();
        for (role, bus) in &all.buses {
            let path = bus.fetch_object(&digest).await.unwrap_or_else(|error| panic!("{role}: {error}"));
            assert_eq!(std::fs::read(path).unwrap(), bytes, "{role}");
        }
        let missing = all.of("load").fetch_object(&nowhere).await;
        assert!(matches!(missing, Err(BusError::NoObject { .. })), "{missing:?}");
    }
    assert_eq!(violations(&place), Vec::<String>::new());
    for role in ["load", "metrics", "chaos", "recovery"] {
        let quick = NatsOptions { ack_timeout: Duration::from_millis(500), ..place.options(role) };
        let refused = Bus::connect(quick).await.unwrap().put_object(b"not mine").await;
        assert!(matches!(refused, Err(BusError::Lost { .. })), "{role}: {refused:?}");
    }
}

/// What the server's log says was not allowed.
fn violations(place: &Deployed) -> Vec<String> {
    let log = place.server.log();
    log.lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect()
}

/// A role's connection, without our transport.
struct Raw {
    role: &'static str,
    client: Client,
    refusals: mpsc::UnboundedReceiver<String>,
}

impl Raw {
    async fn connect(place: &Deployed, role: &'static str) -> Self {
        let (sender, refusals) = mpsc::unbounded_channel();
        let options = ConnectOptions::with_user_and_password(role.to_owned(), password(role));
        let options = options.event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(text)) = event {
                let _ = sender.send(text);
            }
            std::future::ready(())
        });
        let client = options.connect(place.server.url()).await.unwrap();
        Self { role, client, refusals }
    }

    async fn denied_to_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), "".into()).await.unwrap();
        self.refused("Publish to", subject).await;
    }

    async fn denied_to_subscribe(&mut self, subject: &str) {
        let _subscription = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.refused("Subscription to", subject).await;
    }

    /// That the server's next word is the refusal of this.
    async fn refused(&mut self, what: &str, subject: &str) {
        let role = self.role;
        let text = tokio::time::timeout(Duration::from_secs(5), self.refusals.recv()).await;
        let Ok(Some(text)) = text else { panic!("{role}: {what} {subject} was allowed") };
        let expected = format!("Permissions Violation for {what} \"{subject}\"");
        assert!(text.contains(&expected), "{role}: expected {expected}, found {text}");
    }
}

#[tokio::test]
async fn a_role_can_neither_say_nor_hear_what_is_not_its_own() {
    let place = deployed();
    for role in ROLES {
        let mut raw = Raw::connect(&place, role).await;
        for line in table() {
            let (says, hears) = (line.says.contains(&role), line.hears.contains(&role));
            let Line { area, what, .. } = line;
            match line.verb {
                Verb::Broadcast | Verb::Record => {
                    if !says {
                        raw.denied_to_publish(&format!("gauntlet.v1.{area}.none.{what}")).await;
                    }
                    // Records are read from their stream, where it is known what was read.
                    if !hears || line.verb == Verb::Record {
                        raw.denied_to_subscribe(&format!("gauntlet.v1.{area}.*.{what}")).await;
                    }
                }
                Verb::Command => {
                    for subject in [
                        format!("gauntlet.v1.{area}.any.{what}"),
                        format!("gauntlet.v1.{area}.any.{what}.1f"),
                    ] {
                        if !says {
                            raw.denied_to_publish(&subject).await;
                        }
                        if !hears {
                            raw.denied_to_subscribe(&subject).await;
                        }
                    }
                }
            }
        }
        for wide in
            [">", "*.>", "gauntlet.>", "gauntlet.v1.*.*.*", "_INBOX.>", "_INBOX.*.>", "$SYS.>", "$JS.>"]
        {
            raw.denied_to_subscribe(wide).await;
        }
        raw.denied_to_publish("gauntlet.v1.none").await;
        raw.denied_to_publish("$SYS.REQ.SERVER.PING").await;
    }
}

#[tokio::test]
async fn inboxes_are_read_by_their_owner_and_written_by_those_it_asks() {
    let place = deployed();
    for role in ROLES {
        let mut raw = Raw::connect(&place, role).await;
        for other in ROLES.into_iter().filter(|other| *other != role) {
            raw.denied_to_subscribe(&format!("_INBOX.{other}.>")).await;
            raw.denied_to_subscribe(&format!("_INBOX.{other}.bus.1.2")).await;
            // Where JetStream answers: nobody is to tell a producer that its record is durable.
            raw.denied_to_publish(&format!("_INBOX.{other}.1.2")).await;
            let asked = |line: &Line| {
                line.verb == Verb::Command && line.says.contains(&other) && line.hears.contains(&role)
            };
            if !table().any(asked) {
                raw.denied_to_publish(&format!("_INBOX.{other}.bus.1.2")).await;
            }
        }
    }
}

#[tokio::test]
async fn streams_are_written_by_producers_read_by_consumers_and_ruled_by_nobody() {
    let place = deployed();
    // They must be there: what is denied must not be denied for that.
    All::connect(&place).await.record::<SampleBatch>(false).await;
    let bucket = format!("OBJ_{BUCKET}");
    for role in ROLES {
        let mut raw = Raw::connect(&place, role).await;
        for what in ["STREAM.NAMES", "STREAM.LIST", "ACCOUNT.PURGE.X", "SERVER.REMOVE", "STREAM.CREATE.mine"]
        {
            raw.denied_to_publish(&format!("$JS.API.{what}")).await;
        }
        let logs = consumers().into_iter().map(|(log, names)| {
            let area = log.split('.').next().unwrap().to_owned();
            (stream_name(&log), area, names)
        });
        for (stream, area, names) in logs {
            for what in [
                "STREAM.UPDATE",
                "STREAM.DELETE",
                "STREAM.PURGE",
                "STREAM.MSG.GET",
                "STREAM.MSG.DELETE",
                "STREAM.SNAPSHOT",
                "STREAM.RESTORE",
                "DIRECT.GET",
                "CONSUMER.NAMES",
                "CONSUMER.LIST",
                // A consumer without a name.
                "CONSUMER.CREATE",
            ] {
                raw.denied_to_publish(&format!("$JS.API.{what}.{stream}")).await;
            }
            let concerned = area == role || names.contains(&role);
            if !concerned {
                for what in ["STREAM.INFO", "STREAM.CREATE"] {
                    raw.denied_to_publish(&format!("$JS.API.{what}.{stream}")).await;
                }
            }
            for name in names.iter().copied().chain(["spy"]) {
                for what in ["DELETE", "PAUSE", "UNPIN", "DURABLE.CREATE"] {
                    raw.denied_to_publish(&format!("$JS.API.CONSUMER.{what}.{stream}.{name}")).await;
                }
                if !concerned || name == "spy" {
                    raw.denied_to_publish(&format!("$JS.API.CONSUMER.CREATE.{stream}.{name}")).await;
                }
                raw.denied_to_publish(&format!("$JS.API.CONSUMER.CREATE.{stream}.{name}.gauntlet.>")).await;
                if name != role || !names.contains(&role) {
                    for what in ["INFO", "MSG.NEXT"] {
                        raw.denied_to_publish(&format!("$JS.API.CONSUMER.{what}.{stream}.{name}")).await;
                    }
                    raw.denied_to_publish(&format!("$JS.ACK.{stream}.{name}.1.1.1.1.0")).await;
                    raw.denied_to_publish(&format!("$JS.ACK._.hash.{stream}.{name}.1.1.1.1.0.x")).await;
                }
            }
            raw.denied_to_publish(&format!("$JS.FC.{stream}.spy.1")).await;
        }
        for what in
            ["STREAM.UPDATE", "STREAM.DELETE", "STREAM.MSG.DELETE", "STREAM.SNAPSHOT", "CONSUMER.LIST"]
        {
            raw.denied_to_publish(&format!("$JS.API.{what}.{bucket}")).await;
        }
        if !matches!(role, "cli" | "scheduler") {
            for what in ["STREAM.CREATE", "STREAM.PURGE"] {
                raw.denied_to_publish(&format!("$JS.API.{what}.{bucket}")).await;
            }
            raw.denied_to_publish(&format!("$O.{BUCKET}.C.1")).await;
            raw.denied_to_publish(&format!("$O.{BUCKET}.M.1")).await;
        }
    }
}

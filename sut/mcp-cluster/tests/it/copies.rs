//! Objects outlive the servers that hold them.

use std::cell::Cell;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{admin, call, eventually, ready};
use crate::processes::Cluster;

fn key(n: usize) -> String {
    format!("orders/{n}")
}

async fn put(url: &str, n: usize, content: &str) -> Result<Vec<String>, String> {
    let stored = call(url, "put", json!({ "key": key(n), "content": content })).await?;
    Ok(serde_json::from_value(stored["holders"].clone()).unwrap())
}

async fn get(url: &str, n: usize) -> Result<String, String> {
    let object = call(url, "get", json!({ "key": key(n) })).await?;
    Ok(object["content"].as_str().unwrap().to_owned())
}

/// Puts objects, numbered from 1, until there is one that the server which acknowledges them does not hold itself: its number
/// and its holders.
async fn held_by_others(cluster: &Cluster) -> (usize, Vec<String>) {
    let (mut n, mut held) = (0, vec!["s0".to_owned()]);
    while held.contains(&"s0".to_owned()) {
        n += 1;
        held = put(cluster.of("s0").url(), n, "here").await.unwrap();
    }
    (n, held)
}

/// Waits until all that a server acknowledged is there in three copies.
async fn whole(url: &str, acknowledged: usize) {
    let report = eventually("all copies are there", async || {
        let report = admin(url, "integrity").await;
        (report["under_copied"] == 0).then_some(report)
    })
    .await;
    assert_eq!(report["acknowledged"], acknowledged, "{report}");
    assert_eq!((&report["missing"], &report["altered"]), (&json!(0), &json!(0)), "{report}");
}

#[tokio::test]
async fn any_two_holders_die_and_it_is_still_read_and_copied_again() {
    let mut cluster = Cluster::start(5).await;
    let mut holders = Vec::new();
    for n in 0..30 {
        let url = cluster.servers[0].url();
        let mut held = put(url, n, &format!("content {n}")).await.unwrap();
        held.sort_unstable();
        held.dedup();
        assert_eq!(held.len(), 3, "an object is acknowledged with three holders");
        holders.push(held);
    }
    whole(cluster.servers[0].url(), 30).await;

    // Two holders of one object that are not the server that is asked about integrity afterwards.
    let victims: Vec<String> =
        holders.iter().flatten().filter(|name| *name != "s0").take(2).cloned().collect();
    let object = holders.iter().position(|held| victims.iter().all(|victim| held.contains(victim)));
    assert!(object.is_some(), "{victims:?} hold no object together: {holders:?}");
    let killed: Vec<_> = victims.iter().map(|victim| cluster.kill(victim)).collect();
    for server in &cluster.servers {
        for n in 0..30 {
            assert_eq!(
                get(server.url(), n).await.unwrap(),
                format!("content {n}"),
                "by {}",
                server.member.name
            );
        }
    }
    let listed = call(cluster.servers[0].url(), "list", json!({ "prefix": "orders/", "limit": 1000 })).await;
    assert_eq!(listed.unwrap()["keys"].as_array().unwrap().len(), 30);

    // Empty servers take their places: what they should have is brought back, and then the third holder may die as well.
    for member in &killed {
        cluster.replace(member).await;
    }
    cluster.tell().await;
    for server in &cluster.servers {
        ready(server.url()).await;
    }
    whole(cluster.of("s0").url(), 30).await;
    let held = &holders[object.unwrap()];
    let third = held.iter().find(|name| !victims.contains(name)).unwrap();
    cluster.kill(third);
    for n in 0..30 {
        assert_eq!(get(cluster.servers[0].url(), n).await.unwrap(), format!("content {n}"));
    }
}

#[tokio::test]
async fn each_pair_of_holders_of_an_object_dies_and_it_is_still_read() {
    let mut cluster = Cluster::start(5).await;
    let (n, held) = held_by_others(&cluster).await;
    for last in &held {
        let killed: Vec<_> =
            held.iter().filter(|name| *name != last).map(|name| cluster.kill(name)).collect();
        assert_eq!(killed.len(), 2);
        for server in &cluster.servers {
            let found = get(server.url(), n).await;
            assert_eq!(found.as_deref(), Ok("here"), "by {}, with {last} alone", server.member.name);
        }
        // Ready, the two that take their places have got back what is at home on them: all three hold it again.
        for member in &killed {
            cluster.replace(member).await;
        }
        cluster.tell().await;
        for server in &cluster.servers {
            ready(server.url()).await;
        }
        whole(cluster.of("s0").url(), n).await;
    }
}

#[tokio::test]
async fn what_is_acknowledged_while_servers_die_is_there() {
    let mut cluster = Cluster::start(5).await;
    let url = cluster.of("s0").url().to_owned();
    let written = Cell::new(0);
    let write = async {
        let mut acknowledged = Vec::new();
        for n in 0..120 {
            if put(&url, n, &format!("content {n}")).await.is_ok() {
                acknowledged.push(n);
            }
            written.set(n + 1);
        }
        acknowledged
    };
    let kill = async {
        for (name, when) in [("s1", 30), ("s2", 70)] {
            eventually("some are written", async || (written.get() >= when).then_some(())).await;
            cluster.kill(name);
        }
    };
    let (acknowledged, ()) = tokio::join!(write, kill);
    // The first ones were before any death; later some keys have two dead homes and are refused.
    assert!(acknowledged.len() >= 70, "only {} of 120 were acknowledged", acknowledged.len());
    for server in &cluster.servers {
        for n in &acknowledged {
            assert_eq!(get(server.url(), *n).await.unwrap(), format!("content {n}"));
        }
    }
    let report = admin(&url, "integrity").await;
    assert_eq!(report["acknowledged"], acknowledged.len(), "{report}");
    assert_eq!((&report["missing"], &report["altered"]), (&json!(0), &json!(0)), "{report}");
}

#[tokio::test]
async fn more_than_two_dead_holders_are_told_and_never_taken_for_nothing() {
    let mut cluster = Cluster::start(5).await;
    let (n, held) = held_by_others(&cluster).await;
    for name in &held {
        cluster.kill(name);
    }
    let left = cluster.of("s0").url();
    let why = get(left, n).await.unwrap_err();
    assert!(why.contains("do not answer"), "{why}");
    let why = put(left, n, "again").await.unwrap_err();
    assert!(why.contains("copies"), "{why}");
    let why = call(left, "list", json!({})).await.unwrap_err();
    assert!(why.contains("do not answer"), "{why}");
    let report = admin(left, "integrity").await;
    assert_eq!(report["unanswered"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(report["missing_keys"].as_array().unwrap().last().unwrap(), &json!(key(n)), "{report}");
}

#[tokio::test]
async fn another_server_stands_in_for_one_that_is_away_until_it_is_back() {
    let mut cluster = Cluster::start(4).await;
    let homes = put(cluster.servers[0].url(), 1, "before").await.unwrap();
    // With one of its three homes frozen, a write is acknowledged by the fourth server.
    let frozen = homes[2].clone();
    cluster.of(&frozen).signal(Signal::STOP);
    let other = cluster.servers.iter().find(|server| server.member.name != frozen).unwrap();
    let held = put(other.url(), 1, "after").await.unwrap();
    assert_eq!(held.len(), 3);
    assert!(!held.contains(&frozen), "{held:?}");
    let stand_in = held.iter().find(|name| !homes.contains(name)).unwrap().clone();
    assert_eq!(get(other.url(), 1).await.unwrap(), "after");

    // Back, it gets the newer state, and whoever stood in forgets it.
    cluster.of(&frozen).signal(Signal::CONT);
    let objects = async |name: &str| {
        let text =
            reqwest::get(format!("{}/metrics", cluster.of(name).url())).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("cluster_objects ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    eventually("the stand-in has forgotten it", async || (objects(&stand_in).await == 0).then_some(())).await;
    whole(cluster.servers.iter().find(|s| s.url() == other.url()).unwrap().url(), 1).await;

    // So it is there still when both others that were written to die.
    let others: Vec<String> = held.iter().filter(|name| **name != stand_in).cloned().collect();
    for name in others {
        cluster.kill(&name);
    }
    assert_eq!(get(cluster.of(&frozen).url(), 1).await.unwrap(), "after");
    assert_eq!(get(cluster.of(&stand_in).url(), 1).await.unwrap(), "after");
}

#[tokio::test]
async fn what_was_deleted_does_not_come_back() {
    let mut cluster = Cluster::start(4).await;
    let homes = put(cluster.servers[0].url(), 1, "here").await.unwrap();
    let frozen = homes[0].clone();
    cluster.of(&frozen).signal(Signal::STOP);
    let other = cluster.servers.iter().find(|server| server.member.name != frozen).unwrap();
    let deleted = call(other.url(), "delete", json!({ "key": key(1) })).await.unwrap();
    assert_eq!(deleted["version"], 2);
    cluster.of(&frozen).signal(Signal::CONT);
    for server in &cluster.servers {
        assert!(get(server.url(), 1).await.unwrap_err().contains("there is no object"));
        let listed = call(server.url(), "list", json!({})).await.unwrap();
        assert_eq!(listed["keys"], json!([]), "{}", server.member.name);
    }
    // A new object takes the key, with a later version.
    let stored: Value =
        call(cluster.servers[0].url(), "put", json!({ "key": key(1), "content": "new" })).await.unwrap();
    assert_eq!(stored["version"], 3);
    cluster.kill(&frozen);
    assert_eq!(get(cluster.servers[0].url(), 1).await.unwrap(), "new");
}

#[tokio::test]
async fn writes_of_one_key_at_once_end_in_one_of_them_everywhere() {
    let cluster = Cluster::start(3).await;
    let writes = (0..12).map(|n| {
        let url = cluster.servers[n % 3].url();
        async move { put(url, 1, &format!("writer {n}")).await }
    });
    let written = futures::future::join_all(writes).await;
    assert!(written.iter().any(Result::is_ok), "{written:?}");
    let first = get(cluster.servers[0].url(), 1).await.unwrap();
    for server in &cluster.servers {
        assert_eq!(get(server.url(), 1).await.unwrap(), first);
        let report = admin(server.url(), "integrity").await;
        assert_eq!((&report["missing"], &report["altered"]), (&json!(0), &json!(0)), "{report}");
    }
}

#[tokio::test]
async fn a_server_ends_its_calls_before_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let name = "commander";
    let kind = "infrastructure_commander";
    let mut server = crate::processes::Process::start(dir.path(), name, "region-0", kind).await;
    let url = server.url().to_owned();
    let roll_out = call(&url, "roll_out", json!({ "steps": 10, "step_ms": 100 }));
    let stop = async {
        eventually("the call is in progress", async || {
            let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
            text.contains("mcp_tool_calls_in_progress 1").then_some(())
        })
        .await;
        server.signal(Signal::TERM);
    };
    let (rolled_out, ()) = tokio::join!(roll_out, stop);
    assert_eq!(rolled_out.unwrap()["steps"], 10);
    assert!(server.ended());
}

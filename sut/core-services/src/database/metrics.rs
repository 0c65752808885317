//! The Prometheus text about servers, bulkhead, what is used again, and caches.

use std::fmt::Write as _;

use super::Database;

impl Database {
    /// Adds its metrics to the text.
    pub(crate) fn render(&self, text: &mut String) {
        let nodes: Vec<_> = self.nodes().map(|node| (node, node.backend().status(), node.counts())).collect();
        let mut of_nodes = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> f64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (n, (node, ..)) in nodes.iter().enumerate() {
                let _ = writeln!(text, "{name}{{server=\"{}\"}} {}", node.name, value(n));
            }
        };
        let used = |n: usize| nodes[n].1.size.saturating_sub(nodes[n].1.available);
        of_nodes("database_pool_connections", "gauge", "Connections open.", &|n| nodes[n].1.size as f64);
        of_nodes("database_pool_connections_in_use", "gauge", "Of these, in use or held.", &|n| {
            used(n) as f64
        });
        of_nodes("database_pool_connections_max", "gauge", "Connections at most.", &|n| {
            nodes[n].1.max_size as f64
        });
        of_nodes("database_pool_usage_ratio", "gauge", "In use, of those at most.", &|n| {
            used(n) as f64 / nodes[n].1.max_size.max(1) as f64
        });
        of_nodes(
            "database_pool_waiting",
            "gauge",
            "Calls that wait for a connection, or for a new one to open.",
            &|n| nodes[n].1.waiting as f64,
        );
        of_nodes("database_calls_in_progress", "gauge", "Calls without an answer yet.", &|n| {
            nodes[n].0.in_progress() as f64
        });
        of_nodes("database_calls_total", "counter", "Calls that the breaker admitted.", &|n| {
            nodes[n].2.0 as f64
        });
        of_nodes("database_failures_total", "counter", "Of these, calls that failed.", &|n| {
            nodes[n].2.1 as f64
        });
        of_nodes("database_breaker_state", "gauge", "0 closed, 1 open, 2 half open.", &|n| {
            f64::from(nodes[n].0.breaker().state())
        });
        of_nodes("database_breaker_opened_total", "counter", "Times the breaker opened.", &|n| {
            nodes[n].0.breaker().counts().opened as f64
        });
        of_nodes("database_breaker_rejected_total", "counter", "Calls that it did not admit.", &|n| {
            nodes[n].0.breaker().counts().rejected as f64
        });
        self.render_bulkhead(text);
        self.render_reused(text);
        self.render_tiers(text);
    }

    fn render_bulkhead(&self, text: &mut String) {
        let bulkhead = &self.bulkhead;
        let concurrent = bulkhead.settings().concurrent;
        let usage = bulkhead.in_progress() as f64 / concurrent.max(1) as f64;
        for (name, kind, help, value) in [
            ("bulkhead_in_progress", "gauge", "Calls with a place.", bulkhead.in_progress() as f64),
            ("bulkhead_waiting", "gauge", "Calls that wait for one.", bulkhead.waiting() as f64),
            ("bulkhead_refused_total", "counter", "Calls refused.", bulkhead.refused() as f64),
            ("bulkhead_usage_ratio", "gauge", "Places taken, of all.", usage),
        ] {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }

    fn render_reused(&self, text: &mut String) {
        let pools = [(self.buffers.what, self.buffers.status()), (self.digests.what, self.digests.status())];
        let mut of_pools = |name: &str, help: &str, value: &dyn Fn(&deadpool::Status) -> f64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (what, status) in &pools {
                let _ = writeln!(text, "{name}{{pool=\"{what}\"}} {}", value(status));
            }
        };
        let used = |status: &deadpool::Status| status.size.saturating_sub(status.available) as f64;
        of_pools("reuse_pool_max", "How many there are.", &|status| status.max_size as f64);
        of_pools("reuse_pool_in_use", "Of these, in use or held.", &used);
        of_pools("reuse_pool_usage_ratio", "In use, of all.", &|status| {
            used(status) / status.max_size.max(1) as f64
        });
    }

    fn render_tiers(&self, text: &mut String) {
        let mut tiers = vec![
            ("l1", self.tiers.l1.usage(), self.tiers.l1.counts()),
            ("l2", self.tiers.l2.usage(), self.tiers.l2.counts()),
        ];
        tiers.extend(self.distributed.iter().map(|level| ("l3", level.usage(), level.counts())));
        let mut of_tiers = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> f64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (n, (level, ..)) in tiers.iter().enumerate() {
                let _ = writeln!(text, "{name}{{level=\"{level}\"}} {}", value(n));
            }
        };
        let usage = |n: usize| tiers[n].1;
        of_tiers("cache_level_bytes", "gauge", "Bytes in it.", &|n| usage(n).0 as f64);
        of_tiers("cache_level_bytes_max", "gauge", "Bytes at most.", &|n| usage(n).1 as f64);
        of_tiers("cache_level_usage_ratio", "gauge", "Bytes in it, of those at most.", &|n| {
            usage(n).0 as f64 / usage(n).1.max(1) as f64
        });
        of_tiers("cache_level_entries", "gauge", "Items in it.", &|n| usage(n).2 as f64);
        of_tiers("cache_level_hits_total", "counter", "Items found.", &|n| tiers[n].2.0 as f64);
        of_tiers("cache_level_misses_total", "counter", "Items not found.", &|n| tiers[n].2.1 as f64);
        self.render_distributed(text);
    }

    /// What only a level that others keep has.
    fn render_distributed(&self, text: &mut String) {
        let Some(distributed) = &self.distributed else { return };
        let breaker = distributed.breaker();
        for (name, kind, help, value) in [
            ("cache_level_failures_total", "counter", "Calls without an answer.", distributed.failures()),
            (
                "cache_level_breaker_state",
                "gauge",
                "0 closed, 1 open, 2 half open.",
                u64::from(breaker.state()),
            ),
            (
                "cache_level_breaker_opened_total",
                "counter",
                "Times the breaker opened.",
                breaker.counts().opened,
            ),
            (
                "cache_level_breaker_rejected_total",
                "counter",
                "Calls that it did not admit.",
                breaker.counts().rejected,
            ),
        ] {
            let _ =
                writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{level=\"l3\"}} {value}");
        }
    }
}

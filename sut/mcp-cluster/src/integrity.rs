//! Whether what was acknowledged is there, and in how many copies.

use serde::Serialize;

use crate::cluster::Cluster;
use crate::peer::{Answer, Ask, Compared, Known};

/// Objects that are looked up at once.
const BATCH: usize = 500;
/// Keys in an answer at most; all are counted.
const NAMED: usize = 100;

/// The answer of `GET /admin/integrity`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Keys whose last write this server acknowledged and looks for.
    acknowledged: usize,
    /// Writes that it acknowledged and cannot look for, for its memory of them was full.
    beyond: u64,
    /// Copies that each should have.
    copies: usize,
    /// Those that no server has.
    missing: usize,
    missing_keys: Vec<String>,
    /// Those that some server has with another content.
    altered: usize,
    altered_keys: Vec<String>,
    /// Those with fewer copies than they should have; no copies included.
    under_copied: usize,
    under_copied_keys: Vec<String>,
    /// Who could not be asked: its copies are not counted.
    unanswered: Vec<String>,
}

impl Cluster {
    /// Looks for all that was acknowledged here, on every server.
    pub(crate) async fn integrity(&self) -> Report {
        let view = self.view();
        let copies = view.members.replication;
        let (acknowledged, beyond) = {
            let ledger = self.ledger();
            (ledger.len(), ledger.beyond())
        };
        let mut report = Report { acknowledged, beyond, copies, ..Report::default() };
        let (mut after, mut left) = (None, acknowledged);
        while left > 0 {
            let page = self.ledger().page(after.as_deref(), BATCH.min(left));
            left -= page.len();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.to_string());
            let known: Vec<Known> = page
                .iter()
                .map(|(key, known)| Known {
                    key: key.clone(),
                    version: known.version,
                    checksum: known.checksum.clone(),
                })
                .collect();
            let mut found = vec![(0_usize, false); known.len()];
            for member in &view.members.servers {
                let ask = Ask::Compare { known: known.clone() };
                let Ok(Answer::Compared(compared)) = self.ask(&view, member, ask).await else {
                    if !report.unanswered.contains(&member.name) {
                        report.unanswered.push(member.name.clone());
                    }
                    continue;
                };
                for ((there, altered), compared) in found.iter_mut().zip(compared) {
                    match compared {
                        // Somebody else may have written since.
                        Compared::There | Compared::Newer => *there += 1,
                        Compared::Altered => *altered = true,
                        Compared::Lacking => {}
                    }
                }
            }
            for (known, (there, altered)) in known.iter().zip(found) {
                if there == 0 && !altered {
                    note(&mut report.missing, &mut report.missing_keys, &known.key);
                }
                if altered {
                    note(&mut report.altered, &mut report.altered_keys, &known.key);
                }
                if there < copies {
                    note(&mut report.under_copied, &mut report.under_copied_keys, &known.key);
                }
            }
        }
        report
    }
}

fn note(count: &mut usize, keys: &mut Vec<String>, key: &str) {
    *count += 1;
    if keys.len() < NAMED {
        keys.push(key.to_owned());
    }
}

//! Which toxics hit which connections, for whoever compares two runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::wire::{ConnectionDraws, Draws, ToxicDraw};

/// Connections that are remembered.
const CONNECTIONS: usize = 1_024;

/// Toxics of a connection that are remembered.
const TOXICS: usize = 64;

/// The draws of the last connections of a proxy that met a toxic. Those with the highest numbers stay, whichever came first:
/// what is remembered does not depend on time.
#[derive(Debug, Default)]
pub(crate) struct DrawLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: BTreeMap<u64, BTreeMap<String, ToxicDraw>>,
    forgotten_up_to: u64,
}

impl DrawLog {
    /// A connection met a toxic.
    pub(crate) fn note(&self, connection: u64, toxic: &str, draw: ToxicDraw) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if connection <= state.forgotten_up_to {
            return;
        }
        let toxics = state.connections.entry(connection).or_default();
        if let Some(known) = toxics.get_mut(toxic) {
            *known = draw;
        } else if toxics.len() < TOXICS {
            toxics.insert(toxic.to_owned(), draw);
        }
        if state.connections.len() > CONNECTIONS
            && let Some((forgotten, _)) = state.connections.pop_first()
        {
            state.forgotten_up_to = forgotten;
        }
    }

    /// As the API shows it.
    pub(crate) fn view(&self, seed: u64) -> Draws {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = state.connections.iter();
        Draws {
            seed,
            connections: connections
                .map(|(number, toxics)| ConnectionDraws { number: *number, toxics: toxics.clone() })
                .collect(),
            forgotten_up_to: state.forgotten_up_to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIT: ToxicDraw = ToxicDraw { draw: 0.25, toxicity: 0.5, hits: true };

    #[test]
    fn the_last_connections_are_remembered_whichever_came_first() {
        let [forwards, backwards] = [DrawLog::default(), DrawLog::default()];
        for number in 1..=2_000 {
            forwards.note(number, "slow", HIT);
            backwards.note(2_001 - number, "slow", HIT);
        }
        let view = forwards.view(7);
        assert_eq!(view, backwards.view(7));
        let numbers: Vec<u64> = view.connections.iter().map(|connection| connection.number).collect();
        assert_eq!((numbers, view.forgotten_up_to), ((977..=2_000).collect(), 976));
    }

    #[test]
    fn what_a_connection_met_is_bounded_and_the_last_toxicity_stands() {
        let log = DrawLog::default();
        for number in 0..100 {
            log.note(1, &format!("toxic {number:02}"), HIT);
        }
        log.note(1, "toxic 00", ToxicDraw { toxicity: 0.1, hits: false, ..HIT });
        let toxics = &log.view(0).connections[0].toxics;
        assert_eq!((toxics.len(), toxics["toxic 00"].hits, toxics["toxic 63"].hits), (64, false, true));
    }
}

//! Any bytes as a stream of events: the parser never panics, keeps to its limit, and finds the same however the bytes are
//! cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use load_worker_fuzz::cut;
use load_worker_fuzz::io::sse::{EventStream, TooLarge};

/// Bytes of an event at most.
const LIMIT: usize = 64;

/// Name, id and data of each event until the stream ends or is refused.
type Events = Vec<[Vec<u8>; 3]>;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Events, Result<(), TooLarge>) {
    let mut stream = EventStream::new();
    let mut events = Events::new();
    for piece in pieces {
        let read = stream.feed(piece, LIMIT, |event| {
            assert!(event.name.len() + event.id.len() + event.data.len() <= LIMIT);
            events.push([event.name, event.id, event.data].map(<[u8]>::to_vec));
        });
        if read.is_err() {
            return (events, read);
        }
    }
    (events, Ok(()))
}

fuzz_target!(|data: &[u8]| {
    let [key, wire @ ..] = data else { return };
    assert_eq!(read(cut(wire, u64::from(*key))), read(std::iter::once(wire)));
});

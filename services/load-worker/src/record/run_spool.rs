//! The control side of a run's spool: asking for flips, reading and clearing halves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::id::{IncarnationId, RunId, WorkerId};
use serde::{Deserialize, Serialize};

use super::interval::{Half, Interval};
use super::layout::{HalfAt, Layout, PAGE, last, word};
use super::recorder::{FlipCell, Recorder, state};
use crate::io::spool::{Spool, SpoolError};

/// The first word of a spool that is complete; little endian on every machine we build for, read on the same.
const MAGIC: u64 = u64::from_be_bytes(*b"gntspool");
/// Version of the file's shape; a spool of another version is not read.
const VERSION: u64 = 2;

mod head {
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = 1;
    /// Bytes of the JSON that follows from [`JSON`] on.
    pub(super) const JSON_BYTES: usize = 2;
    pub(super) const JSON: usize = 8;
}

/// Whose samples a spool holds: with the sequence the key under which each interval takes effect once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The run.
    pub run: RunId,
    /// The worker.
    pub worker: WorkerId,
    /// The worker's life for this run.
    pub incarnation: IncarnationId,
}

/// What stands at the begin of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    owner: Owner,
    threads: u32,
    layout: Layout,
}

/// A run's spool as control sees it.
#[derive(Debug)]
pub struct RunSpool {
    owner: Owner,
    layout: Layout,
    spool: Arc<Spool>,
    at: Arc<HalfAt>,
    threads: Vec<ThreadHalves>,
}

#[derive(Debug)]
struct ThreadHalves {
    cell: Arc<FlipCell>,
    halves: [usize; 2],
}

impl RunSpool {
    /// Creates the spool of a run in `dir` with room for all of it reserved on disk, and the recorders of its
    /// threads.
    ///
    /// # Errors
    /// When the directory cannot be written or its disk is full.
    pub fn create(
        dir: &Path,
        owner: Owner,
        layout: Layout,
        threads: u32,
    ) -> Result<(Self, Vec<Recorder>), SpoolError> {
        let path = dir.join(format!("{}-{}.spool", owner.run, owner.incarnation));
        let io = |source| SpoolError::Io { path: path.clone(), doing: "created", source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let header = Header { owner, threads, layout };
        let json = serde_json::to_vec(&header).map_err(|e| io(e.into()))?;
        let layout = header.layout;
        let at = Arc::new(HalfAt::of(&layout));
        let first = begin(json.len());
        let spool = Arc::new(Spool::create(&path, (first + at.words * 2 * threads as usize) as u64)?);
        let sides = sides(first, &at, threads);
        let recorders = sides
            .iter()
            .map(|t| Recorder::new(Arc::clone(&spool), Arc::clone(&t.cell), Arc::clone(&at), t.halves))
            .collect();
        let words = spool.words();
        let put = |i: usize, value: u64| {
            if let Some(w) = words.get(i) {
                w.store(value, Ordering::Release);
            }
        };
        for (i, chunk) in json.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(chunk) {
                *to = *from;
            }
            put(head::JSON + i, u64::from_le_bytes(bytes));
        }
        put(head::JSON_BYTES, json.len() as u64);
        put(head::VERSION, VERSION);
        put(head::MAGIC, MAGIC);
        Ok((Self { owner, layout, spool, at, threads: sides }, recorders))
    }

    /// Reads the head of a spool whose worker is gone. `Ok(None)`: killed before it was complete, nothing counted.
    pub(super) fn adopt(spool: Spool) -> Result<Option<Self>, String> {
        let words = spool.words();
        let get = |i: usize| words.get(i).map_or(0, |w| w.load(Ordering::Acquire));
        match get(head::MAGIC) {
            MAGIC => {}
            0 => return Ok(None),
            other => {
                return Err(format!("its first word is {other:#x}, expected {MAGIC:#x}: it is no spool"));
            }
        }
        if get(head::VERSION) != VERSION {
            return Err(format!("it has version {}, expected {VERSION}", get(head::VERSION)));
        }
        let len = usize::try_from(get(head::JSON_BYTES)).unwrap_or(usize::MAX);
        if len > words.len() * 8 {
            return Err(format!("its head claims {len} bytes, more than the file has"));
        }
        let mut json: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|i| get(head::JSON + i).to_le_bytes()).collect();
        json.truncate(len);
        let header: Header =
            serde_json::from_slice(&json).map_err(|e| format!("its head is damaged: {e}"))?;
        let at = Arc::new(HalfAt::of(&header.layout));
        let first = begin(len);
        let expected = first + at.words * 2 * header.threads as usize;
        if words.len() < expected {
            return Err(format!("it has {} bytes, expected {}", words.len() * 8, expected * 8));
        }
        let threads = sides(first, &at, header.threads);
        Ok(Some(Self { owner: header.owner, layout: header.layout, spool: Arc::new(spool), at, threads }))
    }

    /// Whose it is.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// The shape of its samples.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.spool.path()
    }

    /// Asks every thread to flip at its next turn. Only when no interval is left to publish ([`Self::read`] is
    /// `None`); otherwise nothing is asked, and `false` returned.
    pub fn ask_flip(&self) -> bool {
        if !self.flipped() || self.in_state(state::QUIET).next().is_some() {
            return false;
        }
        for t in &self.threads {
            t.cell.asked.fetch_add(1, Ordering::Release);
        }
        true
    }

    /// Whether all threads have flipped. The half of a thread that has ended needs no flip and counts as quiet.
    #[must_use]
    pub fn flipped(&self) -> bool {
        let mut all = true;
        for t in &self.threads {
            let asked = t.cell.asked.load(Ordering::Acquire);
            if t.cell.closed.load(Ordering::Acquire) {
                if t.cell.made.swap(asked, Ordering::AcqRel) != asked {
                    for begin in t.halves {
                        let half = self.half(begin);
                        if half.get(word::STATE) == state::OPEN {
                            if half.get(word::LAST) == last::RUNNING {
                                half.set(word::LAST, last::OVER);
                            }
                            half.set(word::STATE, state::QUIET);
                        }
                    }
                }
            } else {
                all &= t.cell.made.load(Ordering::Acquire) == asked;
            }
        }
        all
    }

    /// A thread whose recorder is gone.
    #[must_use]
    pub fn closed_thread(&self) -> Option<u32> {
        let at = self.threads.iter().position(|t| t.cell.closed.load(Ordering::Acquire))?;
        u32::try_from(at).ok()
    }

    /// The interval that all threads have left, until [`Self::clear`]; `None` while there is none.
    #[must_use]
    pub fn read(&self) -> Option<Interval> {
        if !self.flipped() {
            return None;
        }
        self.merge(self.sequences(|s| s == state::QUIET).first().copied()?)
    }

    /// All intervals with samples, open ones too: what an orphan has left, in order of sequence.
    pub(super) fn read_all(&self) -> Vec<Interval> {
        self.sequences(|s| s != state::FREE).into_iter().filter_map(|s| self.merge(s)).collect()
    }

    /// Frees the halves of a sequence: its batches are durable.
    pub fn clear(&self, sequence: u64) {
        for (_, half) in self.in_state(state::QUIET) {
            if half.get(word::SEQUENCE) == sequence {
                half.clear();
            }
        }
    }

    /// Removes the file: everything in it was published.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self) -> std::io::Result<()> {
        self.spool.remove()
    }

    fn merge(&self, sequence: u64) -> Option<Interval> {
        let mut interval = Interval::new(sequence, &self.layout);
        let mut any = false;
        for (thread, half) in self.halves() {
            let used = half.get(word::STATE) != state::FREE && half.get(word::SEQUENCE) == sequence;
            if used {
                any = true;
                interval.add(thread, &half);
            }
        }
        any.then_some(interval)
    }

    fn sequences(&self, wanted: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut all: Vec<u64> = self
            .halves()
            .filter(|(_, h)| wanted(h.get(word::STATE)))
            .map(|(_, h)| h.get(word::SEQUENCE))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn in_state(&self, wanted: u64) -> impl Iterator<Item = (u32, Half<'_>)> {
        self.halves().filter(move |(_, h)| h.get(word::STATE) == wanted)
    }

    fn halves(&self) -> impl Iterator<Item = (u32, Half<'_>)> {
        (0..).zip(&self.threads).flat_map(|(i, t)| t.halves.map(|begin| (i, self.half(begin))))
    }

    fn half(&self, begin: usize) -> Half<'_> {
        Half { spool: &self.spool, at: &self.at, begin }
    }
}

/// First word after the head.
fn begin(json_bytes: usize) -> usize {
    (head::JSON + json_bytes.div_ceil(8)).div_ceil(PAGE) * PAGE
}

fn sides(first: usize, at: &HalfAt, threads: u32) -> Vec<ThreadHalves> {
    (0..threads as usize)
        .map(|i| {
            let begin = first + i * 2 * at.words;
            ThreadHalves { cell: Arc::default(), halves: [begin, begin + at.words] }
        })
        .collect()
}

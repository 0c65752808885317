//! What this process uses, as Linux tells it.

/// Of this process, since its start or now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) open_files: u64,
    pub(crate) threads: u64,
}

/// Ticks of the kernel's accounting a second and bytes of a page: the same on every Linux that we build for.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// `None` where `/proc` cannot be read.
pub(crate) fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold blanks and brackets; what follows its last bracket does not. Field 3 of proc(5) comes first there.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "processor time of centuries")]
    let cpu_seconds = (field(14)? + field(15)?) as f64 / TICKS;
    Some(Usage {
        cpu_seconds,
        resident_bytes: field(24)? * PAGE,
        open_files: u64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?,
        threads: field(20)?,
    })
}

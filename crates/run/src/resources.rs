//! What a run may use, and what the system has.

use llmopt_checkpoint::read_text;
use std::num::NonZero;
use std::path::Path;

/// What a run may use. The artifact's bytes do not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// Bound on resident memory, in bytes.
    pub memory: u64,
    /// Worker threads.
    pub threads: usize,
}

impl Default for Resources {
    /// Four fifths of the memory that is free, 2 GiB where the system does not tell, and all threads.
    fn default() -> Self {
        const UNKNOWN_MEMORY: u64 = 2 << 30;
        Self {
            memory: available_memory().map_or(UNKNOWN_MEMORY, |bytes| bytes / 5 * 4),
            threads: std::thread::available_parallelism().map_or(1, NonZero::get),
        }
    }
}

/// Memory that is free for a new program: what the system has left, or what its control group leaves.
/// `None` where the system does not tell.
pub fn available_memory() -> Option<u64> {
    let text = |path: &str| read_text(Path::new(path), 1 << 16).ok();
    let kib = text("/proc/meminfo")?.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    })?;
    let number = |path| text(path)?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current");
    let group = limit.zip(used).map(|(limit, used)| limit.saturating_sub(used));
    Some((kib * 1024).min(group.unwrap_or(u64::MAX)))
}

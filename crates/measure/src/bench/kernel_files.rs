//! What Linux tells in files of this process and of the machine; `None` where it does not.

use llmopt_checkpoint::{append_file, read_text, visible_names};
use llmopt_linalg::give_back_freed;
use std::path::Path;
use std::time::Duration;

/// Bytes of the last level of the cache that the first processor reaches.
pub(super) fn last_level_cache() -> Option<u64> {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let names = visible_names(folder).ok()?;
    let caches = names.iter().filter(|name| name.starts_with("index"));
    let caches = caches.filter_map(|name| {
        let of = |file: &str| text(&folder.join(name).join(file));
        Some((of("level")?.trim().parse::<u32>().ok()?, cache_bytes(&of("size")?)?))
    });
    caches.max().map(|(_, bytes)| bytes)
}

/// `32768K`
fn cache_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let units = [("K", 10), ("M", 20), ("G", 30)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Tasks that ran or could have run, the mean of one, five and fifteen minutes.
pub(super) fn load_average() -> Option<[f64; 3]> {
    let text = text(Path::new("/proc/loadavg"))?;
    let numbers: Vec<f64> = text.split(' ').map_while(|word| word.parse().ok()).collect();
    numbers.first_chunk().copied()
}

/// How long threads of this process, those that are still there, waited for a processor so far.
pub(super) fn waited() -> Option<Duration> {
    let tasks = Path::new("/proc/self/task");
    let names = visible_names(tasks).ok()?;
    // A thread may have ended since.
    let files = names.iter().filter_map(|name| text(&tasks.join(name).join("schedstat")));
    files.map(|text| queued(&text)).sum()
}

/// `123456 7890 12`: nanoseconds run, nanoseconds in a queue, times run.
fn queued(text: &str) -> Option<Duration> {
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

/// The most resident memory of this process from a moment on.
pub(super) struct Peak {
    /// What was the most before, if that is still counted.
    before: Option<u64>,
}

impl Peak {
    /// From now on. What was the most so far is forgotten, where the system allows that.
    pub(super) fn begin() -> Self {
        give_back_freed();
        let is_forgotten = append_file(Path::new("/proc/self/clear_refs"), FORGET).is_ok();
        Self { before: if is_forgotten { None } else { peak() } }
    }

    /// The most since; none where it was less than what is still counted of before.
    pub(super) fn bytes(&self) -> Option<u64> {
        peak().filter(|peak| self.before.is_none_or(|before| *peak > before))
    }
}

fn peak() -> Option<u64> {
    let status = text(Path::new("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    line?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn text(path: &Path) -> Option<String> {
    read_text(path, LIMIT).ok()
}

/// What makes the kernel forget the peak, by proc(5).
const FORGET: &[u8] = b"5";
/// None of these files is longer.
const LIMIT: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_caches_have_units() {
        let check = |text, expected| assert_eq!(cache_bytes(text), expected, "{text}");
        check("32768K\n", Some(32 << 20));
        check("48M", Some(48 << 20));
        check("512", Some(512));
        check("big", None);
        check("99999999999999999999K", None);
    }

    #[test]
    fn a_queue_is_the_second_number() {
        assert_eq!(queued("0 56123 1\n"), Some(Duration::from_nanos(56_123)));
        assert_eq!(queued("1"), None);
    }

    #[test]
    fn a_peak_is_at_least_what_was_touched_since() {
        let peak = Peak::begin();
        let touched = vec![1_u8; 64 << 20];
        let found = peak.bytes();
        assert!(found.is_none_or(|found| found >= touched.len() as u64), "{found:?}");
    }
}

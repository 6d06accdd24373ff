//! Three clocks at once: the wall's, the processor's, and that of threads which wait for a processor.

use crate::bench::kernel_files;
use rustix::time::{ClockId, clock_gettime};
use std::ops::Add;
use std::time::{Duration, Instant};

/// A moment by all three.
pub(super) struct Moment {
    wall: Instant,
    cpu: Duration,
    waited: Option<Duration>,
}

/// What passed since a moment, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Passed {
    pub(super) wall: f64,
    /// Processor time of the whole process, all threads together.
    pub(super) cpu: f64,
    /// What threads of the process waited for a processor although they could have run; none where the system
    /// does not tell.
    pub(super) waited: Option<f64>,
}

impl Moment {
    /// Now.
    pub(super) fn now() -> Self {
        let waited = kernel_files::waited();
        Self { cpu: cpu(), wall: Instant::now(), waited }
    }

    /// What passed since.
    pub(super) fn passed(&self) -> Passed {
        let (wall, cpu) = (self.wall.elapsed(), cpu().saturating_sub(self.cpu));
        let waited = self.waited.zip(kernel_files::waited());
        Passed {
            wall: wall.as_secs_f64(),
            cpu: cpu.as_secs_f64(),
            waited: waited.map(|(before, after)| after.saturating_sub(before).as_secs_f64()),
        }
    }
}

/// Processor time that this process has used so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Add for Passed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let waited = self.waited.zip(other.waited);
        Self {
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
            waited: waited.map(|(one, two)| one + two),
        }
    }
}

impl Passed {
    /// The share of the time of so many threads in which they ran.
    pub(super) fn used(&self, threads: usize) -> f64 {
        self.cpu / self.of(threads)
    }

    /// The share of the time of so many threads in which they waited for a processor.
    pub(super) fn waiting(&self, threads: usize) -> Option<f64> {
        self.waited.map(|waited| waited / self.of(threads))
    }

    /// Whether other work took more than a tenth of the threads' time.
    ///
    /// Processor time below the wall's is no sign of that by itself: a thread also rests while others end their
    /// part, or where there is too little to share. So time counts in which a thread could have run and
    /// had no processor; for one thread alone, which never rests, also what its processor time lacks, since a
    /// virtual machine's host takes processors without the guest seeing a queue. Where the system tells of no
    /// queues, several threads leave it open.
    pub(super) fn is_loaded(&self, threads: usize) -> Option<bool> {
        let lacking = (threads == 1).then(|| 1.0 - self.used(threads));
        let taken = [self.waiting(threads), lacking].into_iter().flatten().reduce(f64::max);
        taken.map(|taken| taken > MOST_TAKEN)
    }

    fn of(&self, threads: usize) -> f64 {
        (self.wall * threads as f64).max(f64::MIN_POSITIVE)
    }
}

/// The share of the threads' time beyond which a machine counts as loaded.
const MOST_TAKEN: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_processor_time_and_sleep_does_not() {
        let moment = Moment::now();
        std::thread::sleep(Duration::from_millis(20));
        let slept = moment.passed();
        assert!(slept.wall >= 0.02);
        let moment = Moment::now();
        while moment.passed().cpu < 0.01 {}
        assert!(moment.passed().wall > 0.0);
    }

    #[test]
    fn a_machine_is_loaded_where_threads_wait_and_not_where_they_rest() {
        let check = |cpu, waited, threads, expected| {
            let passed = Passed { wall: 1.0, cpu, waited };
            assert_eq!(passed.is_loaded(threads), expected, "{passed:?} {threads}");
        };
        check(1.0, Some(0.0), 2, Some(false));
        check(1.7, Some(0.25), 2, Some(true));
        check(0.95, Some(0.05), 1, Some(false));
        check(0.8, Some(0.0), 1, Some(true));
        check(0.8, None, 1, Some(true));
        check(0.8, None, 2, None);
    }
}

//! Running a command and watching it.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One run of a command.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) time: Duration,
    /// The most memory that was resident, in bytes; 0 where nobody knows.
    pub(super) peak: u64,
    /// The bytes that were read, from caches or not; 0 where nobody knows.
    pub(super) read: u64,
}

/// How often the kernel is asked. Its high-water mark never falls, so that only what a process does
/// in its last moments can be missed.
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn run(command: &mut Command) -> Result<Sample> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
    let (mut peak, mut read) = (0, 0);
    let status = loop {
        peak = high_water(&child).unwrap_or(peak);
        read = bytes_read(&child).unwrap_or(read);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let time = begun.elapsed();
    ensure!(status.success(), "`{name}` failed ({status})");
    Ok(Sample { time, peak, read })
}

fn high_water(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

fn bytes_read(child: &Child) -> Option<u64> {
    let counts = fs::read_to_string(format!("/proc/{}/io", child.id())).ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar:"))?.trim().parse().ok()
}

/// Runs of the same command.
#[derive(Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// All but the first, which met cold caches.
    pub(super) fn warm(mut self) -> Self {
        self.0.remove(0);
        self
    }

    pub(super) fn median(&self) -> f64 {
        let times = self.times();
        let middle = times.len() / 2;
        if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 }
    }

    /// Seconds, least first.
    fn times(&self) -> Vec<f64> {
        let mut times: Vec<f64> = self.0.iter().map(|sample| sample.time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// A line of the table; `bytes` are those that a run takes in.
    pub(super) fn print(&self, name: &str, bytes: u64) {
        let (least, median) = (self.times()[0], self.median());
        let peak = self.0.iter().map(|sample| sample.peak).max().unwrap_or(0);
        print!("    {name:<36} {} runs, min {least:.3} s, median {median:.3} s", self.0.len());
        if bytes > 0 {
            print!(", {:.0} MB/s", bytes as f64 / median / 1e6);
        }
        if peak > 0 {
            print!(", peak {:.1} MiB", peak as f64 / f64::from(1 << 20));
        }
        println!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_ones() {
        let samples = |seconds: &[u64]| {
            let sample = |&s| Sample { time: Duration::from_secs(s), peak: 0, read: 0 };
            Samples(seconds.iter().map(sample).collect())
        };
        assert_eq!(samples(&[9, 1, 5]).median(), 5.0);
        assert_eq!(samples(&[9, 1, 5, 6]).median(), 5.5);
    }
}

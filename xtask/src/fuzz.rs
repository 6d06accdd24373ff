//! `cargo xtask fuzz`: seeded mutations of good inputs against everything that parses strangers' text.
//!
//! Iteration `k` of a round with seed `s` uses the seed `s + k`, so that one number and a target
//! reproduce a failure.

mod mutate;
mod targets;

use crate::options::Options;
use crate::random::Generator;
use crate::repository::scratch;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use targets::Target;

/// The seed of a round when none is given: every round of CI is the same.
const SEED: u64 = 1;

/// Inputs are a few KiB. A parser that needs this much for one reserves what an input only claims.
const MOST_RESIDENT: u64 = 768 << 20;

/// No input may take this long; a round takes thousands a second.
const LONGEST: Duration = Duration::from_secs(5);

/// What the last panic said.
static PANIC: Mutex<String> = Mutex::new(String::new());

pub(crate) fn run(mut options: Options) -> Result<()> {
    let seconds: f64 = options.value("--seconds")?.context("`--seconds N` is missing")?;
    let seed = options.value("--seed")?.unwrap_or(SEED);
    let name: Option<String> = options.value("--target")?;
    options.done()?;
    let targets = targets::all()?;
    let chosen = |target: &&Target| name.as_deref().is_none_or(|name| name == target.name);
    let targets: Vec<&Target> = targets.iter().filter(chosen).collect();
    ensure!(!targets.is_empty(), "no target `{}`", name.unwrap_or_default());
    fuzzed(&targets, seed, Duration::try_from_secs_f64(seconds)?)
}

/// A round over all targets.
pub(crate) fn round(duration: Duration) -> Result<()> {
    let targets = targets::all()?;
    fuzzed(&targets.iter().collect::<Vec<_>>(), SEED, duration)
}

/// Gives each target an equal share of `duration`, but one iteration at least.
fn fuzzed(targets: &[&Target], seed: u64, duration: Duration) -> Result<()> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = PANIC.lock() {
            *last = info.to_string();
        }
    }));
    let share = duration / u32::try_from(targets.len())?;
    let result = targets.iter().try_for_each(|target| fuzz(target, seed, share));
    panic::set_hook(hook);
    result
}

fn fuzz(target: &Target, seed: u64, duration: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut executions = 0;
    while executions == 0 || begun.elapsed() < duration {
        let seed = seed.wrapping_add(executions);
        let input = input(target, seed);
        if let Err(why) = survives(target, &input) {
            let folder = kept(target, seed, &input)?;
            bail!(
                "`{}` failed on seed {seed}: {why}\n  its input is in {folder}\n  again: cargo xtask fuzz \
                 --target {} --seed {seed} --seconds 0",
                target.name,
                target.name
            );
        }
        executions += 1;
    }
    let rate = executions as f64 / begun.elapsed().as_secs_f64();
    println!("{:<13} {executions:>9} executions, {rate:>8.0} per second, seed {seed}", target.name);
    Ok(())
}

/// A good input with one of its parts mutated.
fn input(target: &Target, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Generator::new(seed);
    let mut input = random.one_of(&target.seeds).cloned().unwrap_or_default();
    let part = random.below(input.len());
    if let Some(part) = input.get_mut(part) {
        *part = mutate::mutated(part, &mut random);
    }
    input
}

fn survives(target: &Target, input: &[Vec<u8>]) -> Result<(), String> {
    let begun = Instant::now();
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if result.is_err() {
        return Err(PANIC.lock().map(|last| last.clone()).unwrap_or_default());
    }
    if begun.elapsed() > LONGEST {
        return Err(format!("it took {:.1} s", begun.elapsed().as_secs_f64()));
    }
    match peak_resident() {
        Some(peak) if peak > MOST_RESIDENT => Err(format!("{} MiB were resident", peak >> 20)),
        _ => Ok(()),
    }
}

/// The most memory that this process ever had, where the system says so.
fn peak_resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

fn kept(target: &Target, seed: u64, input: &[Vec<u8>]) -> Result<String> {
    let folder = scratch("fuzz").join(format!("{}-{seed}", target.name));
    fs::create_dir_all(&folder)?;
    for (part, bytes) in input.iter().enumerate() {
        fs::write(folder.join(part.to_string()), bytes)?;
    }
    Ok(folder.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(run: fn(&[Vec<u8>])) -> Target {
        Target { name: "test", seeds: vec![vec![b"{\"a\": [1, 22, 333]}".to_vec()]], run }
    }

    #[test]
    fn a_seed_makes_the_same_input_and_another_seed_another() {
        let target = target(|_| {});
        assert_eq!(input(&target, 7), input(&target, 7));
        assert_ne!(input(&target, 7), input(&target, 8));
    }

    #[test]
    fn a_panic_is_reported_with_its_seed() {
        let fails = target(|parts| assert!(parts.is_empty(), "not empty"));
        let error = fuzzed(&[&fails], 41, Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("seed 41") && error.contains("not empty"), "{error}");
        assert!(fuzzed(&[&target(|_| {})], 41, Duration::ZERO).is_ok());
    }
}

//! `cargo xtask slowest`: passes the output of `cargo test` through, and says which tests took longest.
//!
//! The runner tells no times; they follow from when its lines arrive. A program of tests starts them in the
//! order of their names, as many at a time as there are threads and one more whenever one ends, and prints a
//! line when one ends. So with N threads the first N tests start with their program, and the one that is k-th
//! by its name starts when the (k - N)th line arrives.

use crate::options::Options;
use anyhow::{Context, Result};
use std::io::{self, BufRead, Write};
use std::num::NonZero;
use std::time::{Duration, Instant};

/// As many tests are named.
const NAMED: usize = 10;

/// Copies standard input to standard output, each line at once, and ends with the slowest tests. Whether
/// tests failed is the exit status of what prints them: use `set -o pipefail`.
pub(crate) fn run(options: Options) -> Result<()> {
    options.done()?;
    let begun = Instant::now();
    let mut times = Times::new(threads());
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).context("cannot read the output of tests")? > 0 {
        let arrived = begun.elapsed();
        out.write_all(&line).and_then(|()| out.flush()).context("cannot pass output on")?;
        times.arrived(arrived, String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    out.write_all(times.render().as_bytes()).context("cannot pass output on")
}

/// How many tests a program runs at a time.
fn threads() -> usize {
    let requested = std::env::var("RUST_TEST_THREADS").ok().and_then(|value| value.parse().ok());
    requested.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// The tests that have ended, each with the time that it took.
struct Times {
    threads: usize,
    /// The file that is being tested.
    program: String,
    /// When it began with its tests.
    begun: Duration,
    /// Its tests as they ended.
    ended: Vec<(String, Duration)>,
    /// The time and the name of those of all programs before.
    taken: Vec<(Duration, String)>,
}

impl Times {
    fn new(threads: usize) -> Self {
        let (program, begun) = (String::new(), Duration::ZERO);
        Self { threads: threads.max(1), program, begun, ended: Vec::new(), taken: Vec::new() }
    }

    /// Takes notice of a line.
    fn arrived(&mut self, at: Duration, line: &str) {
        if let Some(program) = program(line) {
            self.program = program;
        } else if begins(line) {
            self.close();
            self.begun = at;
        } else if let Some(test) = ended(line) {
            self.ended.push((test.to_owned(), at));
        } else if line.starts_with("test result: ") {
            self.close();
        }
    }

    /// Works out when the tests of a program started, once all have ended.
    fn close(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        let mut by_name: Vec<usize> = (0..ended.len()).collect();
        by_name.sort_by(|&a, &b| ended[a].0.cmp(&ended[b].0));
        for (place, &test) in by_name.iter().enumerate() {
            let (name, end) = &ended[test];
            let start =
                place.checked_sub(self.threads).map_or(self.begun, |before| ended[before].1);
            self.taken.push((end.saturating_sub(start), format!("{}: {name}", self.program)));
        }
    }

    /// The slowest tests, a line for each.
    fn render(mut self) -> String {
        self.close();
        self.taken.sort();
        let lines = self.taken.iter().rev().take(NAMED);
        let lines: String =
            lines.map(|(time, name)| format!("{:8.1} s  {name}\n", time.as_secs_f64())).collect();
        if lines.is_empty() { lines } else { format!("\nslowest tests\n{lines}") }
    }
}

/// Whether a program begins with its tests: `running 12 tests`.
fn begins(line: &str) -> bool {
    line.starts_with("running ") && (line.ends_with(" test") || line.ends_with(" tests"))
}

/// The test that ended, if `line` says so.
fn ended(line: &str) -> Option<&str> {
    let (test, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    ["ok", "FAILED", "ignored"].iter().any(|known| outcome.starts_with(known)).then_some(test)
}

/// The name of the program that cargo starts, if `line` says so: `cli` of
/// `Running tests/cli/main.rs (target/debug/deps/cli-0123456789abcdef)`.
fn program(line: &str) -> Option<String> {
    if let Some((_, package)) = line.split_once("Doc-tests ") {
        return Some(format!("examples of {package}"));
    }
    let (_, path) =
        line.trim_start().strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?;
    let name = path.rsplit(['/', '\\']).next()?;
    Some(name.rsplit_once('-').map_or(name, |(name, _)| name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of an output whose lines arrive at these seconds.
    fn render(threads: usize, lines: &[(u64, &str)]) -> String {
        let mut times = Times::new(threads);
        lines.iter().for_each(|&(at, line)| times.arrived(Duration::from_secs(at), line));
        times.render()
    }

    #[test]
    fn a_test_starts_when_one_before_it_has_ended() {
        // Two threads: a and b start at 10, c when b ends, d when c ends, e when a ends.
        let output = [
            (1, "   Compiling llmopt-quant v0.1.0"),
            (9, "     Running tests/cli/main.rs (target/debug/deps/cli-0123456789abcdef)"),
            (10, ""),
            (10, "running 5 tests"),
            (12, "test b ... ok"),
            (15, "test c::odd ... FAILED"),
            (20, "test a ... ok"),
            (20, "test d has been running for over 60 seconds"),
            (21, "test d ... ok"),
            (22, "test e ... ignored, needs a disk"),
            (22, "test result: FAILED. 3 passed; 1 failed; 1 ignored; finished in 12.00s"),
        ];
        let expected = "\nslowest tests\n    \
                        10.0 s  cli: a\n     \
                        6.0 s  cli: d\n     \
                        3.0 s  cli: c::odd\n     \
                        2.0 s  cli: e\n     \
                        2.0 s  cli: b\n";
        assert_eq!(render(2, &output), expected);
    }

    #[test]
    fn programs_follow_each_other_and_ten_tests_are_told() {
        let names: Vec<String> = (0..12).map(|test| format!("test t{test:02} ... ok")).collect();
        let first = [
            (0, "     Running unittests src/lib.rs (/far/target/debug/deps/llmopt_arch-00ff)"),
            (0, "running 12 tests"),
        ];
        // One thread: the n-th test takes n seconds.
        let lines = (0..).zip(&names).map(|(n, name)| (n * (n + 1) / 2, name.as_str()));
        let second = [
            (66, "test result: ok. 12 passed"),
            (70, "   Doc-tests llmopt_pipeline"),
            (71, "running 1 test"),
            (171, "test docs/library.md - (line 3) ... ok"),
        ];
        let output: Vec<_> = first.into_iter().chain(lines).chain(second).collect();
        let text = render(1, &output);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), NAMED);
        assert_eq!(lines[0], "   100.0 s  examples of llmopt_pipeline: docs/library.md - (line 3)");
        assert_eq!(lines[1], "    11.0 s  llmopt_arch: t11");
        assert_eq!(lines[9], "     3.0 s  llmopt_arch: t03");
    }

    #[test]
    fn an_output_without_tests_is_not_commented_on() {
        assert_eq!(
            render(4, &[(0, "error: could not compile `llmopt-quant`"), (1, "test it yourself")]),
            ""
        );
    }
}

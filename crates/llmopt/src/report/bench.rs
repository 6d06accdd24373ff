//! How fast models decode: on a terminal, and as Markdown.

use super::markdown::code;
use super::numbers::{interval, significant};
use super::{FileOf, html};
use crate::failure::Refusal;
use crate::print::{self, Table};
use crate::units;
use llmopt_pipeline::{Bench, BenchMachine, BenchedBatch, BenchedModel, BenchedQuality, Spread};
use std::fmt::Write;
use std::path::Path;

/// The file that a report of a bench goes to.
pub(crate) fn bench_file(path: &Path) -> Result<FileOf<Bench>, Refusal> {
    FileOf::new(
        path,
        "of a bench",
        &[
            ("json", |bench| print::document(bench)),
            ("md", |bench| Ok(markdown(bench))),
            ("html", |bench| Ok(html::bench(bench))),
        ],
    )
}

/// The tables of a terminal.
pub(crate) fn bench(bench: &Bench) -> String {
    let mut text = print::facts(&facts(bench));
    for part in [speed(bench), cost(bench), read(bench)] {
        let mut table = Table::new(&part.columns);
        part.rows.into_iter().for_each(|row| table.row(row));
        let _ = write!(text, "\n{table}");
    }
    text
}

/// The same for a comment or a page.
fn markdown(bench: &Bench) -> String {
    let mut text = format!("### Speed of {}\n", title(bench, code));
    for part in [speed(bench), cost(bench), read(bench)] {
        let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let align = |name: &String| if name.starts_with('>') { "--:" } else { "---" }.to_owned();
        let _ = writeln!(text, "\n{}", row(part.headings()));
        let _ = writeln!(text, "{}", row(part.columns.iter().map(align).collect()));
        for mut cells in part.rows {
            cells.iter_mut().take(1).for_each(|name| *name = code(name));
            let _ = writeln!(text, "{}", row(cells));
        }
    }
    let _ = writeln!(text);
    for (name, fact) in facts(bench) {
        let _ = writeln!(text, "- {name}: {}", print::one_line(&fact).replace('<', "&lt;"));
    }
    let _ = writeln!(text, "- {} {}", bench.tool, bench.version);
    text
}

/// `artifact against original`, or the name alone.
pub(super) fn title(bench: &Bench, written: impl Fn(&str) -> String) -> String {
    let names = bench.models.iter().map(|model| written(&model.model.name));
    names.collect::<Vec<_>>().join(" against ")
}

/// Rows of every model with every batch.
pub(super) struct Part {
    /// A name that begins with `>` is a column of numbers.
    columns: Vec<String>,
    /// The first cell is the model's name.
    pub(super) rows: Vec<Vec<String>>,
}

impl Part {
    fn of(bench: &Bench, columns: &[&str], cells: impl Fn(&BenchedBatch) -> Vec<String>) -> Self {
        let row = |model: &BenchedModel, batch: &BenchedBatch| {
            let mut row = vec![model.model.name.clone(), batch.batch.to_string()];
            row.extend(cells(batch));
            row
        };
        let rows = bench
            .models
            .iter()
            .flat_map(|model| model.batches.iter().map(move |batch| row(model, batch)));
        let columns = ["model", ">batch"].iter().chain(columns);
        Self { columns: columns.map(|&name| name.to_owned()).collect(), rows: rows.collect() }
    }

    /// The names of the columns.
    pub(super) fn headings(&self) -> Vec<String> {
        self.columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect()
    }
}

/// Tokens a second, `pp128` and `tg64` as llama-bench calls them, and what batching and the artifact add.
pub(super) fn speed(bench: &Bench) -> Part {
    let columns = [
        &format!(">pp{} t/s", bench.protocol.prompt),
        &format!(">{} t/s", decoded_name(bench)),
        "lowest to highest",
        ">gain of batching",
        ">decode speed-up",
    ];
    Part::of(bench, &columns, |batch| {
        let times = |ratio: Option<f64>| ratio.map_or_else(String::new, times);
        vec![
            significant(batch.prompt_tokens_per_second.median, 3),
            significant(batch.tokens_per_second.median, 3),
            range(&batch.tokens_per_second),
            times(batch.batching_gain),
            times(batch.speed_up),
        ]
    })
}

/// Latencies, and processor time.
pub(super) fn cost(bench: &Bench) -> Part {
    let columns = [
        ">first token",
        ">next, p50",
        ">next, p99",
        ">tokens per core-second",
        ">core-seconds per 1,000 tokens",
    ];
    Part::of(bench, &columns, |batch| {
        vec![
            milliseconds(batch.first_token_seconds.median),
            milliseconds(batch.inter_token_p50_seconds),
            milliseconds(batch.inter_token_p99_seconds),
            significant(batch.tokens_per_core_second, 3),
            significant(batch.core_seconds_per_1000_tokens, 3),
        ]
    })
}

/// How fast memory is read, and the bytes of a token by what they are for.
pub(super) fn read(bench: &Bench) -> Part {
    let columns = [
        ">read",
        ">of read bandwidth",
        ">bytes per token",
        ">layers",
        ">head",
        ">key-value cache",
        ">embedding",
    ];
    Part::of(bench, &columns, |batch| {
        let bytes = &batch.bytes_per_token;
        let parts = [bytes.total(), bytes.layers, bytes.head, bytes.cache, bytes.embedding];
        let rate = [gigabytes(batch.bytes_per_second), units::percent(batch.bandwidth_share)];
        rate.into_iter().chain(parts.into_iter().map(units::count)).collect()
    })
}

/// What was measured, on what, and what a reader should know.
pub(super) fn facts(bench: &Bench) -> Vec<(&'static str, String)> {
    let protocol = &bench.protocol;
    let roles = ["model", "original"].into_iter().zip(&bench.models);
    let mut facts: Vec<(&str, String)> =
        roles.map(|(role, model)| (role, weights(model))).collect();
    let qualities = bench.models.iter().filter_map(|model| Some((model, model.quality.as_ref()?)));
    facts.extend(qualities.map(|(model, quality)| ("KL divergence", lost(model, quality))));
    facts.push((
        "runs",
        format!(
            "{} of each model and batch, in turn, each from an empty state; medians",
            units::count(protocol.runs as u64)
        ),
    ));
    facts.push((
        "tokens",
        format!(
            "prompts of {}, drawn at random by seed {}, for speed alone; then {} decoded after the first, greedily, \
             none of which ends a text",
            units::count(protocol.prompt as u64),
            protocol.seed,
            units::count(protocol.tokens as u64)
        ),
    ));
    let threads = units::counted(protocol.threads, "thread");
    let rounded = protocol.activations.as_ref();
    let rounded = rounded.map(|to| format!(" on inputs in {to}")).unwrap_or_default();
    let kernels = format!("{}; {}{rounded}; {threads}", protocol.kernel, protocol.code_kernel);
    facts.push(("kernels", kernels));
    facts.push(("read bandwidth", bandwidth(bench)));
    facts.extend(machine(&bench.machine));
    facts.extend(bench.notes.iter().map(|note| ("note", note.clone())));
    facts
}

/// `llama-8m-w4a16`, w4a16 g64, 7.31 MiB of weights in memory
fn weights(model: &BenchedModel) -> String {
    let schemes = match &model.model.schemes[..] {
        [] => String::new(),
        schemes => format!(", {}", schemes.join(", ")),
    };
    let weights = &model.weights;
    let mut parts = vec![format!("layers {}", units::bytes(weights.layers))];
    parts.extend(
        (weights.experts > 0).then(|| format!("experts {}", units::bytes(weights.experts))),
    );
    parts.push(format!("head {}", units::bytes(weights.head)));
    format!(
        "`{}`{schemes}: {} of weights in memory as packed ({}), {} of keys and values for a token",
        model.model.name,
        units::bytes(weights.total()),
        parts.join(", "),
        units::bytes(model.cache_bytes_per_token)
    )
}

/// `0.00532 (0.00519 to 0.00546), from `llama-8m` on `test.txt`, in f32: its last evaluation`
fn lost(model: &BenchedModel, quality: &BenchedQuality) -> String {
    let nats = |value| significant(value, 3);
    let ends = match interval(&quality.kld, nats) {
        none if none.is_empty() => none,
        ends => format!(" ({ends})"),
    };
    let named = |word: &str, name: &Option<String>| {
        name.as_ref().map_or_else(String::new, |name| format!(" {word} `{name}`"))
    };
    let dtype = quality.dtype.as_ref().map_or_else(String::new, |dtype| format!(", in {dtype}"));
    format!(
        "{}{ends} of `{}`{}{}{dtype}, by its last evaluation",
        nats(quality.kld.value),
        model.model.name,
        named("from", &quality.reference),
        named("on", &quality.text)
    )
}

fn bandwidth(bench: &Bench) -> String {
    let of = |spread: &Spread| {
        let [low, high] = [spread.low, spread.high].map(|rate| significant(rate / 1e9, 3));
        format!("{} ({low} to {high})", gigabytes(spread.median))
    };
    let bandwidth = &bench.bandwidth;
    let all = match bench.protocol.threads {
        1 => String::new(),
        threads => format!(", {threads} threads {}", of(&bandwidth.all_threads)),
    };
    format!(
        "one thread {}{all}; a buffer of {} summed before and after the runs",
        of(&bandwidth.one_thread),
        units::bytes(bandwidth.buffer_bytes)
    )
}

fn machine(machine: &BenchMachine) -> Vec<(&'static str, String)> {
    let cache = machine.last_level_cache.map(units::bytes);
    let mut facts = vec![("last-level cache", cache.unwrap_or_else(|| "unknown".to_owned()))];
    let mut load = vec![format!("threads ran {} of the time", units::percent(machine.threads_ran))];
    load.extend(
        machine
            .threads_waited
            .map(|share| format!("waited for a processor {} of it", units::percent(share))),
    );
    load.extend(machine.load_average.map(|[one, five, fifteen]| {
        format!("load average {one:.2}, {five:.2}, {fifteen:.2} before")
    }));
    facts.push(("load", load.join("; ")));
    facts.extend(machine.peak_memory.map(|bytes| {
        let what = "of the process from loading to the last run, all models together";
        ("peak memory", format!("{}, {what}", units::bytes(bytes)))
    }));
    facts
}

/// `tg64`, as llama-bench calls it.
pub(super) fn decoded_name(bench: &Bench) -> String {
    format!("tg{}", bench.protocol.tokens)
}

/// `1.94x`
fn times(ratio: f64) -> String {
    format!("{}x", significant(ratio, 3))
}

fn range(spread: &Spread) -> String {
    format!("{} to {}", significant(spread.low, 3), significant(spread.high, 3))
}

fn milliseconds(seconds: f64) -> String {
    format!("{} ms", significant(seconds * 1e3, 3))
}

fn gigabytes(bytes_per_second: f64) -> String {
    format!("{} GB/s", significant(bytes_per_second / 1e9, 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_bench_is_told_from_the_models_to_the_bytes() {
        assert_eq!(bench(&sample::bench()), include_str!("sample/bench.txt"));
    }

    #[test]
    fn a_bench_fits_a_comment() {
        assert_eq!(markdown(&sample::bench()), include_str!("sample/bench.md"));
    }

    #[test]
    fn a_model_alone_has_no_original_and_no_speed_up() {
        let mut alone = sample::bench();
        alone.models.truncate(1);
        alone.models[0].batches.iter_mut().for_each(|batch| batch.speed_up = None);
        let text = bench(&alone);
        assert!(!text.contains("original") && !text.contains("against"), "{text}");
        assert_eq!(speed(&alone).rows[0].last().map(String::as_str), Some(""));
    }

    #[test]
    fn hostile_names_stay_in_their_cells() {
        let mut hostile = sample::bench();
        hostile.models[0].model.name = "a|b\n# <img>".to_owned();
        let text = markdown(&hostile);
        assert!(text.starts_with("### Speed of `a\\|b\\n# <img>` against"), "{text}");
        assert!(!text.contains("\n# ") && !text.contains(": `a|b\\n# <img>"), "{text}");
    }
}

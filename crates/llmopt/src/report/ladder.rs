//! Several sizes of a model beside each other: on a terminal, and as Markdown.

use super::markdown::code;
use super::numbers::{interval, share, significant};
use super::{FileOf, html};
use crate::failure::Refusal;
use crate::print::{self, Table};
use crate::units;
use llmopt_pipeline::{JudgedText, LadderReport, PlannedRung, Rung};
use std::fmt::Write;
use std::path::Path;

/// The file that a report of a ladder goes to.
pub(crate) fn ladder_file(path: &Path) -> Result<FileOf<LadderReport>, Refusal> {
    FileOf::new(
        path,
        "of a ladder",
        &[
            ("json", |report| print::document(report)),
            ("md", |report| Ok(markdown(report))),
            ("html", |report| Ok(html::ladder(report))),
        ],
    )
}

/// The table of a terminal, and the picture of it.
pub(crate) fn ladder(report: &LadderReport) -> String {
    let mut text = print::facts(&facts(report));
    let mut table = Table::new(&[
        "bits",
        "group size",
        ">bytes",
        ">size",
        ">bits per weight",
        ">KL divergence",
        "95 % interval",
        ">top-1",
        "method",
    ]);
    for rung in &report.rungs {
        table.row(cells(report, rung));
    }
    let _ = write!(text, "\n{table}\n{}", plot(report));
    text
}

/// The same for a comment or a page.
pub(super) fn markdown(report: &LadderReport) -> String {
    let mut text = format!("### Sizes of {}\n\n", code(&report.model));
    let _ = writeln!(
        text,
        "| bits | group size | bytes | size | bits per weight | KL divergence | 95 % interval | top-1 | method |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|---|"
    );
    for rung in &report.rungs {
        let _ = writeln!(text, "| {} |", cells(report, rung).join(" | "));
    }
    let _ = writeln!(text);
    for (name, fact) in facts(report) {
        let _ = writeln!(text, "- {name}: {}", print::one_line(&fact).replace('<', "&lt;"));
    }
    text
}

/// How it was made and judged.
pub(super) fn facts(report: &LadderReport) -> Vec<(&'static str, String)> {
    let mut facts =
        vec![("model", format!("`{}`, {} of weights", report.model, units::bytes(report.bytes)))];
    facts.push(match &report.calibration {
        None => ("observed", "nothing: weights alone decided".to_owned()),
        Some(data) => {
            let names: Vec<&str> = data.sources.iter().map(|source| source.name.as_str()).collect();
            let windows = units::counted(data.windows, "window");
            (
                "observed",
                format!("{windows} of {} tokens of {}, once", data.window, names.join(", ")),
            )
        }
    });
    facts.push((
        "judged",
        format!("{}, in one sweep, {}", judged_on(&report.judged_on), report.kernel),
    ));
    let kept = report.rungs.iter().filter_map(|rung| rung.planned.kept.as_deref());
    let kept: Vec<String> = kept.map(|name| format!("`{name}`")).collect();
    facts.extend((!kept.is_empty()).then(|| ("kept", kept.join(", "))));
    let notes = report.calibration.iter().flat_map(|data| &data.notes);
    facts.extend(notes.map(|note| ("note", note.clone())));
    facts
}

/// `16 windows of 512 tokens of a.txt, held out`
pub(crate) fn judged_on(text: &JudgedText) -> String {
    let what = match text.held_out {
        true => " that nothing is fitted to",
        false => "",
    };
    format!(
        "on {} of {} tokens of {}{what}",
        units::counted(text.windows, "window"),
        units::count(text.window as u64),
        text.name
    )
}

/// `128`, or `channel`.
pub(crate) fn group_size(rung: &PlannedRung) -> String {
    rung.group_size.map_or_else(|| "channel".to_owned(), |columns| columns.to_string())
}

/// What a row says of a rung.
pub(super) fn cells(report: &LadderReport, rung: &Rung) -> Vec<String> {
    let planned = &rung.planned;
    vec![
        planned.bits.to_string(),
        group_size(planned),
        units::count(planned.bytes),
        units::share(planned.bytes, report.bytes),
        format!("{:.2}", planned.bits_per_weight),
        nats(rung.kld.value),
        interval(&rung.kld, nats),
        share(rung.top1.value),
        match rung.fallbacks {
            0 => rung.method.clone(),
            fallbacks => format!("{}, {}", rung.method, units::counted(fallbacks, "fallback")),
        },
    ]
}

pub(super) fn nats(value: f64) -> String {
    significant(value, 3)
}

/// KL divergence of each rung with its interval, on a logarithmic line.
fn plot(report: &LadderReport) -> String {
    let decades = Decades::of(report);
    let mut table = Table::new(&[">size", "KL divergence and its interval, logarithmic"]);
    for rung in &report.rungs {
        let (low, high) = rung.kld.interval().unwrap_or((rung.kld.value, rung.kld.value));
        let place = |value: f64| (decades.share(value) * (WIDTH - 1) as f64).round() as usize;
        let (low, at, high) = (place(low), place(rung.kld.value), place(high));
        let sign = |column: usize| match column {
            column if column == at => 'o',
            column if (low..=high).contains(&column) => '-',
            _ => ' ',
        };
        let line: String = (0..WIDTH).map(sign).collect();
        table.row([units::bytes(rung.planned.bytes), format!("|{line}|")]);
    }
    let last = format!("{:e}", 10_f64.powi(decades.last));
    let first = format!("{:e}", 10_f64.powi(decades.first));
    table.row([String::new(), format!("{first}{last:>rest$}", rest = WIDTH + 2 - first.len())]);
    table.to_string()
}

/// The powers of ten between which the rungs and their intervals lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decades {
    pub(super) first: i32,
    pub(super) last: i32,
}

impl Decades {
    /// At least one power apart; what is not above zero lies on the first.
    pub(super) fn of(report: &LadderReport) -> Self {
        let ends = |rung: &Rung| {
            let (low, high) = rung.kld.interval().unwrap_or((rung.kld.value, rung.kld.value));
            [low, rung.kld.value, high]
        };
        let values = report.rungs.iter().flat_map(ends).filter(|value| *value > LEAST);
        let logarithms: Vec<f64> =
            values.filter(|value| value.is_finite()).map(f64::log10).collect();
        let least = logarithms.iter().copied().fold(f64::INFINITY, f64::min);
        let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if logarithms.is_empty() {
            return Self { first: -1, last: 0 };
        }
        let first = least.floor() as i32;
        Self { first, last: (most.ceil() as i32).max(first + 1) }
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn share(self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        let place = value.max(LEAST).log10();
        ((place - first) / (last - first)).clamp(0.0, 1.0)
    }
}

/// Signs of the line.
const WIDTH: usize = 48;
/// Smaller divergences are rounding of sums.
const LEAST: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn rungs_stand_beside_each_other_with_their_intervals() {
        assert_eq!(ladder(&sample::ladder()), include_str!("sample/ladder.txt"));
    }

    #[test]
    fn the_line_spans_the_intervals() {
        let mut report = sample::ladder();
        assert_eq!(Decades::of(&report), Decades { first: -4, last: 0 });
        report.rungs.truncate(1);
        report.rungs[0].kld.value = 0.0;
        report.rungs[0].kld.low = f64::NAN;
        let decades = Decades::of(&report);
        assert_eq!((decades, decades.share(0.0)), (Decades { first: -1, last: 0 }, 0.0));
        assert_eq!([decades.share(0.1), decades.share(1.0), decades.share(9.0)], [0.0, 1.0, 1.0]);
        assert!(!ladder(&report).contains("NaN"));
    }

    #[test]
    fn hostile_names_stay_in_their_line() {
        let mut report = sample::ladder();
        report.model = "a|b\n# c".to_owned();
        report.judged_on.name = "<img>\n".to_owned();
        let text = markdown(&report);
        assert!(
            text.starts_with("### Sizes of `a\\|b\\n# c`\n") && !text.contains("<img"),
            "{text}"
        );
    }
}

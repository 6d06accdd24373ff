//! How KL divergence is distributed over tokens.

use super::axis::{Axis, every, percent_tick};
use super::parts::figure;
use super::svg::{Anchor, Screen, Svg};
use crate::report::numbers::{share, significant};
use llmopt_pipeline::{Comparison, Histogram};
use std::fmt::Write;

pub(super) fn section(body: &mut String, comparison: &Comparison) {
    let histogram = &comparison.histogram;
    if histogram.total() == 0 {
        return;
    }
    let kld = &comparison.kld;
    let _ = writeln!(body, "<section>\n<h2>How KL divergence is distributed over tokens</h2>");
    let caption = format!(
        "Half of the tokens diverge by less than {} nats, one in a hundred by more than {}, one in a \
         thousand by more than {}; the mean is {}.",
        nats(kld.median.value),
        nats(kld.p99.value),
        nats(kld.p99_9.value),
        nats(kld.mean.value)
    );
    let marks = [
        ("median", kld.median.value),
        ("mean", kld.mean.value),
        ("p99", kld.p99.value),
        ("p99.9", kld.p99_9.value),
        ("maximum", kld.max),
    ];
    figure(body, |screen| picture(screen, histogram, &marks), &caption);
    let _ = writeln!(body, "</section>");
}

fn picture(screen: Screen, histogram: &Histogram, marks: &[(&str, f64)]) -> String {
    let (width, beyond) = (screen.width(), screen.pick(64.0, 44.0));
    let decades = Decades::of(histogram, marks);
    let tokens = histogram.total() as f64;
    let shown = &histogram.counts[decades.bins(histogram)];
    let most = shown.iter().chain([&histogram.below]).max().map_or(0.0, |&count| count as f64);
    let vertical = Axis::upward(0.0, most / tokens, TOP, BOTTOM);
    let across = Axis {
        low: f64::from(decades.first),
        high: f64::from(decades.last),
        start: LEFT + beyond,
        end: width - 14.0,
    };
    let mut svg = Svg::new(width, HEIGHT, "Share of tokens by KL divergence, logarithmic axis");
    svg.text("heading", [0.0, 14.0], Anchor::Start, "share of tokens");
    vertical.draw(&mut svg, LEFT, width, percent_tick);
    let mut column = |from: f64, to: f64, count: u64, title: &str| {
        let share_of_tokens = count as f64 / tokens;
        let top = vertical.at(share_of_tokens);
        let title = format!("{title}: {} of tokens", share(share_of_tokens));
        svg.rectangle("bar", [from + 0.5, top], [to - from - 1.0, BOTTOM - top], &title);
    };
    let first = decades.bins(histogram).start;
    let place = |bin: usize| {
        across.at(f64::from(histogram.first_decade) + bin as f64 / f64::from(histogram.per_decade))
    };
    for (bin, &count) in (first..).zip(shown) {
        let title = format!("{} to {}", nats(histogram.edge(bin)), nats(histogram.edge(bin + 1)));
        column(place(bin), place(bin + 1), count, &title);
    }
    if histogram.below > 0 {
        let title = format!("below {}", nats(histogram.edge(0)));
        column(LEFT + 4.0, LEFT + beyond - 20.0, histogram.below, &title);
        svg.text("tick", [LEFT + beyond / 2.0 - 10.0, BOTTOM + 16.0], Anchor::Middle, "less");
    }
    let written = every(decades.count(), screen.pick(13, 5));
    for (number, decade) in (decades.first..=decades.last).enumerate() {
        let x = across.at(f64::from(decade));
        svg.line("axis", [x, BOTTOM], [x, BOTTOM + 4.0]);
        if number.is_multiple_of(written) {
            svg.text("tick", [x, BOTTOM + 16.0], Anchor::Middle, &power_of_ten(decade));
        }
    }
    svg.text("tick", [(LEFT + width) / 2.0, HEIGHT - 2.0], Anchor::Middle, "KL divergence, nats");
    for (row, (name, value)) in marks.iter().enumerate() {
        mark(&mut svg, &across, row, width, &format!("{name} {}", nats(*value)), *value);
    }
    svg.finished()
}

/// A line at a value, with its name on a row of its own: those of close values do not overlap.
fn mark(svg: &mut Svg, across: &Axis, row: usize, width: f64, text: &str, value: f64) {
    let decade = value.log10();
    if !(across.low..=across.high).contains(&decade) {
        return;
    }
    let (x, y) = (across.at(decade), 34.0 + 15.0 * row as f64);
    svg.line("marker", [x, y - 10.0], [x, BOTTOM]);
    match x + 5.0 + LETTER * text.chars().count() as f64 > width {
        true => svg.text("mark", [x - 5.0, y], Anchor::End, text),
        false => svg.text("mark", [x + 5.0, y], Anchor::Start, text),
    }
}

/// The powers of ten between which there are tokens.
struct Decades {
    first: i32,
    last: i32,
}

impl Decades {
    /// Marks are inside, too, but for those below the histogram.
    fn of(histogram: &Histogram, marks: &[(&str, f64)]) -> Self {
        let per_decade = histogram.per_decade.max(1) as usize;
        let filled = || (0..histogram.counts.len()).filter(|&bin| histogram.counts[bin] > 0);
        let decade = |bin: usize| histogram.first_decade + (bin / per_decade) as i32;
        let first = filled().next().map_or(histogram.first_decade, decade);
        let last = filled().next_back().map_or(first, decade) + 1;
        let greatest = marks.iter().map(|(_, value)| value.log10().ceil()).fold(-8.0, f64::max);
        Self { first, last: last.max(greatest.min(LAST) as i32) }
    }

    /// Powers of ten from one end to the other.
    fn count(&self) -> usize {
        usize::try_from(self.last - self.first).unwrap_or(0) + 1
    }

    fn bins(&self, histogram: &Histogram) -> std::ops::Range<usize> {
        let bin = |decade: i32| {
            let decades = usize::try_from(decade - histogram.first_decade).unwrap_or(0);
            (decades * histogram.per_decade as usize).min(histogram.counts.len())
        };
        bin(self.first)..bin(self.last)
    }
}

/// `10⁻³`
fn power_of_ten(exponent: i32) -> String {
    let raised = |c: char| match c {
        '-' => '⁻',
        c => DIGITS[c.to_digit(10).unwrap_or(0) as usize],
    };
    format!("10{}", exponent.to_string().chars().map(raised).collect::<String>())
}

fn nats(value: f64) -> String {
    significant(value, 3)
}

const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
/// Axes end at 10 to this power, whatever is beyond.
const LAST: f64 = 4.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 258.0;
/// No letter of a mark is wider, on the average of a word.
const LETTER: f64 = 7.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_spans_the_decades_that_have_tokens() {
        let check = |klds: &[f64], first, last, bins| {
            let histogram = Histogram::new(klds.iter().copied());
            let decades = Decades::of(&histogram, &[]);
            assert_eq!((decades.first, decades.last), (first, last));
            assert_eq!(decades.bins(&histogram), bins);
        };
        check(&[0.02, 0.5], -2, 0, 30..40);
        check(&[1e-8], -8, -7, 0..5);
        check(&[50.0], 1, 2, 45..50);
        check(&[0.0], -8, -7, 0..5);
    }

    #[test]
    fn powers_are_written_as_such() {
        assert_eq!([power_of_ten(-5), power_of_ten(0), power_of_ten(12)], ["10⁻⁵", "10⁰", "10¹²"]);
    }
}

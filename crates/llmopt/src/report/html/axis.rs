//! Where values lie in a picture, and which of them are written beside it.

use super::svg::{Anchor, Svg};

/// Values from `low` to `high` on a line from `start` to `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Axis {
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.start + share * (self.end - self.start)
    }

    /// A vertical axis for values up to `most`, and down to `least` where that is below zero.
    pub(super) fn upward(least: f64, most: f64, top: f64, bottom: f64) -> Self {
        let low = least.min(0.0);
        let step = step(most - low);
        let high = ((most / step).ceil() * step).max(step);
        Self { low, high, start: bottom, end: top }
    }

    /// Round values along it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let step = step(self.high - self.low);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step + 1e-9) as i64);
        (first..=last).map(|tick| tick as f64 * step).collect()
    }

    /// Lines across a picture at round values, each with its value at the left.
    pub(super) fn draw(&self, svg: &mut Svg, from: f64, to: f64, written: impl Fn(f64) -> String) {
        for tick in self.ticks() {
            let y = self.at(tick);
            svg.line(if tick == 0.0 { "axis" } else { "grid" }, [from, y], [to, y]);
            svg.text("tick", [from - 6.0, y + 4.0], Anchor::End, &written(tick));
        }
    }
}

/// One, two or five times a power of ten: the distance of about four ticks over `span`.
fn step(span: f64) -> f64 {
    if !(span > 0.0 && span.is_finite()) {
        return 1.0;
    }
    let rough = span / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough * 0.999);
    step.unwrap_or(10.0) * power
}

/// `5 %`, `0.02 %`: with as many digits as its neighbours on an axis need.
pub(super) fn percent_tick(value: f64) -> String {
    let text = format!("{:.6}", value * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{} %", if text == "-0" { "0" } else { text })
}

/// About so many of the numbers below `count`, evenly spaced from the first.
pub(super) fn every(count: usize, most: usize) -> usize {
    let rough = count.div_ceil(most).max(1);
    [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100]
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_values() {
        let check = |least, most, expected: &[f64]| {
            let ticks = Axis::upward(least, most, 0.0, 100.0).ticks();
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            for (tick, expected) in ticks.iter().zip(expected) {
                assert!((tick - expected).abs() < 1e-9, "{ticks:?}");
            }
        };
        check(0.0, 1.0, &[0.0, 0.5, 1.0]);
        check(0.0, 0.037, &[0.0, 0.01, 0.02, 0.03, 0.04]);
        check(-0.5, 3.0, &[0.0, 1.0, 2.0, 3.0]);
        check(-1.5, 3.0, &[0.0, 2.0, 4.0]);
        check(0.0, 0.0, &[0.0, 0.5, 1.0]);
    }

    #[test]
    fn ends_lie_at_the_ends() {
        let axis = Axis { low: 2.0, high: 4.0, start: 100.0, end: 0.0 };
        assert_eq!([axis.at(2.0), axis.at(3.0), axis.at(4.0)], [100.0, 50.0, 0.0]);
    }

    #[test]
    fn tick_labels_are_short() {
        let check = |value, expected: &str| assert_eq!(percent_tick(value), expected);
        check(0.0, "0 %");
        check(0.05, "5 %");
        check(0.000_2, "0.02 %");
        check(1.0, "100 %");
        check(-0.02, "-2 %");
        assert_eq!([every(8, 20), every(80, 20), every(126, 20)], [1, 4, 8]);
    }
}

//! Numbers as reports print them: as many digits as mean something.

use crate::units;
use llmopt_pipeline::Estimate;

/// `0.0123`, `24.13`, `1.23e-5`: so many significant digits.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent = scientific.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    if !(-4..7).contains(&exponent) {
        return scientific;
    }
    let places = (digits as i32 - 1 - exponent).max(0) as usize;
    format!("{value:.places$}")
}

/// `95.2 %`, `99.96 %`, `0.412 %`: 0 and 100 only where nothing else is true.
pub(super) fn share(value: f64) -> String {
    let rest = (1.0 - value).abs();
    if value <= 0.5 || rest == 0.0 || !value.is_finite() {
        return if value == 1.0 { "100 %".to_owned() } else { units::percent(value) };
    }
    let places = (-(rest * 100.0).log10().floor()).clamp(1.0, 6.0) as usize;
    format!("{:.places$} %", value * 100.0)
}

/// `1.00231`
pub(super) fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.5}") } else { significant(value, 5) }
}

/// `5.21 GB`: in decimal units.
pub(super) fn decimal_bytes(bytes: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2} {unit}", bytes / size),
        None => format!("{bytes:.0} B"),
    }
}

/// `23.1 to 25.2`, or nothing where there is no interval.
pub(super) fn interval(estimate: &Estimate, written: impl Fn(f64) -> String) -> String {
    match estimate.interval() {
        Some((low, high)) => format!("{} to {}", written(low), written(high)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_numbers_keep_their_digits() {
        let check = |value, expected: &str| assert_eq!(significant(value, 3), expected);
        check(0.0, "0");
        check(0.012_345, "0.0123");
        check(0.000_123_4, "0.000123");
        check(0.000_012_345, "1.23e-5");
        check(24.13, "24.1");
        check(999.6, "1000");
        check(123_456.0, "123456");
        check(1.5e9, "1.50e9");
        check(-0.5, "-0.500");
        check(f64::NAN, "NaN");
    }

    #[test]
    fn shares_next_to_all_are_not_all() {
        let check = |value, expected: &str| assert_eq!(share(value), expected);
        check(1.0, "100 %");
        check(0.9996, "99.96 %");
        check(0.952, "95.2 %");
        check(0.5, "50.0 %");
        check(0.004_12, "0.412 %");
        check(0.0, "0 %");
    }

    #[test]
    fn bytes_are_decimal_where_gates_are() {
        let check = |bytes, expected: &str| assert_eq!(decimal_bytes(bytes), expected);
        check(999.0, "999 B");
        check(5_210_000_000.0, "5.21 GB");
        check(15_000.0, "15.00 kB");
    }
}

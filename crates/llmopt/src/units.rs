//! Sizes, counts, shares and durations: read from flags, and written for people.

use std::time::Duration;

/// `8GiB`, `500MB`, `1.5 GiB`, or plain bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let Some((_, factor)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
        return Err("a size is a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB".to_owned());
    };
    let bytes = scaled(number, factor).ok_or("a size is a number and a unit, as in 8GiB")?;
    if bytes == 0 {
        Err("a size of zero leaves nothing to work with".to_owned())
    } else {
        Ok(bytes)
    }
}

/// `number` times `factor`, rounded down, in whole numbers throughout: 18446744073709551615 is itself.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = u32::try_from(fraction.len()).ok().filter(|&digits| digits <= 9)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let part = part * u128::from(factor) / 10_u128.pow(digits);
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// `1.23 GiB`
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // 1023.995 and more would be printed as 1024.00.
        if value < 1023.995 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") }
}

/// `1,053,000`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `2 tensors`, `1 tensor`
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number as u64))
}

/// `2 matrices`, `1 matrix`
pub(crate) fn matrices(number: usize) -> String {
    let ending = if number == 1 { "x" } else { "ces" };
    format!("{} matri{ending}", count(number as u64))
}

/// `31.6 %`
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { percent(part as f64 / whole as f64) }
}

/// `31.6 %`, and below one percent with three significant digits: `0.412 %`.
pub(crate) fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value.abs() {
        0.0 => "0 %".to_owned(),
        size if size >= 0.9995 => format!("{value:.1} %"),
        size => {
            let places = (2.0 - size.log10().floor()).clamp(1.0, 9.0) as usize;
            format!("{value:.places$} %")
        }
    }
}

/// `4.25 of the linears, 5.23 of all`: bits per weight.
pub(crate) fn bits_per_weight(linears: Option<f64>, all: f64) -> String {
    match linears {
        Some(linears) => format!("{linears:.2} of the linears, {all:.2} of all"),
        None => format!("{all:.2} of all"),
    }
}

/// `1.2 s`, `3 min 20 s`, `2 h 5 min`
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `less than a second`, `about 40 s`, `about 12 min`, `about 2 h 10 min`: no more digits than an estimate
/// is good for.
pub(crate) fn about(seconds: f64) -> String {
    match seconds {
        ..0.95 => "less than a second".to_owned(),
        ..9.5 => format!("about {seconds:.0} s"),
        ..57.5 => format!("about {:.0} s", 5.0 * (seconds / 5.0).round()),
        ..5370.0 => format!("about {:.0} min", seconds / 60.0),
        ..356_400.0 => {
            let minutes = 10 * (seconds / 600.0).round() as u64;
            match (minutes / 60, minutes % 60) {
                (hours, 0) => format!("about {hours} h"),
                (hours, minutes) => format!("about {hours} h {minutes} min"),
            }
        }
        _ => format!("about {:.0} days", seconds / 86_400.0),
    }
}

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// A share such as `0.4` or `40%`. Whether it is one that can be had is another question.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim_end().parse::<f64>().ok().filter(|n| n.is_finite());
    match text.strip_suffix('%') {
        Some(percent) => number(percent).map(|percent| percent / 100.0),
        None => match number(text) {
            Some(number) if (1.0..100.0).contains(&number) => {
                return Err(format!("a share is less than 1; `{number}%` is {}", number / 100.0));
            }
            number => number,
        },
    }
    .ok_or_else(|| "expected a share such as 0.4 or 40%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_unit() {
        let check = |text, expected| assert_eq!(size(text).ok(), expected, "{text}");
        check("1", Some(1));
        check("18446744073709551615", Some(u64::MAX));
        check("500MB", Some(500_000_000));
        check("8GiB", Some(8_589_934_592));
        check("8 gib", Some(8_589_934_592));
        check("1.5KiB", Some(1536));
        check("0.001kB", Some(1));
        check("256MiB", Some(268_435_456));
        for wrong in
            ["", "GiB", "-1", "1e9", "1.2.3", "8Gi", "0", "0.1B", "16777216TiB", "1.0000000001GiB"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes_are_written_with_two_decimals() {
        let check = |number, expected: &str| assert_eq!(bytes(number), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.00 KiB");
        check(1_048_575, "1.00 MiB");
        check(1_320_702_444, "1.23 GiB");
        check(u64::MAX, "16.00 EiB");
    }

    #[test]
    fn counts_have_commas_every_three_digits() {
        let check = |number, expected: &str| assert_eq!(count(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(12_345_678, "12,345,678");
        assert_eq!(counted(1, "tensor"), "1 tensor");
        assert_eq!(counted(2000, "tensor"), "2,000 tensors");
    }

    #[test]
    fn shares_keep_three_digits_when_they_are_small() {
        let check = |share, expected: &str| assert_eq!(percent(share), expected);
        check(0.0, "0 %");
        check(0.316, "31.6 %");
        check(0.004_123, "0.412 %");
        check(0.000_041_23, "0.00412 %");
        check(1.0, "100.0 %");
        assert_eq!(share(1, 4), "25.0 %");
        assert_eq!(share(0, 0), "-");
    }

    #[test]
    fn bits_per_weight_say_of_what() {
        assert_eq!(bits_per_weight(Some(4.25), 5.227), "4.25 of the linears, 5.23 of all");
        assert_eq!(bits_per_weight(None, 16.0), "16.00 of all");
    }

    #[test]
    fn durations_change_unit_with_length() {
        let check = |seconds, expected: &str| {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), expected);
        };
        check(1.24, "1.2 s");
        check(200.0, "3 min 20 s");
        check(7503.0, "2 h 5 min");
    }

    #[test]
    fn estimates_have_no_more_digits_than_they_are_good_for() {
        let check = |seconds, expected: &str| assert_eq!(about(seconds), expected);
        check(0.0, "less than a second");
        check(1.4, "about 1 s");
        check(43.0, "about 45 s");
        check(58.0, "about 1 min");
        check(725.0, "about 12 min");
        check(7503.0, "about 2 h 10 min");
        check(7200.0, "about 2 h");
        check(1e6, "about 12 days");
    }

    #[test]
    fn shares_are_fractions_or_per_cent() {
        assert_eq!(fraction("0.4"), Ok(0.4));
        assert_eq!(fraction("40%"), Ok(0.4));
        assert_eq!(fraction("12.5 %"), Ok(0.125));
        assert_eq!(fraction("40").unwrap_err(), "a share is less than 1; `40%` is 0.4");
        for text in ["", "%", "much", "nan", "inf%"] {
            assert_eq!(
                fraction(text).unwrap_err(),
                "expected a share such as 0.4 or 40%",
                "{text}"
            );
        }
    }
}

//! The day that a template may ask for.

use crate::error::TemplateError;
use std::fmt;
use std::str::FromStr;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Python's `strftime` for what a day alone can tell; `None` for another directive.
    pub(super) fn formatted(self, format: &str) -> Option<String> {
        let mut text = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            match character {
                '%' => text.push_str(&self.directive(characters.next()?, &mut characters)?),
                other => text.push(other),
            }
        }
        Some(text)
    }

    fn directive(self, name: char, rest: &mut std::str::Chars<'_>) -> Option<String> {
        let Self { year, month, day } = self;
        let (weekday, name_of_month) = (self.weekday(), MONTHS[usize::from(month) - 1]);
        Some(match name {
            'Y' => format!("{year:04}"),
            'y' => format!("{:02}", year % 100),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'B' => name_of_month.to_owned(),
            'b' | 'h' => name_of_month[..3].to_owned(),
            'A' => weekday.to_owned(),
            'a' => weekday[..3].to_owned(),
            'F' => self.to_string(),
            '-' => self.directive(rest.next()?, rest)?.trim_start_matches(['0', ' ']).to_owned(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    fn weekday(self) -> &'static str {
        // Zeller's congruence: the year begins in March, and Saturday is 0.
        let (month, year) = match self.month {
            1 | 2 => (u32::from(self.month) + 12, u32::from(self.year) - 1),
            month => (u32::from(month), u32::from(self.year)),
        };
        let days = u32::from(self.day) + 13 * (month + 1) / 5 + year + year / 4 - year / 100;
        WEEKDAYS[((days + year / 400) % 7) as usize]
    }
}

impl FromStr for Date {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError::Date { text: text.to_owned() };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(wrong()) };
        if !digits || (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return Err(wrong());
        }
        let parsed = (year.parse::<u16>(), month.parse::<u8>(), day.parse::<u8>());
        let (Ok(year), Ok(month), Ok(day)) = parsed else { return Err(wrong()) };
        let is_real = year > 0 && (1..=12).contains(&month);
        match is_real && (1..=days_of(year, month)).contains(&day) {
            true => Ok(Self { year, month, day }),
            false => Err(wrong()),
        }
    }
}

fn days_of(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[rustfmt::skip]
const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
];

#[rustfmt::skip]
const WEEKDAYS: [&str; 7] =
    ["Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"];

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are Python's.
    fn check(date: &str, format: &str, expected: Option<&str>) {
        let date: Date = date.parse().unwrap();
        assert_eq!(date.formatted(format).as_deref(), expected);
    }

    #[test]
    fn a_day_is_told_as_python_tells_it() {
        check("2024-07-26", "%d %b %Y", Some("26 Jul 2024"));
        check("2000-02-29", "%A, %B %-d, %y%%", Some("Tuesday, February 29, 00%"));
        check("2023-01-01", "%a %e %m %F", Some("Sun  1 01 2023-01-01"));
        check("1999-12-05", "%-d/%-m", Some("5/12"));
    }

    #[test]
    fn a_day_has_no_hour() {
        check("2024-07-26", "%H:%M", None);
        check("2024-07-26", "%", None);
        check("2024-07-26", "%-", None);
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2024",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-1-1",
            "2024-04-31",
            "0000-01-01",
            "2024-01-00",
            "+024-01-01",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }
}

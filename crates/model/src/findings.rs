//! What the checks found so far.

use llmopt_run::Fault;
use serde::Serialize;

/// Faults in the order of the checks, and what was looked at.
#[derive(Debug, Default)]
pub struct Findings {
    faults: Vec<Fault>,
    checked: Vec<Checked>,
}

impl Findings {
    /// Adds a fault. `subject` is a name from a file, and may hold anything.
    pub fn fault(&mut self, code: &'static str, subject: &str, message: impl AsRef<str>) {
        let (subject, message) = (printable(subject), printable(message.as_ref()));
        self.faults.push(Fault { code, subject, message });
    }

    /// Adds what was looked at, unless there was nothing of it.
    pub fn checked(&mut self, what: &'static str, count: usize) {
        if count > 0 {
            self.checked.push(Checked { what, count: count as u64 });
        }
    }
}

impl Findings {
    /// Everything that is wrong, in the order of the checks, and what was looked at.
    pub fn finish(self) -> (Vec<Fault>, Vec<Checked>) {
        (self.faults, self.checked)
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// What, in the plural: `files hashed`, `matrices decoded`.
    pub what: &'static str,
    /// How many.
    pub count: u64,
}

/// Text from a file, so that it neither steers a terminal nor fills it.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for char in text.chars().take(LONGEST) {
        if char.is_control() && char != '\n' {
            printable.extend(char.escape_debug());
        } else {
            printable.push(char);
        }
    }
    printable
}

/// Characters of the longest message: several names and a few sentences.
const LONGEST: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_cannot_steer_a_terminal() {
        let mut findings = Findings::default();
        findings.fault("files", "a\u{1b}[2J", "b".repeat(5000));
        let (faults, _) = findings.finish();
        assert_eq!(faults[0].subject, r"a\u{1b}[2J");
        assert_eq!(faults[0].message.len(), 2000);
    }
}

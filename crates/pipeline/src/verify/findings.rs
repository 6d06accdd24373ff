//! What the checks found so far.

use super::{Checked, Fault, Verification};

/// Faults in the order of the checks, and what was looked at.
#[derive(Debug, Default)]
pub(super) struct Findings {
    faults: Vec<Fault>,
    checked: Vec<Checked>,
}

impl Findings {
    /// Adds a fault. `subject` is a name from a file, and may hold anything.
    pub(super) fn fault(&mut self, code: &'static str, subject: &str, message: impl AsRef<str>) {
        let (subject, message) = (printable(subject), printable(message.as_ref()));
        self.faults.push(Fault { code, subject, message });
    }

    /// Adds what was looked at, unless there was nothing of it.
    pub(super) fn checked(&mut self, what: &'static str, count: usize) {
        if count > 0 {
            self.checked.push(Checked { what, count: count as u64 });
        }
    }
}

impl From<Findings> for Verification {
    fn from(findings: Findings) -> Self {
        Self { faults: findings.faults, checked: findings.checked }
    }
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
        let Verification { faults, .. } = findings.into();
        assert_eq!(faults[0].subject, r"a\u{1b}[2J");
        assert_eq!(faults[0].message.len(), 2000);
    }
}

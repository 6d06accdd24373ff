//! What a job on GitHub shows of an evaluation: annotations, as lines that its runner reads from standard
//! error, and the Markdown report as the job's summary.

use super::{gates, markdown};
use crate::failure::Failure;
use crate::print;
use llmopt_pipeline::{Evaluation, Outcome, Verdict, append_file};
use std::ffi::OsString;
use std::path::PathBuf;

/// Shows an evaluation in the job that this is run by, if it is one: called when all files are written.
///
/// # Errors
/// If the summary cannot be written; annotations were printed then.
pub(crate) fn show(evaluation: &Evaluation) -> Result<(), Failure> {
    Job::of(|name| std::env::var_os(name)).map_or(Ok(()), |job| job.show(evaluation))
}

/// A job.
struct Job {
    /// The file that its summary is added to.
    summary: Option<PathBuf>,
}

impl Job {
    /// The one that the variables of an environment tell of.
    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        variable("GITHUB_ACTIONS").filter(|value| value == "true")?;
        let summary = variable("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        Some(Self { summary: summary.map(PathBuf::from) })
    }

    /// Shows the gates and the report. Standard output stays as it is.
    fn show(&self, evaluation: &Evaluation) -> Result<(), Failure> {
        annotations(evaluation).iter().for_each(|line| print::say(line));
        let Some(path) = &self.summary else { return Ok(()) };
        let report = format!("{}\n", markdown::markdown(evaluation));
        append_file(path, report.as_bytes())
            .map_err(|error| llmopt_pipeline::Error::from(error).into())
    }
}

/// An error for each missed gate, a warning for each that counts as passed unsurely, and a notice where there
/// is neither.
fn annotations(evaluation: &Evaluation) -> Vec<String> {
    let command = |gate: &Outcome| match (gate.passed, gate.verdict) {
        (false, _) => Some("error"),
        (true, Verdict::Unsure) => Some("warning"),
        _ => None,
    };
    let line = |command: &str, of: &str, message: &str| {
        format!("::{command} title={}::{}", property(&format!("llmopt: {of}")), data(message))
    };
    let of_gate = |gate: &Outcome| Some(line(command(gate)?, &gate.gate, &gates::in_a_line(gate)));
    let mut told: Vec<String> = evaluation.gates.iter().filter_map(of_gate).collect();
    if told.is_empty() {
        let verdict = gates::verdict(evaluation);
        told.extend(verdict.map(|verdict| line("notice", &evaluation.artifact.name, &verdict)));
    }
    told
}

/// What stands after the second pair of colons, as runners read it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What stands after a name and `=`.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_job_is_one_that_says_so() {
        let job = |of: &str, summary: &str| {
            Job::of(|name| match name {
                "GITHUB_ACTIONS" => Some(of.into()),
                "GITHUB_STEP_SUMMARY" => Some(summary.into()),
                _ => None,
            })
        };
        assert!(job("false", "a").is_none() && job("", "a").is_none());
        assert!(Job::of(|_| None).is_none());
        let summary = |path| job("true", path).and_then(|job| job.summary);
        assert_eq!((summary("a/b"), summary("")), (Some("a/b".into()), None));
    }

    #[test]
    fn gates_become_annotations() {
        let mut evaluation = sample::comparison();
        let missed = "::error title=llmopt%3A top1 >= 97%25::top1 is 95.2 %25 (95 %25 interval 94.9 %25 \
                      to 95.5 %25), limit 97.0 %25; too little by 1.8 points";
        assert_eq!(annotations(&evaluation), [missed]);
        evaluation.gates.retain(|gate| gate.passed);
        evaluation.artifact.name = "a,b\n::error::".to_owned();
        let notice = "::notice title=llmopt%3A a%2Cb%0A%3A%3Aerror%3A%3A::all 2 gates passed";
        assert_eq!(annotations(&evaluation), [notice]);
        evaluation.gates[0].verdict = Verdict::Unsure;
        let warned = annotations(&evaluation);
        assert!(
            warned.len() == 1 && warned[0].starts_with("::warning title=llmopt%3A kld <= 0.03::")
        );
        evaluation.gates.clear();
        assert!(annotations(&evaluation).is_empty());
    }
}

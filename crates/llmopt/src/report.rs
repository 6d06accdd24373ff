//! Reports of an evaluation: JSON, Markdown, HTML, JUnit XML and the terminal's table, all from the one
//! structure; those of a ladder, of mixed precision and of a bench likewise. They choose what to show; none computes a metric.

mod bench;
pub(crate) mod card;
mod escape;
mod figures;
mod file_of;
mod gates;
pub(crate) mod github;
mod html;
mod junit;
mod kinds;
mod ladder;
mod markdown;
mod mixed;
mod numbers;
#[cfg(test)]
mod sample;
mod table;

pub(crate) use bench::{bench, bench_file};
pub(crate) use file_of::{FileOf, pending, publish};
pub(crate) use gates::missed;
pub(crate) use ladder::{group_size, judged_on, ladder, ladder_file};
pub(crate) use mixed::{goal, mixed, mixed_facts, mixed_file};
pub(crate) use table::table;

use crate::failure::{Failure, Refusal};
use crate::print;
use llmopt_pipeline::{Evaluation, PendingFile};
use std::path::{Path, PathBuf};

/// A file that a report goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportFile {
    path: PathBuf,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Markdown,
    Html,
    Junit,
}

impl ReportFile {
    /// Refuses what could not be written when the work is done.
    pub(crate) fn new(path: &Path) -> Result<Self, Refusal> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let form = match ending {
            Some("json") => Form::Json,
            Some("md") => Form::Markdown,
            Some("html") => Form::Html,
            Some("xml") => Form::Junit,
            _ => {
                return Err(Refusal::new(
                    format!("`--report {}` ends in no kind of report", path.display()),
                    "reports end in `.json`, `.md`, `.html` or `.xml` (JUnit)",
                ));
            }
        };
        crate::request::folder_of("--report", path)?;
        Ok(Self { path: path.to_owned(), form })
    }

    /// Makes sure that it can be written, before the work.
    pub(crate) fn pending(self) -> Result<PendingReport, Failure> {
        Ok(PendingReport { file: pending(&self.path)?, form: self.form })
    }
}

/// A report that can be written.
pub(crate) struct PendingReport {
    file: PendingFile,
    form: Form,
}

impl PendingReport {
    /// Writes it.
    pub(crate) fn publish(self, evaluation: &Evaluation) -> Result<(), Failure> {
        let text = match self.form {
            Form::Json => print::document(evaluation)?,
            Form::Markdown => markdown::markdown(evaluation),
            Form::Html => html::page(evaluation),
            Form::Junit => junit::junit(evaluation),
        };
        publish(self.file, &text)
    }
}

/// `artifact against reference`, or the name alone.
fn title(evaluation: &Evaluation) -> String {
    let artifact = &evaluation.artifact.name;
    match &evaluation.reference {
        Some(reference) => format!("{artifact} against {}", reference.name),
        None => artifact.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_which_report() {
        let form = |path: &str| ReportFile::new(Path::new(path)).map(|file| file.form).ok();
        assert_eq!(form("a.json"), Some(Form::Json));
        assert_eq!(form("b.md"), Some(Form::Markdown));
        assert_eq!(form("c.html"), Some(Form::Html));
        assert_eq!(form("d.xml"), Some(Form::Junit));
        assert_eq!(form("d.pdf"), None);
        assert_eq!(form("html"), None);
        assert_eq!(form("no such folder/e.md"), None);
    }
}

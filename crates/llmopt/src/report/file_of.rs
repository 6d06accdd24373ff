//! A file that a report goes to, in the form that its ending says.

use crate::failure::{Failure, Refusal};
use llmopt_pipeline::PendingFile;
use std::path::{Path, PathBuf};

/// How a report becomes the text of a file.
type Written<T> = fn(&T) -> Result<String, Failure>;

/// A file that reports of one kind go to.
pub(crate) struct FileOf<T> {
    path: PathBuf,
    written: Written<T>,
}

/// Such a file that can be written.
pub(crate) struct PendingFileOf<T> {
    file: PendingFile,
    written: Written<T>,
}

impl<T> FileOf<T> {
    /// Refuses what could not be written when the work is done: `forms` are the endings that there are, and `kind` says
    /// of what the report is.
    pub(crate) fn new(
        path: &Path,
        kind: &str,
        forms: &[(&str, Written<T>)],
    ) -> Result<Self, Refusal> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let Some((_, written)) = forms.iter().find(|(name, _)| Some(*name) == ending) else {
            let mut names: Vec<String> =
                forms.iter().map(|(name, _)| format!("`.{name}`")).collect();
            let last = names.pop().unwrap_or_default();
            return Err(Refusal::new(
                format!("`--report {}` ends in no kind of report {kind}", path.display()),
                format!("they end in {} or {last}", names.join(", ")),
            ));
        };
        crate::request::folder_of("--report", path)?;
        Ok(Self { path: path.to_owned(), written: *written })
    }

    /// Makes sure that it can be written, before the work.
    pub(crate) fn pending(self) -> Result<PendingFileOf<T>, Failure> {
        Ok(PendingFileOf { file: pending(&self.path)?, written: self.written })
    }
}

impl<T> PendingFileOf<T> {
    /// Writes it.
    pub(crate) fn publish(self, report: &T) -> Result<(), Failure> {
        publish(self.file, &(self.written)(report)?)
    }
}

/// A file that can be written, before the work whose result it will hold.
pub(crate) fn pending(path: &Path) -> Result<PendingFile, Failure> {
    PendingFile::create(path).map_err(|error| llmopt_pipeline::Error::from(error).into())
}

/// Gives a file its content.
pub(crate) fn publish(file: PendingFile, text: &str) -> Result<(), Failure> {
    file.publish(text.as_bytes()).map_err(|error| llmopt_pipeline::Error::from(error).into())
}

//! Outputs that compete for one name: begun together, written, and one of them published.

use llmopt_checkpoint::{Output as Staged, OutputOptions};
use llmopt_run::Error;
use std::path::{Path, PathBuf};

/// Outputs in their staging folders, the one whose name all compete for first.
pub struct Candidates(Vec<Staged>);

/// Candidates of which one is complete.
pub struct Written<R> {
    /// Its number.
    pub best: usize,
    /// The files that it consists of.
    pub names: Vec<String>,
    /// What is told of it.
    pub report: R,
}

impl Candidates {
    /// Begins them. What an interrupted run has left of candidates for `output` of other `names` goes.
    ///
    /// # Errors
    /// If one of them exists, or is in use.
    pub fn begin<'a>(
        output: &Path,
        candidates: impl Iterator<Item = (&'a Path, OutputOptions<'a>)>,
        names: impl Iterator<Item = String>,
    ) -> Result<Self, Error> {
        let begun = candidates.map(|(path, options)| Ok(Staged::begin(path, options)?));
        let staged = begun.collect::<Result<Vec<Staged>, Error>>()?;
        for target in names.map(|name| beside_name(output, &name)) {
            if staged.iter().all(|staged| !staged.is_for(&target)) {
                Staged::discard_left(&target)?;
            }
        }
        Ok(Self(staged))
    }

    /// Has them written, and gives the best its name. After an interruption or a failure of the system all
    /// stay for the next attempt; after any other error none does.
    ///
    /// # Errors
    /// Those of `write`; [`Error::Paused`] if it was interrupted.
    pub fn published<R>(
        self,
        write: impl FnOnce(&[Staged]) -> Result<Written<R>, Error>,
    ) -> Result<R, Error> {
        match write(&self.0) {
            Ok(Written { best, names, report }) => {
                self.chosen(best)?.publish(&names)?;
                Ok(report)
            }
            Err(Error::Interrupted) => Err(Error::Paused),
            Err(error) if error.is_resumable() => Err(error),
            Err(error) => {
                self.0.into_iter().try_for_each(Staged::discard)?;
                Err(error)
            }
        }
    }

    /// The first with the content of the best. The others are discarded.
    fn chosen(self, best: usize) -> Result<Staged, Error> {
        let Self(mut staged) = self;
        let chosen = staged.swap_remove(best);
        let chosen = match staged.first() {
            // The first went last when another one was taken from its place.
            Some(_) if best > 0 => staged.remove(0).with_content_of(chosen)?,
            _ => chosen,
        };
        staged.into_iter().try_for_each(Staged::discard)?;
        Ok(chosen)
    }
}

/// A name, which nobody would give, for what is written while `output` is made, and does not stay.
pub fn beside_name(output: &Path, what: &str) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".candidate-{what}"));
    // A folder, as calibrated artifacts are.
    output.with_file_name(name).join("")
}

/// What an attempt with other options loses.
pub const BEGUN_ANEW: &str = "an interrupted run with other options, another version, or on other files \
                                     has left work here that cannot be used: it is begun anew";

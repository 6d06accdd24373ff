//! Statistics files in place of data: what `quantize` goes by without running the model.

use crate::calibration::statistics::file::StatisticsFile;
use crate::calibration::statistics::identity::ModelIdentity;
use crate::method::Method;
use crate::recipe::{Calibrate, Recipe};
use llmopt_calib::{InputSite, Needs, Observation};
use llmopt_data::{
    CalibrationFacts, CalibrationRequest, CalibrationSource, StatisticsFacts, is_statistics_file,
};
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_scheme::Granularity;
use std::path::{Path, PathBuf};

/// Files whose sums add up.
#[derive(Debug)]
pub(crate) struct Saved {
    files: Vec<StatisticsFile>,
}

impl Saved {
    /// The files that are asked for, if it is statistics that are.
    ///
    /// # Errors
    /// If some of the sources are data, or a file is not sound.
    pub(crate) fn open(request: &CalibrationRequest) -> Result<Option<Self>, Error> {
        let (saved, data): (Vec<_>, Vec<_>) =
            request.sources.iter().partition(|source| path(source).is_some());
        match (saved.first(), data.first()) {
            (None, _) => Ok(None),
            (Some(_), None) => {
                request.check()?;
                check(request)?;
                let paths: Vec<PathBuf> =
                    saved.into_iter().filter_map(path).map(Path::to_owned).collect();
                Self::of(&paths).map(Some)
            }
            (Some(saved), Some(data)) => Err(Error::RefusedWithHint {
                what: format!(
                    "`{}` holds statistics and `{}` is data: they do not mix",
                    saved.name(),
                    data.name()
                ),
                hint: "`llmopt calibrate` makes statistics of data, which add up with others"
                    .to_owned(),
            }),
        }
    }

    /// These files.
    pub(in crate::calibration) fn of(paths: &[PathBuf]) -> Result<Self, Error> {
        let open = |path: &PathBuf| StatisticsFile::open(path);
        Ok(Self { files: paths.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// Refuses statistics of another model.
    pub(crate) fn check_model(&self, model: &Variant) -> Result<(), Error> {
        if self.files.is_empty() {
            return Ok(());
        }
        self.check_identity(&ModelIdentity::of(model)?)
    }

    pub(super) fn check_identity(&self, model: &ModelIdentity) -> Result<(), Error> {
        let other = self.files.iter().find(|file| file.model().sha256 != model.sha256);
        match other {
            None => Ok(()),
            Some(file) => Err(Error::RefusedWithHint {
                what: format!(
                    "`{}` holds statistics of {}, not of {}",
                    file.name,
                    file.model().shown(),
                    model.shown()
                ),
                hint: "`llmopt calibrate` makes statistics of this model".to_owned(),
            }),
        }
    }

    /// Every file.
    pub(super) fn files(&self) -> &[StatisticsFile] {
        &self.files
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether all of them have Gram matrices.
    pub(crate) fn has_grams(&self) -> bool {
        self.files.iter().all(|file| file.gram)
    }

    /// Whether they have what all weights of a site read.
    pub(crate) fn holds(&self, site: &InputSite) -> bool {
        self.files.iter().all(|file| file.holds(site))
    }

    /// What a site has seen in all files.
    pub(crate) fn observation(&self, site: &InputSite, needs: Needs) -> Result<Observation, Error> {
        let mut sum = Observation::new(site.extent, Needs { gram: needs.gram, ..Needs::default() });
        self.add_to(&mut sum, site, needs.gram)?;
        Ok(sum)
    }

    /// Adds what a site has seen in all files.
    pub(super) fn add_to(
        &self,
        sum: &mut Observation,
        site: &InputSite,
        gram: bool,
    ) -> Result<(), Error> {
        self.files.iter().try_for_each(|file| {
            sum.merge(&file.read(site, gram)?);
            Ok(())
        })
    }

    /// What was observed, over all files and the runs that each has.
    pub(crate) fn facts(&self) -> CalibrationFacts {
        let runs = || self.files.iter().flat_map(|file| &file.described.runs);
        CalibrationFacts {
            window: runs().map(|run| run.data.window).max().unwrap_or(0),
            windows: runs().fold(0, |sum, run| sum.saturating_add(run.data.windows)),
            sources: runs().flat_map(|run| run.data.sources.iter().cloned()).collect(),
            notes: runs().flat_map(|run| run.data.notes.iter().cloned()).collect(),
            statistics: self.files.iter().map(facts).collect(),
        }
    }
}

fn facts(file: &StatisticsFile) -> StatisticsFacts {
    StatisticsFacts { name: file.name.clone(), sha256: file.sha256(), gram: file.gram }
}

/// The path of a source that is a statistics file.
fn path(source: &CalibrationSource) -> Option<&Path> {
    match source {
        CalibrationSource::File { path, .. } => {
            Some(&**path).filter(|path| is_statistics_file(path))
        }
        CalibrationSource::Builtin { .. } | CalibrationSource::SelfDrawn { .. } => None,
    }
}

/// Whether nothing is asked for that only data have.
fn check(request: &CalibrationRequest) -> Result<(), Error> {
    let refused =
        |what: String, hint: &str| Err(Error::RefusedWithHint { what, hint: hint.to_owned() });
    if let Some(source) = request.sources.iter().find(|source| source.weight() != 1.0) {
        return refused(
            format!("`{}` holds statistics, which have no weight: they add up", source.name()),
            "leave the number behind the colon out",
        );
    }
    let usual = CalibrationRequest::new(Vec::new());
    let requested = [
        ("--samples", request.samples != usual.samples),
        ("--window", request.window != usual.window),
        ("--bos", request.bos != usual.bos),
        ("--date", request.date != usual.date),
        ("--seed", request.seed != usual.seed),
    ];
    match requested.into_iter().find(|(_, requested)| *requested) {
        Some((option, _)) => refused(
            format!("`{option}` does nothing with statistics, whose data are chosen already"),
            "`llmopt calibrate` takes it",
        ),
        None => Ok(()),
    }
}

/// The recipe with what follows from statistics: they suffice for some methods, and `auto` is the best
/// of those, since there are no windows to judge by.
///
/// # Errors
/// If the method needs what they do not have.
pub(crate) fn resolved(recipe: &Recipe) -> Result<Recipe, Error> {
    let Some(requested) = &recipe.calibrate else { return Ok(recipe.clone()) };
    let Some(saved) = Saved::open(&requested.data)? else { return Ok(recipe.clone()) };
    let rows_share = matches!(recipe.scheme.granularity, Granularity::Block { .. });
    let method = match recipe.method {
        Method::Auto if saved.has_grams() && !rows_share => Method::OF_GRAMS,
        Method::Auto => Method::Search,
        method => method,
    };
    let needs = method.needs();
    if needs.cross {
        return Err(Error::RefusedWithHint {
            what: format!(
                "`--method {method}` compares the model as it is rewritten with the original, which \
                 statistics cannot show"
            ),
            hint: "give data with `--calibrate`; with statistics there are `search`, `gptq` and \
                   `gptq+cd`"
                .to_owned(),
        });
    }
    if let (true, Some(file)) = (needs.gram, saved.files.iter().find(|file| !file.gram)) {
        return Err(Error::RefusedWithHint {
            what: format!("`--method {method}` needs Gram matrices, and `{}` has none", file.name),
            hint: "`llmopt calibrate --gram` keeps them; `--method search` does without".to_owned(),
        });
    }
    if !requested.sequential {
        return Err(Error::RefusedWithHint {
            what: "`--whole-block` does nothing with statistics, which were taken so".to_owned(),
            hint: "leave it out".to_owned(),
        });
    }
    let calibrate = Calibrate { sequential: false, held_out: false, ..requested.clone() };
    Ok(Recipe { method, calibrate: Some(calibrate), ..recipe.clone() })
}

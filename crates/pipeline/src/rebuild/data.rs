//! Where the data lie that commands observed the model on. A record has their names alone.

use crate::rebuild::RebuildRequest;
use crate::rebuild::steps::{Recipe, Step};
use crate::recipe::Calibrate;
use llmopt_data::CalibrationSource;
use llmopt_run::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files of a command's data, by their recorded names.
#[derive(Clone, Debug, Default)]
pub(super) struct Found(BTreeMap<String, PathBuf>);

impl Found {
    /// Says where the data lie.
    pub(super) fn put_into(&self, calibrate: &mut Calibrate) {
        for source in &mut calibrate.data.sources {
            let place = self.0.get(&source.name()).cloned();
            if let (CalibrationSource::File { path, .. }, Some(place)) = (source, place) {
                *path = place;
            }
        }
    }
}

/// Finds the data of each step: among the files that were given, by name; in the current folder; beside the model,
/// or in its folder. What was given and has another name than any is taken for what is missing, in order.
///
/// # Errors
/// If a file is missing, or one that was given is of no use.
pub(super) fn found(steps: &[Step], request: &RebuildRequest) -> Result<Vec<Found>, Error> {
    let mut given: Vec<Option<&PathBuf>> = request.data.iter().map(Some).collect();
    let mut known: BTreeMap<String, PathBuf> = BTreeMap::new();
    let names: Vec<Vec<String>> = steps.iter().map(names).collect();
    for name in names.iter().flatten() {
        let same = |path: &PathBuf| path.file_name().is_some_and(|file| file == name.as_str());
        if let Some(place) = given.iter_mut().find(|path| path.is_some_and(same)) {
            known.extend(place.take().map(|path| (name.clone(), path.clone())));
        }
    }
    for name in names.iter().flatten() {
        if known.contains_key(name) {
            continue;
        }
        let place = lying_about(name, &request.model)
            .or_else(|| given.iter_mut().find_map(Option::take).cloned());
        match place {
            Some(path) => known.insert(name.clone(), path),
            None => return Err(missing(name, &request.model)),
        };
    }
    if let Some(path) = given.into_iter().flatten().next() {
        return Err(Error::RefusedWithHint {
            what: format!("`--data {}` would do nothing here", path.display()),
            hint: match names.iter().flatten().next() {
                None => "the record tells of no file of data: leave it out".to_owned(),
                Some(_) => format!(
                    "the record tells of {}, which there are already: leave it out",
                    quoted(names.iter().flatten())
                ),
            },
        });
    }
    let of_step = |names: &Vec<String>| {
        let places = names.iter().filter_map(|name| Some((name.clone(), known.get(name)?.clone())));
        Found(places.collect())
    };
    Ok(names.iter().map(of_step).collect())
}

/// The names of the files that a step read as data.
fn names(step: &Step) -> Vec<String> {
    let calibrate = match &step.recipe {
        Recipe::Quantize(recipe) => recipe.calibrate.as_ref(),
        Recipe::Prune(recipe) => Some(&recipe.calibrate),
    };
    // Where nothing was observed, nothing is read.
    let calibrate = calibrate.filter(|_| step.calibration.is_some());
    let sources = calibrate.into_iter().flat_map(|calibrate| &calibrate.data.sources);
    let files = sources.filter(|source| matches!(source, CalibrationSource::File { .. }));
    files.map(CalibrationSource::name).collect()
}

/// A file of this name in the current folder, in the model's, or beside that.
fn lying_about(name: &str, model: &Path) -> Option<PathBuf> {
    // A record is a stranger's: a name leads nowhere else.
    if Path::new(name).file_name().is_none_or(|file| file != name) {
        return None;
    }
    let folder = std::path::absolute(model).ok()?;
    let beside = folder.parent().map(Path::to_owned);
    let folders = [Some(PathBuf::new()), Some(folder), beside].into_iter().flatten();
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn missing(name: &str, model: &Path) -> Error {
    Error::RefusedWithHint {
        what: format!(
            "`{name}`, on which the model was observed, lies neither in the current folder nor beside `{}`",
            model.display()
        ),
        hint: "`--data FILE` says where it is".to_owned(),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

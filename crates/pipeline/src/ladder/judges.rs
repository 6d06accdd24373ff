//! The windows that judge all rungs: of a text that is given, or such as no rung is fitted to.

use llmopt_checkpoint::sha256_file;
use llmopt_data::{
    CalibrationFacts, CalibrationRequest, CalibrationSet, CalibrationSource, Texts,
    beside_held_out, file_name, held_out,
};
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_text::Windows;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// What rungs were judged on. Nothing was fitted to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgedText {
    /// The name of the file, `builtin`, or the names of the calibration data that the windows were held out of.
    pub name: String,
    /// The hash of the file, if a text was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether the windows were held out of the calibration data.
    pub held_out: bool,
    /// Windows.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
}

/// Windows, and what they are.
pub(crate) struct Judges {
    pub(crate) windows: Vec<Vec<u32>>,
    pub(crate) text: JudgedText,
}

impl Judges {
    fn new(name: String, held_out: bool, windows: Vec<Vec<u32>>) -> Self {
        let window = windows.first().map_or(0, Vec::len);
        let text = JudgedText { name, sha256: None, held_out, windows: windows.len(), window };
        Self { windows, text }
    }

    /// The first `samples` windows of the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or is shorter than a window.
    pub(crate) fn of_file(path: &Path, texts: &Texts<'_>, samples: usize) -> Result<Self, Error> {
        let Windows { windows, .. } = texts.windows(path, Some(samples))?;
        let judges = Self::new(file_name(path), false, windows);
        let sha256 = Some(sha256_file(path)?);
        Ok(Self { text: JudgedText { sha256, ..judges.text }, ..judges })
    }

    /// Windows of the calibration data of `request` that are taken beside those that are asked for, and what is
    /// left to fit to: where the data have no more, some of those judge.
    ///
    /// # Errors
    /// If the data cannot be read, or are too short for both.
    pub(crate) fn of_calibration(
        request: &CalibrationRequest,
        model: &Variant,
    ) -> Result<(Self, CalibrationRequest), Error> {
        let with = |samples| CalibrationRequest { samples, ..request.clone() };
        let wanted = beside_held_out(request.samples);
        let all = CalibrationSet::read(&with(wanted), model)?;
        let fitted = match all.windows() {
            there if there == wanted => request.samples,
            there => there - held_out(there),
        };
        let fit = with(fitted);
        let fitted = CalibrationSet::read(&fit, model)?.mixed(Vec::new()).0;
        let fitted: BTreeSet<Vec<u32>> = fitted.into_iter().collect();
        let windows = all.mixed(Vec::new()).0.into_iter();
        let windows: Vec<Vec<u32>> = windows.filter(|window| !fitted.contains(window)).collect();
        if windows.is_empty() {
            return Err(too_short("the calibration data have"));
        }
        let names: Vec<String> = request.sources.iter().map(CalibrationSource::name).collect();
        Ok((Self::new(names.join(", "), true, windows), fit))
    }

    /// The last windows of the text that comes with the program, as many as would be held out of `samples`.
    ///
    /// # Errors
    /// If there is no tokenizer to cut it, or statistics were taken on nearly all of it.
    pub(crate) fn of_builtin(
        texts: &Texts<'_>,
        samples: usize,
        observed: Option<&CalibrationFacts>,
    ) -> Result<Self, Error> {
        let Windows { mut windows, .. } = texts.builtin(None)?;
        let sources = observed.iter().flat_map(|facts| &facts.sources);
        let used: usize = sources
            .filter(|source| source.name == BUILTIN)
            .fold(0, |used, source| used.saturating_add(source.windows));
        let longest = observed.map_or(0, |facts| facts.window);
        let used = used.saturating_mul(longest).div_ceil(texts.window().max(1));
        let free = windows.len().saturating_sub(used);
        let wanted = (beside_held_out(samples) - samples).min(free);
        if wanted == 0 {
            return Err(too_short("the built-in text has"));
        }
        let judges = windows.split_off(windows.len() - wanted);
        Ok(Self::new(BUILTIN.to_owned(), false, judges))
    }
}

fn too_short(what: &str) -> Error {
    Error::RefusedWithHint {
        what: format!("{what} no window that nothing is fitted to, and rungs are judged on such"),
        hint: "`--text FILE` gives a text to judge by; a shorter `--window` makes more windows"
            .to_owned(),
    }
}

const BUILTIN: &str = "builtin";

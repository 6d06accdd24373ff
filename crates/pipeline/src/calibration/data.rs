//! Calibration data: which windows of tokens a model is observed on.
//!
//! Every source gives its part of the windows: files from their start, in order and without overlap,
//! and the model itself what is drawn from it. Files are read with the plan; what is drawn comes when
//! the run begins.

use super::own::{Own, SWEEPS};
use super::source::CalibrationSource;
use crate::Error;
use crate::texts::Texts;
use crate::variant::Variant;
use llmopt_checkpoint::Sha256;
use llmopt_text::{Bos, Date, Supply, Windows, interleaved, shares};
use serde::Serialize;

/// What to calibrate on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CalibrationRequest {
    /// Where windows come from.
    pub sources: Vec<CalibrationSource>,
    /// How many windows.
    pub samples: usize,
    /// Tokens of a window; 2048, or the model's context where that is shorter, if there is none.
    pub window: Option<usize>,
    /// Whether windows begin with the token that begins a text.
    pub bos: bool,
    /// The day that a chat template may ask for.
    #[serde(serialize_with = "date")]
    pub date: Option<Date>,
    /// What decides the tokens that are drawn.
    pub seed: u64,
}

/// What was calibrated on: enough to find the same windows again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CalibrationFacts {
    /// Tokens of a window.
    pub window: usize,
    /// How many windows.
    pub windows: usize,
    /// Where they come from.
    pub sources: Vec<SourceFacts>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// What one source gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceFacts {
    /// `self`, or the name of the file.
    pub name: String,
    /// Its part of the mix, against the others' weights.
    pub weight: f64,
    /// Tokens of the whole text; none for `self`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_tokens: Option<usize>,
    /// Windows taken.
    pub windows: usize,
    /// The hash of their ids, each of four bytes, the lowest first.
    pub sha256: String,
    /// What decided the draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How often every token was drawn anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweeps: Option<u64>,
}

impl CalibrationRequest {
    /// The usual amount of data from these sources.
    pub fn new(sources: Vec<CalibrationSource>) -> Self {
        Self { sources, samples: 128, window: None, bos: false, date: None, seed: 0 }
    }
}

/// Calibration data of which only the drawn ones are missing.
#[derive(Debug)]
pub(crate) struct CalibrationSet {
    window: usize,
    parts: Vec<Part>,
    notes: Vec<String>,
}

/// What one source gives.
#[derive(Debug)]
struct Part {
    source: CalibrationSource,
    share: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Own(Own),
    Text { windows: Vec<Vec<u32>>, tokens: usize },
}

impl CalibrationSet {
    /// Reads every file, and decides who gives how many windows.
    ///
    /// # Errors
    /// If a source cannot be read, is shorter than a window, or gets no window of the mix.
    pub(crate) fn read(request: &CalibrationRequest, model: &Variant) -> Result<Self, Error> {
        check_sources(&request.sources)?;
        let texts = Texts::new(model, request.window, request.bos, request.date);
        let content = |source: &CalibrationSource| content(source, &texts, request);
        let content = request.sources.iter().map(content).collect::<Result<Vec<_>, _>>()?;
        let mut set = Self { window: texts.window(), parts: Vec::new(), notes: Vec::new() };
        set.notes.extend(texts.note());
        set.mix(request, content)?;
        Ok(set)
    }

    fn mix(&mut self, request: &CalibrationRequest, content: Vec<Content>) -> Result<(), Error> {
        let supply = |(source, content): (&CalibrationSource, &Content)| Supply {
            weight: source.weight(),
            windows: content.windows(),
        };
        let supplies: Vec<Supply> = request.sources.iter().zip(&content).map(supply).collect();
        let endless: Vec<Supply> =
            supplies.iter().map(|supply| Supply { windows: usize::MAX, ..*supply }).collect();
        let wanted = shares(&endless, request.samples);
        let shares = shares(&supplies, request.samples);
        for (((source, content), share), wanted) in
            request.sources.iter().zip(content).zip(shares).zip(wanted)
        {
            if share == 0 {
                return Err(without_share(source, request.samples));
            }
            if content.windows() < wanted {
                self.notes.push(shortfall(source, content.windows(), wanted));
            }
            self.parts.push(Part { source: source.clone(), share, content: content.cut(share) });
        }
        if self.windows() < request.samples {
            self.notes.push(format!(
                "{} windows of {} tokens are all that there is; {} were asked for",
                self.windows(),
                self.window,
                request.samples
            ));
        }
        Ok(())
    }

    /// Tokens of a window.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// How many windows there will be.
    pub(crate) fn windows(&self) -> usize {
        self.parts.iter().map(|part| part.share).sum()
    }

    /// What is to be drawn from the model, if anything.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.parts.iter().find_map(|part| match &part.content {
            Content::Own(own) => Some(own),
            Content::Text { .. } => None,
        })
    }

    /// All windows as the mix orders them ([`interleaved`]), with those that were `drawn`.
    pub(crate) fn finished(self, drawn: Vec<Vec<u32>>) -> (Vec<Vec<u32>>, CalibrationFacts) {
        let shares: Vec<usize> = self.parts.iter().map(|part| part.share).collect();
        let (mut drawn, mut sources, mut windows) = (Some(drawn), Vec::new(), Vec::new());
        for part in self.parts {
            let (found, of_source) = part.finished(&mut drawn);
            sources.push(of_source);
            windows.push(found.into_iter());
        }
        let windows: Vec<Vec<u32>> =
            interleaved(&shares).into_iter().filter_map(|source| windows[source].next()).collect();
        let facts = CalibrationFacts {
            window: self.window,
            windows: windows.len(),
            sources,
            notes: self.notes,
        };
        (windows, facts)
    }
}

impl Content {
    /// Windows that it can give.
    fn windows(&self) -> usize {
        match self {
            Self::Own(_) => usize::MAX,
            Self::Text { windows, .. } => windows.len(),
        }
    }

    /// So many windows of it, and no more.
    fn cut(self, share: usize) -> Self {
        match self {
            Self::Own(own) => Self::Own(Own { windows: share, ..own }),
            Self::Text { mut windows, tokens } => {
                windows.truncate(share);
                Self::Text { windows, tokens }
            }
        }
    }
}

impl Part {
    fn finished(self, drawn: &mut Option<Vec<Vec<u32>>>) -> (Vec<Vec<u32>>, SourceFacts) {
        let (windows, text_tokens, seed) = match self.content {
            Content::Own(own) => (drawn.take().unwrap_or_default(), None, Some(own.seed)),
            Content::Text { windows, tokens } => (windows, Some(tokens), None),
        };
        let facts = SourceFacts {
            name: self.source.name(),
            weight: self.source.weight(),
            text_tokens,
            windows: windows.len(),
            sha256: hash(&windows),
            seed,
            sweeps: seed.map(|_| SWEEPS),
        };
        (windows, facts)
    }
}

fn content(
    source: &CalibrationSource,
    texts: &Texts<'_>,
    request: &CalibrationRequest,
) -> Result<Content, Error> {
    let CalibrationSource::File { path, .. } = source else {
        let options = texts.options(Some(request.samples))?;
        options.check().map_err(|error| crate::tokenizer::failed(error.into()))?;
        let first = match options.bos {
            Bos::None => None,
            Bos::Window(id) => Some(id),
        };
        let (window, windows) = (texts.window(), request.samples);
        return Ok(Content::Own(Own { windows, window, first, seed: request.seed }));
    };
    let Windows { windows, facts } = texts.windows(path, Some(request.samples))?;
    Ok(Content::Text { windows, tokens: facts.text_tokens })
}

fn check_sources(sources: &[CalibrationSource]) -> Result<(), Error> {
    if sources.is_empty() {
        return Err(Error::RefusedWithHint {
            what: "there is nothing to calibrate on".to_owned(),
            hint: "`--calibrate self` needs no data".to_owned(),
        });
    }
    for (number, source) in sources.iter().enumerate() {
        source.check().map_err(|error| Error::Refused(error.to_string()))?;
        if sources[..number].iter().any(|before| before.is_same(source)) {
            return Err(Error::RefusedWithHint {
                what: format!("`{}` is given twice as calibration data", source.name()),
                hint: "a greater weight gives a source more windows".to_owned(),
            });
        }
    }
    Ok(())
}

fn without_share(source: &CalibrationSource, samples: usize) -> Error {
    Error::RefusedWithHint {
        what: format!(
            "`{}`, with weight {}, gets none of the {samples} windows",
            source.name(),
            source.weight()
        ),
        hint: "more `--samples` or a greater weight give it one".to_owned(),
    }
}

fn shortfall(source: &CalibrationSource, there: usize, wanted: usize) -> String {
    format!("`{}` has {there} windows of the {wanted} that are its part", source.name())
}

fn hash(windows: &[Vec<u32>]) -> String {
    let mut hash = Sha256::new();
    for window in windows {
        let bytes: Vec<u8> = window.iter().flat_map(|id| id.to_le_bytes()).collect();
        hash.update(&bytes);
    }
    hash.finish()
}

fn date<S: serde::Serializer>(date: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => serializer.collect_str(date),
        None => serializer.serialize_none(),
    }
}

//! Calibration data: which windows of tokens a model is observed on.
//!
//! Every source gives its part of the windows: texts from their start, in order and without overlap,
//! and the model itself what is drawn from it. Texts are read with the plan; what is drawn comes when
//! the run begins.

#[cfg(test)]
mod tests;

use crate::builtin;
use crate::facts::{CalibrationFacts, SourceFacts, hash};
use crate::request::CalibrationRequest;
use crate::self_generated::{SWEEPS, SelfGenerated};
use crate::source::CalibrationSource;
use crate::texts::Texts;
use crate::tokenizer::failed;
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_sweep::Run;
use llmopt_text::{Bos, Supply, Windows, interleaved, shares};

/// Calibration data of which only the drawn ones are missing.
#[derive(Clone, Debug)]
pub struct CalibrationSet {
    window: usize,
    parts: Vec<Part>,
    notes: Vec<String>,
}

/// What one source gives.
#[derive(Clone, Debug)]
struct Part {
    source: CalibrationSource,
    share: usize,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    SelfGenerated(SelfGenerated),
    Text { windows: Vec<Vec<u32>>, tokens: usize, masked: usize },
}

impl CalibrationSet {
    /// Reads every file, and decides who gives how many windows.
    ///
    /// # Errors
    /// If a source cannot be read, is shorter than a window, or gets no window of the mix.
    pub fn read(request: &CalibrationRequest, model: &Variant) -> Result<Self, Error> {
        request.check()?;
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
                "{} windows of {} tokens are all that there is; {} are wanted",
                self.windows(),
                self.window,
                request.samples
            ));
        }
        Ok(())
    }

    /// Adds something that is to be known of the windows.
    pub fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    /// Tokens of a window.
    pub fn window(&self) -> usize {
        self.window
    }

    /// How many windows there will be.
    pub fn windows(&self) -> usize {
        self.parts.iter().map(|part| part.share).sum()
    }

    /// Windows of the length and number that there will be.
    pub fn placeholders(&self) -> Vec<Vec<u32>> {
        vec![vec![0; self.window]; self.windows()]
    }

    /// What is to be drawn from the model, if anything.
    pub fn self_generated(&self) -> Option<&SelfGenerated> {
        self.parts.iter().find_map(|part| match &part.content {
            Content::SelfGenerated(own) => Some(own),
            Content::Text { .. } => None,
        })
    }

    /// All windows as the mix orders them ([`interleaved`]), after those are drawn that are to be.
    ///
    /// # Errors
    /// If drawing fails.
    pub fn taken(
        self,
        variant: &Variant,
        run: Run<'_>,
    ) -> Result<(Vec<Vec<u32>>, CalibrationFacts), Error> {
        let drawn = self.self_generated().map(|own| own.drawn(variant, run)).transpose()?;
        Ok(self.mixed(drawn.unwrap_or_default()))
    }

    /// All windows as the mix orders them, with those that were `drawn`; without these, what is known
    /// before.
    pub fn mixed(self, drawn: Vec<Vec<u32>>) -> (Vec<Vec<u32>>, CalibrationFacts) {
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
            windows: shares.iter().sum(),
            sources,
            notes: self.notes,
            statistics: Vec::new(),
        };
        (windows, facts)
    }
}

impl Content {
    /// Windows that it can give.
    fn windows(&self) -> usize {
        match self {
            Self::SelfGenerated(_) => usize::MAX,
            Self::Text { windows, .. } => windows.len(),
        }
    }

    /// So many windows of it, and no more.
    fn cut(self, share: usize) -> Self {
        match self {
            Self::SelfGenerated(own) => {
                Self::SelfGenerated(SelfGenerated { windows: share, ..own })
            }
            Self::Text { mut windows, tokens, masked } => {
                windows.truncate(share);
                Self::Text { windows, tokens, masked }
            }
        }
    }
}

impl Part {
    fn finished(self, drawn: &mut Option<Vec<Vec<u32>>>) -> (Vec<Vec<u32>>, SourceFacts) {
        let (windows, text_tokens, masked, seed) = match self.content {
            Content::SelfGenerated(own) => {
                (drawn.take().unwrap_or_default(), None, 0, Some(own.seed))
            }
            Content::Text { windows, tokens, masked } => (windows, Some(tokens), masked, None),
        };
        let is_builtin = matches!(self.source, CalibrationSource::Builtin { .. });
        let facts = SourceFacts {
            name: self.source.name(),
            weight: self.source.weight(),
            text_sha256: is_builtin.then(builtin::sha256),
            text_tokens,
            masked_tokens: Some(masked).filter(|&masked| masked > 0),
            windows: self.share,
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
    let samples = Some(request.samples);
    let Windows { windows, facts, .. } = match source {
        CalibrationSource::SelfDrawn { .. } => return drawn(texts, request),
        CalibrationSource::Builtin { .. } => texts.builtin(samples)?,
        CalibrationSource::File { path, .. } => texts.windows(path, samples)?,
    };
    Ok(Content::Text { windows, tokens: facts.text_tokens, masked: facts.masked_tokens })
}

/// Windows that the run draws from the model.
fn drawn(texts: &Texts<'_>, request: &CalibrationRequest) -> Result<Content, Error> {
    let options = texts.options(Some(request.samples))?;
    options.check().map_err(|error| failed(error.into()))?;
    let first = match options.bos {
        Bos::None => None,
        Bos::Window(id) => Some(id),
    };
    let (window, windows) = (texts.window(), request.samples);
    Ok(Content::SelfGenerated(SelfGenerated { windows, window, first, seed: request.seed }))
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

//! Speculative decoding: tokens that something cheaper proposes, and the model checks in one step
//! (Leviathan, Kalman and Matias 2023; Chen and others 2023).
//!
//! Noise belongs to a position and not to a draw, so a proposal is right where both choose the same token, and
//! what is said is what would be said without a draft, to the token (Daliri, Musco and Suresh 2024). Nothing
//! but time depends on it.

mod model;
mod ngram;
mod pace;

use crate::generation::loaded::{Loaded, cache_bytes, fixed_bytes};
use crate::generation::schedule::Part;
use crate::generation::sequence::Sequence;
use llmopt_data::same_tokenizer;
use llmopt_forward::{Engine, State};
use llmopt_model::Variant;
use llmopt_run::{Error, base_bytes};
use model::ModelDraft;
pub(super) use pace::{MOST as MOST_PROPOSED, Pace, Timed, Totals};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where proposals come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftSource {
    /// A smaller or quantized model with the same tokens.
    Model(PathBuf),
    /// What followed the last time that the same tokens were said: prompt lookup (Saxena 2023).
    Ngram,
}

/// What proposes tokens, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drafting {
    /// Where they come from.
    pub source: DraftSource,
    /// How many at a time, at most [`Drafting::MOST`]; `None` for as many as pay, by what is measured.
    pub length: Option<usize>,
}

impl Drafting {
    /// Tokens proposed at a time at most.
    pub const MOST: usize = pace::MOST;
}

/// A source that is known to go with the model.
pub(super) struct Draft {
    /// None where proposals come from the text.
    variant: Option<Variant>,
    length: Option<usize>,
}

impl Draft {
    /// Opens the source.
    ///
    /// # Errors
    /// If its tokens are not the model's, or positions of either are rotated by the length of the text.
    pub(super) fn open(drafting: &Drafting, model: &Variant) -> Result<Self, Error> {
        let variant = match &drafting.source {
            DraftSource::Ngram => None,
            DraftSource::Model(path) => Some(Variant::open(path)?),
        };
        variant.iter().try_for_each(|draft| check_tokens(draft, model))?;
        [Some(model), variant.as_ref()].into_iter().flatten().try_for_each(check_rotation)?;
        Ok(Self { variant, length: drafting.length })
    }

    /// What decides how many are proposed.
    pub(super) fn pace(&self) -> Pace {
        Pace::new(self.length)
    }

    /// Memory for its weights and a step.
    pub(super) fn fixed_bytes(
        &self,
        engine: &Engine,
        rows: usize,
        sequences: usize,
        threads: usize,
    ) -> Result<u64, Error> {
        let Some(variant) = &self.variant else { return Ok(0) };
        // The program is there once.
        let rows = rows + sequences * model::LAG;
        Ok(fixed_bytes(variant, engine, rows, sequences, threads)? - base_bytes(0, 0))
    }

    /// Memory for what it keeps of a sequence.
    pub(super) fn cache_bytes(&self, tokens: usize) -> u64 {
        self.variant.as_ref().map_or(0, |variant| cache_bytes(variant.program(), tokens))
    }

    /// Reads its weights, if it has any.
    pub(super) fn loaded<'a>(&'a self, engine: &'a Engine) -> Result<Option<Loaded<'a>>, Error> {
        self.variant.as_ref().map(|variant| Loaded::read(variant, engine)).transpose()
    }
}

fn check_rotation(variant: &Variant) -> Result<(), Error> {
    match State::rotated_alike(variant.program()) {
        None => Ok(()),
        Some(_) => Err(Error::RefusedWithHint {
            what: format!(
                "`{}` rotates positions by the length of the text, which proposals change",
                variant.name()
            ),
            hint: "leave `--draft` out".to_owned(),
        }),
    }
}

fn check_tokens(draft: &Variant, model: &Variant) -> Result<(), Error> {
    let sizes = (draft.program().vocabulary, model.program().vocabulary);
    if sizes.0 == sizes.1 && same_tokenizer(draft.source(), model.source())? {
        return Ok(());
    }
    Err(Error::RefusedWithHint {
        what: format!("`{}` and `{}` do not share their tokens", draft.name(), model.name()),
        hint: "a draft is an artifact of the model, or a smaller one of its family".to_owned(),
    })
}

/// Proposes tokens for the sequences that speak.
pub(super) enum Drafter<'a> {
    /// None.
    Off,
    /// By a model in memory.
    Model(ModelDraft<'a>),
    /// From what was said.
    Ngram,
}

impl<'a> Drafter<'a> {
    /// With what decides how many it proposes.
    pub(super) fn with_pace(draft: Option<&Draft>, loaded: Option<&'a Loaded<'a>>) -> (Self, Pace) {
        let drafter = match (draft, loaded) {
            (None, _) => Self::Off,
            (Some(_), Some(loaded)) => Self::Model(ModelDraft::new(loaded)),
            (Some(_), None) => Self::Ngram,
        };
        (drafter, draft.map_or_else(|| Pace::new(None), Draft::pace))
    }

    /// Up to `length` tokens for each part, in their order: none for those that do not speak.
    pub(super) fn proposed(
        &mut self,
        parts: &[Part],
        sequences: &BTreeMap<usize, Sequence>,
        length: usize,
    ) -> Result<Vec<Vec<u32>>, Error> {
        let wanted = |part: &Part| {
            let left = sequences.get(&part.id).map_or(0, Sequence::left);
            if part.speaks() { length.min(left.saturating_sub(1)) } else { 0 }
        };
        let wanted: Vec<usize> = parts.iter().map(wanted).collect();
        match self {
            Self::Off => Ok(vec![Vec::new(); parts.len()]),
            Self::Model(draft) => draft.proposed(parts, sequences, &wanted),
            Self::Ngram => Ok(parts
                .iter()
                .zip(wanted)
                .map(|(part, wanted)| match sequences.get(&part.id) {
                    Some(sequence) if wanted > 0 => ngram::proposed(&sequence.all(), wanted),
                    _ => Vec::new(),
                })
                .collect()),
        }
    }

    /// The sequence at a place has so many tokens computed: what is kept of others no longer holds.
    pub(super) fn truncate(&mut self, place: usize, computed: usize) {
        if let Self::Model(draft) = self {
            draft.truncate(place, computed);
        }
    }

    /// Lets go of what is kept of a sequence; those behind it move up.
    pub(super) fn remove(&mut self, place: usize) {
        if let Self::Model(draft) = self {
            draft.remove(place);
        }
    }
}

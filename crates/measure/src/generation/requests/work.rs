//! From requests to answers, whoever is answered first.

use super::line::Line;
use super::ordered::{Answered, InOrder};
use super::prepare;
use super::response::Responses;
use crate::generation::draft::{Draft, Drafter, Totals};
use crate::generation::loaded::Loaded;
use crate::generation::speak::{Admission, Numbered};
use llmopt_data::Folder;
use llmopt_forward::Engine;
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error};
use llmopt_text::Date;
use std::collections::BTreeMap;

/// Answers under way.
pub(super) struct Work<'m, 'a> {
    variant: &'m Variant,
    folder: &'m Folder,
    responses: Responses,
    answers: InOrder<'a>,
    /// Bytes that are set aside for each answer.
    reserved: BTreeMap<usize, u64>,
}

impl<'m, 'a> Work<'m, 'a> {
    pub(super) fn new(
        variant: &'m Variant,
        folder: &'m Folder,
        responses: Responses,
        answers: InOrder<'a>,
    ) -> Self {
        Self { variant, folder, responses, answers, reserved: BTreeMap::new() }
    }

    /// The prompts of all requests that are not answered yet. Those that have none are refused.
    pub(super) fn prompts(
        &mut self,
        lines: &mut [Line],
        date: Option<Date>,
    ) -> Result<Numbered, Error> {
        let mut prompts = Numbered::new();
        for (number, line) in lines.iter_mut().enumerate().skip(self.answers.next()) {
            match prepare::prompt(line.take_asked(), (self.variant, self.folder), date) {
                Ok(prompt) => {
                    let bytes = prepare::answer_bytes(&prompt);
                    self.reserved.insert(number, bytes);
                    prompts.push((number, bytes, prompt));
                }
                Err(why) => self.put_refusal(number, &why)?,
            }
        }
        Ok(prompts)
    }

    /// Refuses requests with the bounds on memory that they would need.
    pub(super) fn refuse(&mut self, too_large: &[(usize, u64)]) -> Result<(), Error> {
        too_large.iter().try_for_each(|&(number, smallest)| {
            let why = format!(
                "the prompt and the tokens asked for take more memory than there is, expected at least \
                 {smallest} bytes"
            );
            self.put_refusal(number, &why)
        })
    }

    fn put_refusal(&mut self, number: usize, why: &str) -> Result<(), Error> {
        let line = self.responses.refused(number, why);
        self.answers.put(number, line, 0).map(|_| ())
    }

    /// Answers all that were admitted.
    pub(super) fn speak(
        &mut self,
        admission: Admission,
        draft: Option<&Draft>,
        engine: &Engine,
        cancel: &Cancel,
    ) -> Result<Totals, Error> {
        let Self { variant, folder, responses, answers, reserved } = self;
        let loaded = Loaded::read(variant, engine)?;
        let of_draft = draft.map(|draft| draft.loaded(engine)).transpose()?.flatten();
        let drafter = Drafter::with_pace(draft, of_draft.as_ref());
        let spoken = admission.speak(&loaded, drafter, folder, cancel, |number, spoken| {
            let bytes = reserved.get(&number).copied().unwrap_or(0);
            answers.put(number, responses.answered(number, &spoken), bytes)
        });
        spoken.map_err(|error| answers.kept(error))
    }

    /// Gives the output its name.
    pub(super) fn finish(self) -> Result<Answered, Error> {
        self.answers.finish()
    }
}

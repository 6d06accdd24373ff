//! From what came of sequences to numbers: of all texts and questions together, and of each by itself.

use crate::evaluation::judge::Seen;
use crate::evaluation::result::{TaskResult, TextResult};
use crate::evaluation::set::{Key, Set, TaskPart, TextPart};
use llmopt_eval::{
    Accuracy, BlockError, ChoiceComparison, Comparison, Estimate, PairLoss, Question, TokenLoss,
    accuracy, compare, compare_choices, perplexity,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// What came of the sequences of a set.
pub(super) struct Results<'a> {
    pub(super) set: &'a Set,
    pub(super) seen: &'a BTreeMap<Key, Seen>,
    /// Whether there is a reference.
    pub(super) against: bool,
}

/// What was measured on texts.
#[derive(Default)]
pub(super) struct TextFigures {
    pub(super) perplexity: Option<Estimate>,
    pub(super) comparison: Option<Comparison>,
}

/// What was measured on questions.
#[derive(Default)]
pub(super) struct TaskFigures {
    pub(super) accuracy: Option<Accuracy>,
    pub(super) choices: Option<ChoiceComparison>,
}

impl Results<'_> {
    /// All texts together: nothing, if there is none.
    pub(super) fn of_texts(&self) -> TextFigures {
        match self.set.texts.len() {
            0 => TextFigures::default(),
            all => self.of_windows(0..all),
        }
    }

    /// All questions together: nothing, if there are none.
    pub(super) fn of_tasks(&self) -> TaskFigures {
        match self.set.tasks.len() {
            0 => TaskFigures::default(),
            all => self.of_questions(0..all),
        }
    }

    /// Each text by itself, where it has a name.
    pub(super) fn texts(&self) -> Vec<TextResult> {
        let of = |(part, text): (usize, &TextPart)| {
            let TextFigures { perplexity, comparison } = self.of_windows(part..part + 1);
            let (name, protocol) = (text.name.clone()?, text.protocol.clone());
            Some(TextResult { name, protocol, perplexity, comparison })
        };
        self.set.texts.iter().enumerate().filter_map(of).collect()
    }

    /// The questions of each file by themselves, where they have a name.
    pub(super) fn tasks(&self) -> Vec<TaskResult> {
        let of = |(part, tasks): (usize, &TaskPart)| {
            let TaskFigures { accuracy, choices } = self.of_questions(part..part + 1);
            let (name, protocol) = (tasks.name.clone()?, tasks.protocol.clone());
            Some(TaskResult { name, protocol, accuracy, choices })
        };
        self.set.tasks.iter().enumerate().filter_map(of).collect()
    }

    /// Distances of hidden states after each layer, over all sequences; and those that each layer adds,
    /// over the sequences of the first batch of all.
    pub(super) fn blocks(&self, first_batch: Range<usize>) -> Vec<(BlockError, BlockError)> {
        let seen: Vec<&Seen> = self.seen.values().collect();
        let layers = seen.first().map_or(0, |seen| seen.after.len());
        let sum = |of: &[&Seen], layer: &dyn Fn(&Seen) -> Option<BlockError>| {
            let mut sum = BlockError::default();
            of.iter().filter_map(|seen| layer(seen)).for_each(|error| sum.merge(&error));
            sum
        };
        let first = &seen[first_batch.start.min(seen.len())..first_batch.end.min(seen.len())];
        let of = |layer: usize| {
            let after = sum(&seen, &|seen| seen.after.get(layer).copied());
            (after, sum(first, &|seen| seen.added.get(layer).copied()))
        };
        (0..layers).map(of).collect()
    }

    fn of_windows(&self, parts: Range<usize>) -> TextFigures {
        let seen = self.seen.range((parts.start, 0)..(parts.end, 0)).map(|(_, seen)| &seen.losses);
        if self.against {
            let windows: Vec<&[PairLoss]> = seen.map(|found| found.against()).collect();
            let comparison = compare(&windows);
            return TextFigures {
                perplexity: Some(comparison.perplexity),
                comparison: Some(comparison),
            };
        }
        let windows: Vec<&[TokenLoss]> = seen.map(|found| found.alone()).collect();
        TextFigures { perplexity: Some(perplexity(&windows)), comparison: None }
    }

    fn of_questions(&self, tasks: Range<usize>) -> TaskFigures {
        let answered = |nll: &dyn Fn(&Seen) -> f64| -> Vec<Question> {
            let of = |number: usize| {
                let key = |choice| (self.set.texts.len() + number, choice);
                let nll = |choice| self.seen.get(&key(choice)).map_or(f64::NAN, nll);
                self.set.tasks[number].answered(nll)
            };
            tasks.clone().flat_map(of).collect()
        };
        let sum = |of: &dyn Fn(&PairLoss) -> f64, seen: &Seen| -> f64 {
            seen.losses.against().iter().map(of).sum()
        };
        if self.against {
            let reference = answered(&|seen| sum(&|loss| loss.nll_reference, seen));
            let artifact = answered(&|seen| sum(&|loss| loss.nll, seen));
            let choices = Some(compare_choices(&reference, &artifact));
            return TaskFigures { accuracy: None, choices };
        }
        let alone = |seen: &Seen| seen.losses.alone().iter().map(|loss| loss.nll).sum();
        TaskFigures { accuracy: Some(accuracy(&answered(&alone))), choices: None }
    }
}

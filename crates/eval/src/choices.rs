//! Multiple-choice questions: which answers a model prefers, and which ones changed.
//!
//! A choice is scored by the log-likelihood of its tokens after the question, as it is and divided
//! by its length, as lm-evaluation-harness does for `acc` and `acc_norm`. Of choices that score the
//! same, the first is taken.

use crate::bootstrap::{Bootstrap, Estimate};
use serde::Serialize;

/// How probable one choice is to a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Sum of the logarithms of the probabilities of its tokens, in nats.
    pub log_likelihood: f64,
    /// Characters of its text, without what separates it from the question. The harness's
    /// documentation speaks of bytes; it counts characters.
    pub length: usize,
}

/// What a model makes of the choices of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// In the order of the question.
    pub choices: Vec<Choice>,
    /// Which of them is right.
    pub answer: usize,
}

impl Question {
    /// The choice that a model gives; none where there are no choices, or one has no likelihood.
    pub fn given(&self) -> Option<usize> {
        self.best(|choice| choice.log_likelihood)
    }

    /// The choice that a model gives when likelihoods are divided by lengths.
    pub fn given_by_length(&self) -> Option<usize> {
        self.best(|choice| choice.log_likelihood / choice.length.max(1) as f64)
    }

    fn best(&self, score: impl Fn(&Choice) -> f64) -> Option<usize> {
        let scores: Vec<f64> = self.choices.iter().map(score).collect();
        let better =
            |best: usize, place: usize| if scores[place] > scores[best] { place } else { best };
        if scores.iter().any(|score| score.is_nan()) {
            None
        } else {
            (0..scores.len()).reduce(better)
        }
    }

    fn right(&self) -> bool {
        self.given() == Some(self.answer)
    }

    fn right_by_length(&self) -> bool {
        self.given_by_length() == Some(self.answer)
    }
}

/// How many questions a model answers rightly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Share of right answers.
    pub accuracy: Estimate,
    /// Share of right answers by likelihoods over lengths.
    pub accuracy_by_length: Estimate,
}

/// A model's answers beside those of its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChoiceComparison {
    /// Of the artifact.
    pub artifact: Accuracy,
    /// Of the reference.
    pub reference: Accuracy,
    /// Share of questions whose answer went from right to wrong, or from wrong to right.
    pub flips: Estimate,
    /// The same, answers by likelihoods over lengths.
    pub flips_by_length: Estimate,
    /// Share of questions with another answer than before, from wrong to wrong among them.
    pub changed: Estimate,
}

/// The accuracy of one model, with intervals over questions: NaN where there are none.
pub fn accuracy(questions: &[Question]) -> Accuracy {
    let share = |of: fn(&Question) -> bool| share(questions.iter().map(of));
    Accuracy {
        accuracy: share(Question::right),
        accuracy_by_length: share(Question::right_by_length),
    }
}

/// Compares answers to the same questions, with intervals over questions.
///
/// # Panics
///
/// If there are more of one than of the other.
pub fn compare_choices(reference: &[Question], artifact: &[Question]) -> ChoiceComparison {
    assert_eq!(reference.len(), artifact.len(), "answers to the same questions");
    let differs = |of: fn(&Question) -> Option<usize>| {
        share(reference.iter().zip(artifact).map(|(r, a)| of(r) != of(a)))
    };
    let flips = |of: fn(&Question) -> bool| {
        share(reference.iter().zip(artifact).map(|(r, a)| of(r) != of(a)))
    };
    ChoiceComparison {
        artifact: accuracy(artifact),
        reference: accuracy(reference),
        flips: flips(Question::right),
        flips_by_length: flips(Question::right_by_length),
        changed: differs(Question::given),
    }
}

fn share(of: impl Iterator<Item = bool>) -> Estimate {
    let hits: Vec<f64> = of.map(|hit| f64::from(u8::from(hit))).collect();
    Bootstrap::new(hits.len()).mean(&hits, &vec![1.0; hits.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Log-likelihoods of choices that are as long as given.
    fn question(choices: &[(f64, usize)], answer: usize) -> Question {
        let choice = |&(log_likelihood, length): &(f64, usize)| Choice { log_likelihood, length };
        Question { choices: choices.iter().map(choice).collect(), answer }
    }

    #[test]
    fn long_choices_win_once_likelihoods_are_divided_by_length() {
        let check = |choices: &[(f64, usize)], given, by_length| {
            let question = question(choices, 0);
            assert_eq!((question.given(), question.given_by_length()), (given, by_length));
        };
        check(&[(-3.0, 2), (-4.0, 8)], Some(0), Some(1));
        check(&[(-3.0, 2), (-3.0, 2)], Some(0), Some(0));
        check(&[(-5.0, 1), (-3.0, 2), (-2.9, 1)], Some(2), Some(1));
        check(&[(-5.0, 0), (-30.0, 7)], Some(0), Some(1));
        check(&[(f64::NEG_INFINITY, 3), (-30.0, 3)], Some(1), Some(1));
        check(&[(-1.0, 1), (f64::NAN, 1)], None, None);
        check(&[], None, None);
    }

    #[test]
    fn flips_are_changes_of_what_is_right() {
        let answers = |given: [usize; 4]| -> Vec<Question> {
            let of = |given: usize| {
                let likelihood = |place| if place == given { -1.0 } else { -2.0 };
                question(&[(likelihood(0), 1), (likelihood(1), 1), (likelihood(2), 1)], 0)
            };
            given.map(of).into()
        };
        // Right and right, right and wrong, wrong and right, wrong and otherwise wrong.
        let found = compare_choices(&answers([0, 0, 1, 1]), &answers([0, 2, 0, 2]));
        assert_eq!(found.reference.accuracy.value, 0.5);
        assert_eq!(found.artifact.accuracy.value, 0.5);
        assert_eq!(found.flips.value, 0.5);
        assert_eq!(found.flips_by_length.value, 0.5);
        assert_eq!(found.changed.value, 0.75);
    }

    #[test]
    fn intervals_are_over_questions() {
        let questions: Vec<Question> =
            (0..100).map(|i| question(&[(-1.0, 1), (-2.0, 1)], i % 2)).collect();
        let found = accuracy(&questions).accuracy;
        assert_eq!(found.value, 0.5);
        assert!((0.38..0.43).contains(&found.low) && (0.57..0.62).contains(&found.high));
        assert!(accuracy(&[]).accuracy.value.is_nan());
    }
}

//! How likely the tokens were that were said, and those that could have been.
//!
//! The logarithms are those of the softmax of the model's own logits, before temperature and filters.

use llmopt_data::Folder;
use llmopt_run::Error;

/// A token with its text and the logarithm of its probability.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logprob {
    pub(super) text: String,
    pub(super) logprob: f64,
}

/// Of one token that was said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TokenLogprobs {
    pub(super) said: Logprob,
    /// The likeliest tokens in its place, the likeliest first.
    pub(super) likeliest: Vec<Logprob>,
}

impl TokenLogprobs {
    /// Of `token`, which came after `before`, and of the `count` likeliest.
    pub(super) fn of(
        logits: &[f32],
        before: Option<u32>,
        token: u32,
        count: usize,
        folder: &Folder,
    ) -> Result<Self, Error> {
        let logarithm = logarithm(logits);
        let logprob = |token: u32| -> Result<Logprob, Error> {
            let logprob = f64::from(logits[token as usize]) - logarithm;
            Ok(Logprob { text: text_after(before, token, folder)?, logprob })
        };
        let likeliest = likeliest(logits, count).into_iter().map(logprob);
        Ok(Self { said: logprob(token)?, likeliest: likeliest.collect::<Result<_, _>>()? })
    }
}

/// What a token adds to the text. It depends on the token before: many decoders take the space off a
/// first word.
fn text_after(before: Option<u32>, token: u32, folder: &Folder) -> Result<String, Error> {
    let alone = || folder.decoded(&[token]);
    let Some(before) = before else { return alone() };
    let (first, both) = (folder.decoded(&[before])?, folder.decoded(&[before, token])?);
    both.strip_prefix(first.as_str()).map_or_else(alone, |text| Ok(text.to_owned()))
}

/// That of the sum of the exponentials.
fn logarithm(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - most)).sum();
    most + libm::log(total)
}

/// The likeliest tokens, in falling order; of equals the lower id first.
fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut best: Vec<u32> = Vec::with_capacity(count + 1);
    for (token, logit) in (0..).zip(logits) {
        let place = best.partition_point(|&other| logits[other as usize] >= *logit);
        if place < count {
            best.insert(place, token);
            best.truncate(count);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_those_of_a_sort() {
        let logits = [0.5, 2.0, -1.0, 2.0, 7.0, 0.5];
        assert!(likeliest(&logits, 0).is_empty());
        assert_eq!(likeliest(&logits, 4), [4, 1, 3, 0]);
        assert_eq!(likeliest(&logits, 20), [4, 1, 3, 0, 5, 2]);
    }

    #[test]
    fn probabilities_add_up_to_one_however_large_the_logits() {
        let logits = [1000.0, 999.0, -1000.0];
        let sum: f64 = logits.iter().map(|&l| (f64::from(l) - logarithm(&logits)).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }
}

//! Choices as token ids, in the way of lm-evaluation-harness.
//!
//! The log-likelihood of a choice is that of its tokens after the context's, where a blank stands
//! between the two. Which tokens are the choice's is a matter of how the tokenizer joins them, so the
//! whole is tokenized at once, and what the context alone gives is cut off.

use crate::error::{Error, QuestionError};
use crate::question::Question;
use crate::tokenizer::Tokenizer;
use std::ops::Range;

/// A choice after its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedChoice {
    /// At most one more than the model's window: the last token is only predicted.
    pub tokens: Vec<u32>,
    /// Which of them are the choice's; never empty, and never the first.
    pub continuation: Range<usize>,
    /// How many bytes the choice has, without the blank before it.
    pub bytes: usize,
    /// How many characters the choice has: what the harness divides by for `acc_norm`.
    pub characters: usize,
}

/// Encodes every choice of a question for a model with a window of so many tokens.
///
/// `prefix` stands before a context that gives no token: BOS, or else EOS.
///
/// # Errors
///
/// If a choice alone is longer than the window, or a prefix is needed and there is none.
pub fn encode(
    question: &Question,
    tokenizer: &Tokenizer,
    prefix: Option<u32>,
    window: usize,
) -> Result<Vec<EncodedChoice>, Error> {
    let choice =
        |choice: &String| encode_choice(&question.context, choice, tokenizer, prefix, window);
    question.choices.iter().map(choice).collect()
}

fn encode_choice(
    context: &str,
    choice: &str,
    tokenizer: &Tokenizer,
    prefix: Option<u32>,
    window: usize,
) -> Result<EncodedChoice, Error> {
    // Blanks at the end of the context would be a token of their own there, and are part of the next
    // token where the choice follows.
    let kept = context.trim_end_matches(is_python_space);
    let whole = tokenizer.encode(&format!("{context} {choice}"))?;
    let mut start = tokenizer.encode(kept)?.len().min(whole.len());
    let mut tokens = whole;
    if start == 0 {
        let prefix = prefix.ok_or(QuestionError::NoPrefix)?;
        // A tokenizer that begins with the prefix by itself has given it already.
        if tokens.first() != Some(&prefix) {
            tokens.insert(0, prefix);
        }
        start = 1;
    }
    let continuation = tokens.len() - start;
    if continuation == 0 || continuation > window {
        return Err(QuestionError::TooLong { tokens: continuation, window }.into());
    }
    let cut = tokens.len().saturating_sub(window.saturating_add(1));
    tokens.drain(..cut);
    let continuation = start - cut..tokens.len();
    let (bytes, characters) = (choice.len(), choice.chars().count());
    Ok(EncodedChoice { tokens, continuation, bytes, characters })
}

/// What Python's `str.isspace` takes for a blank.
pub(crate) fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::tiny_llama;

    fn encoded(context: &str, window: usize) -> Result<Vec<EncodedChoice>, Error> {
        let choices = vec!["the man".to_owned(), "one".to_owned()];
        let question = Question { context: context.to_owned(), choices, answer: 0 };
        encode(&question, &tiny_llama(), Some(7), window)
    }

    /// The first choice after a context, token by token.
    fn check(context: &str, window: usize, expected: &[&str], continuation: Range<usize>) {
        let choice = &encoded(context, window).unwrap()[0];
        let tokenizer = tiny_llama();
        let texts = choice.tokens.iter().map(|id| tokenizer.decode(&[*id]).unwrap());
        assert_eq!(texts.collect::<Vec<String>>(), expected);
        assert_eq!(choice.continuation, continuation);
    }

    #[test]
    fn a_choice_follows_its_context_after_a_blank() {
        let expected = ["in", " the", " other", " was", " the", " man"];
        check("in the other was", 64, &expected, 4..6);
    }

    #[test]
    fn blanks_at_the_end_of_a_context_belong_to_the_choice() {
        let expected = ["in", " the", " other", " was", " ", " the", " man"];
        check("in the other was ", 64, &expected, 4..7);
    }

    #[test]
    fn a_context_is_cut_from_the_left() {
        check("in the other was", 3, &[" other", " was", " the", " man"], 2..4);
        check("in the other was", 2, &[" was", " the", " man"], 1..3);
    }

    #[test]
    fn a_context_without_tokens_gets_the_prefix() {
        check("", 64, &["'", " the", " man"], 1..3);
        check(" ", 64, &["'", " ", " the", " man"], 1..4);
    }

    #[test]
    fn lengths_are_those_of_the_bare_choice() {
        let choices = vec!["the man".to_owned(), "été".to_owned()];
        let question = Question { context: "x".to_owned(), choices, answer: 0 };
        let choices = encode(&question, &tiny_llama(), None, 64).unwrap();
        let lengths: Vec<_> = choices.iter().map(|c| (c.bytes, c.characters)).collect();
        assert_eq!(lengths, [(7, 7), (5, 3)]);
    }

    #[test]
    fn a_choice_longer_than_the_window_is_refused() {
        let error = encoded("Once", 1).unwrap_err();
        assert_eq!(error.to_string(), "a choice has 2 tokens, but the model's window has 1");
    }

    #[test]
    fn without_a_prefix_an_empty_context_is_refused() {
        let choices = vec!["a".to_owned(), "b".to_owned()];
        let question = Question { context: " ".to_owned(), choices, answer: 0 };
        let error = encode(&question, &tiny_llama(), None, 64).unwrap_err();
        assert_eq!(error, QuestionError::NoPrefix.into());
    }
}

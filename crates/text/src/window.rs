//! Windows: equal pieces of a text, on which a model is run.
//!
//! Documents are tokenized one by one and laid end to end with nothing between them. Windows are cut
//! from the result in order and without overlap; what is left at the end is dropped. Equal texts and
//! options give equal windows.

use crate::error::{Error, IdError, WindowError};
use crate::tokenizer::Tokenizer;
use serde::Serialize;

/// Tokenizes documents and cuts them into windows.
///
/// # Errors
///
/// If a document cannot be tokenized, or all of them are shorter than a window.
pub fn text_windows<D: AsRef<str>>(
    tokenizer: &Tokenizer,
    documents: &[D],
    options: WindowOptions,
) -> Result<Windows, Error> {
    let mut cutter = Cutter::new(options)?;
    for document in documents {
        tokenizer.encode_each(document.as_ref(), |ids| cutter.feed(ids))?;
    }
    let mut windows = cutter.finish()?;
    windows.facts.documents = Some(documents.len());
    Ok(windows)
}

/// Cuts token ids into windows.
///
/// # Errors
///
/// If there are fewer ids than a window takes, or the options ask for nothing.
pub fn windows_of(ids: &[u32], options: WindowOptions) -> Result<Windows, WindowError> {
    let mut cutter = Cutter::new(options)?;
    ids.chunks(options.window).for_each(|piece| cutter.feed(piece));
    cutter.finish()
}

/// Cuts ids into windows as they come. Of ids that are in no window it holds less than a window's.
struct Cutter {
    options: WindowOptions,
    windows: Vec<Vec<u32>>,
    ends: Vec<usize>,
    tokens: usize,
    rest: Vec<u32>,
}

impl Cutter {
    fn new(options: WindowOptions) -> Result<Self, WindowError> {
        options.check()?;
        Ok(Self { options, windows: Vec::new(), ends: Vec::new(), tokens: 0, rest: Vec::new() })
    }

    fn feed(&mut self, ids: &[u32]) {
        self.tokens += ids.len();
        if self.is_full() {
            return;
        }
        self.rest.extend(ids);
        let mut begin = 0;
        while let Some(taken) = self.cut(begin) {
            begin += taken;
        }
        self.rest.drain(..begin);
    }

    fn is_full(&self) -> bool {
        self.options.samples.is_some_and(|samples| self.windows.len() >= samples)
    }

    /// Cuts a window from the rest behind `begin`, if that is enough; returns how many ids it took.
    fn cut(&mut self, begin: usize) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        let rest = &self.rest[begin..];
        // A text may begin with the token itself, as chat templates write it: no second one is put before it.
        let before = self.options.bos.id().filter(|bos| rest.first() != Some(bos));
        let taken = self.options.window - usize::from(before.is_some());
        let piece = rest.get(..taken)?;
        self.windows.push(before.into_iter().chain(piece.iter().copied()).collect());
        self.ends.push(self.tokens - rest.len() + taken);
        Some(taken)
    }

    fn finish(self) -> Result<Windows, WindowError> {
        let Self { options: WindowOptions { window, bos, .. }, windows, ends, tokens, .. } = self;
        let bos = bos.id();
        let Some(&end) = ends.last() else {
            return Err(WindowError::TooShort {
                tokens,
                needed: window - usize::from(bos.is_some()),
            });
        };
        let facts = WindowFacts {
            documents: None,
            text_tokens: tokens,
            window,
            windows: windows.len(),
            dropped_tokens: tokens - end,
            masked_tokens: 0,
            bos,
        };
        Ok(Windows { windows, ends, facts })
    }
}

/// How a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowOptions {
    /// How many tokens a window has, BOS included.
    pub window: usize,
    /// How many windows are taken from the start; all of them if none is given.
    pub samples: Option<usize>,
    /// What a window begins with.
    pub bos: Bos,
}

impl WindowOptions {
    /// Checks that something is asked for.
    ///
    /// # Errors
    ///
    /// If a window is too small to predict a token, or no window is to be taken.
    pub fn check(&self) -> Result<(), WindowError> {
        match *self {
            Self { window, .. } if window < 2 => Err(WindowError::Window { window }),
            Self { samples: Some(0), .. } => Err(WindowError::Samples),
            _ => Ok(()),
        }
    }
}

/// What a window begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bos {
    /// The text itself.
    #[default]
    None,
    /// This token; the window takes one token less of the text, and the next one goes on there.
    Window(u32),
}

impl Bos {
    fn id(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Window(id) => Some(id),
        }
    }
}

/// A text in windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// All of one length, in the order of the text.
    pub windows: Vec<Vec<u32>>,
    /// How many tokens of the text each of them and those before it take.
    pub ends: Vec<usize>,
    /// How they came about.
    pub facts: WindowFacts,
}

impl Windows {
    /// The first of them: what the text gives if no more than `count` are asked for.
    pub fn first(&self, count: usize) -> Self {
        let windows: Vec<Vec<u32>> = self.windows.iter().take(count).cloned().collect();
        let ends = self.ends[..windows.len().min(self.ends.len())].to_vec();
        let facts = WindowFacts {
            windows: windows.len(),
            dropped_tokens: self.facts.text_tokens - ends.last().copied().unwrap_or(0),
            ..self.facts.clone()
        };
        Self { windows, ends, facts }
    }
}

/// How windows came about: enough to cut the same ones again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WindowFacts {
    /// How many documents were laid end to end; none if ids were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<usize>,
    /// How many tokens the text has.
    pub text_tokens: usize,
    /// How many tokens a window has, BOS included.
    pub window: usize,
    /// How many windows were cut.
    pub windows: usize,
    /// How many tokens of the text are in no window.
    pub dropped_tokens: usize,
    /// How many more were masked, and left out before windows were cut.
    #[serde(skip_serializing_if = "is_zero")]
    pub masked_tokens: usize,
    /// What each window begins with.
    pub bos: Option<u32>,
}

/// Whether there is nothing to tell.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Checks ids against the number of tokens that a model knows.
///
/// # Errors
///
/// At the first id that is not below `size`.
pub fn check_ids(ids: &[u32], size: usize) -> Result<(), IdError> {
    let known = |id: u32| usize::try_from(id).is_ok_and(|id| id < size);
    match ids.iter().enumerate().find(|(_, id)| !known(**id)) {
        Some((position, &id)) => Err(IdError::Token { position, id, size }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::tiny_llama;

    fn options(window: usize, samples: Option<usize>, bos: Bos) -> WindowOptions {
        WindowOptions { window, samples, bos }
    }

    /// Cuts the ids 0, 1, 2, ...
    fn check(
        count: u32,
        options: WindowOptions,
        expected: Result<(&[&[u32]], usize), WindowError>,
    ) {
        let ids: Vec<u32> = (0..count).collect();
        let found = windows_of(&ids, options);
        let found = found.map(|found| (found.windows, found.facts.dropped_tokens));
        let owned = |windows: &[&[u32]]| windows.iter().map(|window| window.to_vec()).collect();
        assert_eq!(found, expected.map(|(windows, dropped)| (owned(windows), dropped)));
    }

    #[test]
    fn windows_are_in_order_and_the_rest_is_dropped() {
        check(7, options(3, None, Bos::None), Ok((&[&[0, 1, 2], &[3, 4, 5]], 1)));
        check(7, options(3, Some(1), Bos::None), Ok((&[&[0, 1, 2]], 4)));
        check(6, options(3, Some(9), Bos::None), Ok((&[&[0, 1, 2], &[3, 4, 5]], 0)));
    }

    #[test]
    fn bos_takes_the_place_of_a_token_and_none_is_lost() {
        check(5, options(3, None, Bos::Window(9)), Ok((&[&[9, 0, 1], &[9, 2, 3]], 1)));
        check(2, options(3, None, Bos::Window(9)), Ok((&[&[9, 0, 1]], 0)));
    }

    #[test]
    fn a_window_that_begins_with_bos_gets_no_second_one() {
        check(7, options(3, None, Bos::Window(0)), Ok((&[&[0, 1, 2], &[0, 3, 4], &[0, 5, 6]], 0)));
        check(6, options(3, None, Bos::Window(3)), Ok((&[&[3, 0, 1], &[3, 2, 3], &[3, 4, 5]], 0)));
        check(5, options(3, None, Bos::Window(2)), Ok((&[&[2, 0, 1], &[2, 3, 4]], 0)));
    }

    #[test]
    fn a_text_shorter_than_a_window_is_refused_with_both_numbers() {
        let short = |tokens, needed| Err(WindowError::TooShort { tokens, needed });
        check(2, options(3, None, Bos::None), short(2, 3));
        check(1, options(3, None, Bos::Window(9)), short(1, 2));
        let message = WindowError::TooShort { tokens: 2, needed: 3 }.to_string();
        assert_eq!(message, "the text has 2 tokens, and one window takes 3");
    }

    #[test]
    fn a_request_for_nothing_is_refused() {
        check(9, options(1, None, Bos::None), Err(WindowError::Window { window: 1 }));
        check(9, options(0, None, Bos::Window(1)), Err(WindowError::Window { window: 0 }));
        check(9, options(3, Some(0), Bos::None), Err(WindowError::Samples));
    }

    #[test]
    fn the_first_windows_are_those_that_fewer_samples_give() {
        // The third window begins with the token that the others get.
        let ids = [0, 1, 2, 3, 9, 4, 9, 5, 6, 7, 8];
        for bos in [Bos::None, Bos::Window(9)] {
            let all = windows_of(&ids, options(3, None, bos)).unwrap();
            for samples in 1..6 {
                let few = windows_of(&ids, options(3, Some(samples), bos)).unwrap();
                assert_eq!(all.first(samples), few, "{samples} {bos:?}");
            }
        }
    }

    #[test]
    fn documents_are_laid_end_to_end() {
        let tokenizer = tiny_llama();
        let ids = |text| tokenizer.encode(text).unwrap();
        let expected = [ids("Once upon a time"), ids(" in a land")].concat();
        let all = options(expected.len(), None, Bos::None);
        let found = text_windows(&tokenizer, &["Once upon a time", " in a land"], all).unwrap();
        assert_eq!(found.windows, [expected]);
        assert_eq!(found.facts.documents, Some(2));
    }

    #[test]
    fn ids_are_cut_as_they_come_and_none_are_held_that_no_window_takes() {
        let ids: Vec<u32> = (0..997).map(|n| n * n % 7).collect();
        for (samples, bos, piece) in
            [(None, Bos::Window(2), 1), (Some(5), Bos::None, 10), (Some(50), Bos::Window(4), 400)]
        {
            let options = options(16, samples, bos);
            let mut cutter = Cutter::new(options).unwrap();
            for piece in ids.chunks(piece) {
                cutter.feed(piece);
                assert!(cutter.is_full() || cutter.rest.len() < 16, "{}", cutter.rest.len());
                assert!(cutter.rest.capacity() <= 2 * (16 + piece.len()));
            }
            assert_eq!(cutter.finish(), windows_of(&ids, options), "{samples:?} {bos:?}");
        }
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_named() {
        assert_eq!(check_ids(&[0, 9], 10), Ok(()));
        let error = check_ids(&[0, 10, 11], 10).unwrap_err();
        assert_eq!(error.to_string(), "token 1 has id 10, but the model knows 10 tokens");
        assert!(check_ids(&[u32::MAX], 10).is_err());
    }
}

//! Texts as windows of token ids, as a model's own tokenizer cuts them.

mod ids;
mod kind;

pub use kind::may_hold_messages;
pub use kind::{DataKind, read_data};

use crate::builtin;
use crate::tokenizer::{Folder, failed, wrong};
use ids::TokenIds;
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_text::{
    Bos, Date, RenderOptions, WindowFacts, WindowOptions, Windows, check_ids, documents_of_json,
    documents_of_text, text_windows, windows_of,
};
use std::cell::OnceCell;
use std::path::Path;

/// Reads texts for a model.
pub struct Texts<'a> {
    model: &'a Variant,
    window: usize,
    bos: bool,
    date: Option<Date>,
    folder: OnceCell<Folder>,
}

impl<'a> Texts<'a> {
    /// For windows of so many tokens; of 2048, or the model's context where that is shorter, if no
    /// number is given.
    pub fn new(model: &'a Variant, window: Option<usize>, bos: bool, date: Option<Date>) -> Self {
        let context = model.program().context.unwrap_or(LONGEST_WINDOW);
        let window = window.unwrap_or(context.min(LONGEST_WINDOW));
        Self { model, window, bos, date, folder: OnceCell::new() }
    }

    /// Tokens of a window.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The day that chat templates are given.
    pub fn date(&self) -> Option<Date> {
        self.date
    }

    /// What a reader should know of windows that the model was not made for.
    pub fn note(&self) -> Option<String> {
        let context = self.model.program().context.filter(|&most| most < self.window)?;
        Some(format!(
            "windows of {} tokens are longer than the model's context of {context}",
            self.window
        ))
    }

    /// What the model's folder knows about text, read when it is first asked for.
    pub fn folder(&self) -> Result<&Folder, Error> {
        match self.folder.get() {
            Some(folder) => Ok(folder),
            None => Folder::read(self.model).map(|folder| self.folder.get_or_init(|| folder)),
        }
    }

    /// The windows of a file, from its start.
    pub fn windows(&self, path: &Path, samples: Option<usize>) -> Result<Windows, Error> {
        let documents = match DataKind::of(path)? {
            DataKind::Ids => return self.windows_of_ids(path, samples),
            DataKind::Json(entries) => {
                let options = RenderOptions { add_generation_prompt: false, date: self.date };
                let template = self.folder()?.template();
                documents_of_json(&read_data(path)?, entries, template, &options)
            }
            DataKind::Plain => {
                self.folder()?;
                documents_of_text(read_data(path)?)
            }
        };
        let documents = documents.map_err(|error| wrong(path, error.into()))?;
        self.cut(&documents, samples, |error| wrong(path, error))
    }

    /// The windows of the text that comes with the program, from its start.
    pub fn builtin(&self, samples: Option<usize>) -> Result<Windows, Error> {
        self.cut(&builtin::documents(), samples, failed)
    }

    fn cut(
        &self,
        documents: &[String],
        samples: Option<usize>,
        blamed: impl Fn(llmopt_text::Error) -> Error,
    ) -> Result<Windows, Error> {
        let folder = self.folder()?;
        let cut =
            text_windows(folder.tokenizer(), documents, self.options(samples)?).map_err(blamed)?;
        cut.windows.iter().try_for_each(|window| folder.check(window))?;
        Ok(cut)
    }

    fn windows_of_ids(&self, path: &Path, samples: Option<usize>) -> Result<Windows, Error> {
        let TokenIds { ids, masked } = ids::read(path)?;
        check_ids(&ids, self.model.program().vocabulary)
            .map_err(|error| wrong(path, error.into()))?;
        let cut = windows_of(&ids, self.options(samples)?);
        let cut = cut.map_err(|error| wrong(path, error.into()))?;
        let facts = WindowFacts { masked_tokens: masked, ..cut.facts };
        Ok(Windows { facts, ..cut })
    }

    /// How texts are cut.
    pub fn options(&self, samples: Option<usize>) -> Result<WindowOptions, Error> {
        let bos = match self.bos {
            false => Bos::None,
            true => Bos::Window(self.beginning()?),
        };
        Ok(WindowOptions { window: self.window, samples, bos })
    }

    fn beginning(&self) -> Result<u32, Error> {
        let folder = self.folder()?;
        let first = folder.special().bos.ok_or_else(|| Error::RefusedWithHint {
            what: "the model's folder names no beginning-of-sequence (BOS) token".to_owned(),
            hint: "`--bos none` begins windows with the text itself".to_owned(),
        })?;
        folder.check(&[first])?;
        Ok(first)
    }
}

/// The name of a file without its folder.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Tokens of the longest sequence for a model that names no context, and of a window that nobody chose.
pub const LONGEST_WINDOW: usize = 2048;

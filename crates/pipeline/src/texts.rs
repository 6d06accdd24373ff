//! Texts as windows of token ids, as a model's own tokenizer cuts them.

mod ids;

use crate::Error;
use crate::tokenizer::{Folder, wrong};
use crate::variant::Variant;
use llmopt_checkpoint::read_text;
use llmopt_text::{
    Bos, Date, RenderOptions, WindowOptions, Windows, check_ids, documents_of_jsonl,
    documents_of_text, text_windows, windows_of,
};
use std::cell::OnceCell;
use std::path::Path;

/// Reads texts for a model.
pub(crate) struct Texts<'a> {
    model: &'a Variant,
    window: usize,
    bos: bool,
    date: Option<Date>,
    folder: OnceCell<Folder>,
}

impl<'a> Texts<'a> {
    /// For windows of so many tokens; of 2048, or the model's context where that is shorter, if no
    /// number is given.
    pub(crate) fn new(
        model: &'a Variant,
        window: Option<usize>,
        bos: bool,
        date: Option<Date>,
    ) -> Self {
        let context = model.program().context.unwrap_or(LONGEST_WINDOW);
        let window = window.unwrap_or(context.min(LONGEST_WINDOW));
        Self { model, window, bos, date, folder: OnceCell::new() }
    }

    /// Tokens of a window.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// What a reader should know of windows that the model was not made for.
    pub(crate) fn note(&self) -> Option<String> {
        let context = self.model.program().context.filter(|&most| most < self.window)?;
        Some(format!(
            "windows of {} tokens are longer than the model's context of {context}",
            self.window
        ))
    }

    /// What the model's folder knows about text, read when it is first asked for.
    pub(crate) fn folder(&self) -> Result<&Folder, Error> {
        match self.folder.get() {
            Some(folder) => Ok(folder),
            None => Folder::read(self.model).map(|folder| self.folder.get_or_init(|| folder)),
        }
    }

    /// The windows of a file, from its start: `.txt`, `.jsonl`, or `.safetensors` with token ids.
    pub(crate) fn windows(&self, path: &Path, samples: Option<usize>) -> Result<Windows, Error> {
        let documents = match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => return self.windows_of_ids(path, samples),
            Some("jsonl") => {
                let options = RenderOptions { add_generation_prompt: false, date: self.date };
                let template = self.folder()?.template();
                documents_of_jsonl(&read_text(path, TEXT_LIMIT)?, template, &options)
            }
            _ => {
                self.folder()?;
                documents_of_text(&read_text(path, TEXT_LIMIT)?)
            }
        };
        let documents = documents.map_err(|error| wrong(path, error.into()))?;
        text_windows(self.folder()?.tokenizer(), &documents, self.options(samples)?)
            .map_err(|error| wrong(path, error))
    }

    fn windows_of_ids(&self, path: &Path, samples: Option<usize>) -> Result<Windows, Error> {
        let ids = ids::read(path)?;
        check_ids(&ids, self.model.program().vocabulary)
            .map_err(|error| wrong(path, error.into()))?;
        windows_of(&ids, self.options(samples)?).map_err(|error| wrong(path, error.into()))
    }

    /// How texts are cut.
    pub(crate) fn options(&self, samples: Option<usize>) -> Result<WindowOptions, Error> {
        let bos = match self.bos {
            false => Bos::None,
            true => Bos::Window(self.beginning()?),
        };
        Ok(WindowOptions { window: self.window, samples, bos })
    }

    fn beginning(&self) -> Result<u32, Error> {
        self.folder()?.special().bos.ok_or_else(|| Error::RefusedWithHint {
            what: "the model's folder names no token that begins a text".to_owned(),
            hint: "`--bos none` begins windows with the text itself".to_owned(),
        })
    }
}

/// The name of a file without its folder.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Tokens of the longest sequence for a model that names no context, and of a window that nobody chose.
pub(crate) const LONGEST_WINDOW: usize = 2048;
/// Bytes of the longest text.
pub(crate) const TEXT_LIMIT: u64 = 4 << 30;

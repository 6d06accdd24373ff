//! The model that a command works on: the one that it is given, or the current folder's.

use crate::failure::{Failure, Refusal};
use crate::print::{self, Console};
use llmopt_pipeline::{InFolder, cached_repository, model_in};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A model, and where a result without a path goes.
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    /// None: beside the model.
    pub(crate) output_folder: Option<PathBuf>,
}

impl Input {
    /// The model of the command line. Without one it is that of the current folder, and what is made of
    /// it goes beside that folder: a second run must find there what the first one found.
    pub(crate) fn of(given: Option<&Path>, console: Console) -> Result<Self, Failure> {
        let Some(given) = given else { return Self::of_current_folder(console) };
        Ok(Self { path: given.to_owned(), output_folder: None })
    }

    /// Says where the output goes, if it was given no path and the model lies where nothing may be
    /// written.
    pub(crate) fn announce_output(&self, output: Option<&Path>, console: Console) {
        let cached = cached_repository(&self.path).filter(|_| output.is_none());
        if cached.is_some() && !console.quiet && !console.json {
            print::say(&format!(
                "output  in the current folder: `{}` is a snapshot in a cache of the Hugging Face hub",
                self.path.display()
            ));
        }
    }

    fn of_current_folder(console: Console) -> Result<Self, Failure> {
        let name =
            std::env::current_dir().ok().and_then(|folder| Some(folder.file_name()?.to_owned()));
        let name = name.map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
        let (input, text) = match model_in(Path::new("."))? {
            InFolder::Model => {
                let text = format!("the current folder, `{name}`");
                (Self { path: PathBuf::from("."), output_folder: None }, text)
            }
            InFolder::LoneFile(file) => {
                let file = file.strip_prefix(".").unwrap_or(&file).to_owned();
                let text = format!(
                    "`{}`, the one `.safetensors` file in the current folder, `{name}`",
                    file.display()
                );
                (Self { path: file, output_folder: Some(PathBuf::from("..")) }, text)
            }
            InFolder::Neither { config, files } => return Err(nothing(&name, config, files).into()),
        };
        say(&input.path, &text, console);
        Ok(input)
    }
}

fn say(path: &Path, text: &str, console: Console) {
    match console {
        Console { json: true, .. } => {
            print::event(&json!({ "event": "model", "path": path.to_string_lossy() }));
        }
        Console { quiet: true, .. } => {}
        _ => print::say(&format!("model  {text}")),
    }
}

fn nothing(folder: &str, config: bool, files: usize) -> Refusal {
    let found = match (config, files) {
        (true, _) => "it holds a `config.json`, but no `.safetensors` file".to_owned(),
        (false, 0) => "it holds neither".to_owned(),
        (false, files) => format!("it holds {files} `.safetensors` files and no `config.json`"),
    };
    Refusal::new(
        format!(
            "there is no MODEL, and the current folder, `{folder}`, was expected to hold `config.json` \
             and weights, or exactly one `.safetensors` file: {found}"
        ),
        "give the model's folder or file, or run this in the model's folder",
    )
}

//! The record beside a finished artifact, opened to list files that are added to it.
//!
//! It came with the artifact, and is believed as little as anything else in it.

use llmopt_checkpoint::{
    Error as CheckpointError, PendingFile, REPORT_NAME, RequestError, read_text, sha256,
};
use llmopt_model::report_file;
use llmopt_run::Error;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The record of an artifact that is a folder.
#[derive(Clone, Debug)]
pub struct RecordFile {
    folder: PathBuf,
    record: Value,
}

impl RecordFile {
    /// The record in `folder`.
    ///
    /// # Errors
    /// If `folder` is none, holds no record, or one that lists no files.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(REPORT_NAME);
        if !path.is_file() {
            return Err(Error::Input {
                what: format!(
                    "`{}` was expected to be a folder with a `{REPORT_NAME}`",
                    folder.display()
                ),
                hint: Some(format!(
                    "`{REPORT_NAME}` is what `llmopt quantize` and `prune` write into the folder of an artifact"
                )),
            });
        }
        let no_record = |why: String| Error::Input {
            what: format!("`{}` is no record of a run: {why}", path.display()),
            hint: Some("take the folder as llmopt wrote it".to_owned()),
        };
        let text = read_text(&path, report_file::LIMIT)?;
        let record: Value =
            serde_json::from_str(&text).map_err(|error| no_record(error.to_string()))?;
        if !record.get(OUTPUTS).is_some_and(Value::is_object) {
            return Err(no_record(format!("it has no `{OUTPUTS}`")));
        }
        Ok(Self { folder: folder.to_owned(), record })
    }

    /// What it says.
    pub fn record(&self) -> &Value {
        &self.record
    }

    /// The text of a file of at most `limit` bytes in the folder, if it is there.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn text_beside(&self, name: &str, limit: u64) -> Result<Option<String>, Error> {
        let path = self.folder.join(name);
        // A link to nothing is something.
        match path.exists() || path.is_symlink() {
            true => Ok(Some(read_text(&path, limit)?)),
            false => Ok(None),
        }
    }

    /// Writes `files`, each a name and its content, into the folder, and lists them in the record. What is
    /// there stays until all of the new is on the disk.
    ///
    /// # Errors
    /// If a name is not that of a file in the folder, or one cannot be written.
    pub fn publish_with(mut self, files: &[(&str, &[u8])]) -> Result<(), Error> {
        let mut pending = Vec::new();
        for (name, bytes) in files {
            check_name(name)?;
            self.list(name, bytes);
            pending.push((PendingFile::create(&self.folder.join(name))?, *bytes));
        }
        let mut text = serde_json::to_string_pretty(&self.record)
            .map_err(|error| Error::Refused(error.to_string()))?;
        text.push('\n');
        let record = PendingFile::create(&self.folder.join(REPORT_NAME))?;
        for (file, bytes) in pending {
            file.publish(bytes)?;
        }
        Ok(record.publish(text.as_bytes())?)
    }

    /// Lists a file among the outputs, which stay sorted by name as reports have them.
    fn list(&mut self, name: &str, bytes: &[u8]) {
        let Some(outputs) = self.record.get_mut(OUTPUTS).and_then(Value::as_object_mut) else {
            return;
        };
        let facts = json!({ "bytes": bytes.len(), "sha256": sha256(bytes) });
        outputs.insert(name.to_owned(), facts);
        let mut sorted: Vec<(String, Value)> = std::mem::take(outputs).into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        *outputs = Map::from_iter(sorted);
    }
}

/// Refuses what is no name of a file beside weights and record.
fn check_name(name: &str) -> Result<(), Error> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    match plain && name != REPORT_NAME && name != "config.json" && !name.ends_with(".safetensors") {
        true => Ok(()),
        false => Err(CheckpointError::from(RequestError::Name { name: name.to_owned() }).into()),
    }
}

const OUTPUTS: &str = "outputs";

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_checkpoint::write_file;

    fn folder(record: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_file(&folder.path().join(REPORT_NAME), record.as_bytes()).unwrap();
        folder
    }

    #[test]
    fn nothing_but_the_list_of_files_changes() {
        let before = "{\n  \"tool\": \"llmopt\",\n  \"outputs\": {\n    \"z\": {\n      \"bytes\": 1,\n      \
                      \"sha256\": \"00\"\n    }\n  },\n  \"error\": 1.0e-05,\n  \"a\": 0.10000000000000001\n}\n";
        let dir = folder(before);
        let files: [(&str, &[u8]); 1] = [("README.md", b"abc")];
        RecordFile::open(dir.path()).unwrap().publish_with(&files).unwrap();
        let listed = "{\n    \"README.md\": {\n      \"bytes\": 3,\n      \"sha256\": \
                      \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n    },\n    \"z\"";
        let record = RecordFile::open(dir.path()).unwrap();
        let text = record.text_beside(REPORT_NAME, 9999).unwrap().unwrap();
        assert_eq!(text, before.replacen("{\n    \"z\"", listed, 1));
        assert_eq!(record.text_beside("README.md", 9).unwrap().as_deref(), Some("abc"));
        // Once more: the same.
        record.publish_with(&files).unwrap();
        let again = RecordFile::open(dir.path()).unwrap().text_beside(REPORT_NAME, 9999).unwrap();
        assert_eq!(again, Some(text));
    }

    #[test]
    fn what_is_no_record_is_refused_by_name() {
        let check = |record: &str, expected: &str| {
            let dir = folder(record);
            let error = RecordFile::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("llmopt.json` is no record of a run: "), "{error}");
            assert!(error.ends_with(expected), "{error}");
        };
        check("[]", "it has no `outputs`");
        check("{\"outputs\": 3}", "it has no `outputs`");
        check("{", "EOF while parsing an object at line 1 column 1");
        let empty = tempfile::tempdir().unwrap();
        let error = RecordFile::open(empty.path()).unwrap_err().to_string();
        assert!(error.contains("was expected to be a folder with a `llmopt.json`"), "{error}");
    }

    #[test]
    fn weights_and_files_elsewhere_are_no_added_files() {
        let dir = folder("{\"outputs\": {}}");
        for name in
            ["", "../x", "a/b", ".hidden", "llmopt.json", "model.safetensors", "config.json"]
        {
            let record = RecordFile::open(dir.path()).unwrap();
            assert!(record.publish_with(&[(name, b"x")]).is_err(), "{name}");
        }
    }
}

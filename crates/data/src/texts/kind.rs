//! What a data file is, by the ending of its name.

use llmopt_checkpoint::read_text;
use llmopt_run::Error;
use llmopt_text::Entries;
use std::path::Path;

/// How a file holds texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// A plain text.
    Plain,
    /// JSON, entry by entry.
    Json(Entries),
    /// Token ids in a safetensors file.
    Ids,
}

impl DataKind {
    /// By the ending, without regard to case: `.txt`, `.md` or none; `.jsonl`, `.json`; `.safetensors`.
    ///
    /// # Errors
    /// Any other ending. Read as a text, a table would be scored on its separators.
    pub fn of(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Err(refused(path, "is a folder", "give a file of it"));
        }
        let Some(ending) = path.extension() else { return Ok(Self::Plain) };
        match ending.to_string_lossy().to_lowercase().as_str() {
            "txt" | "md" => Ok(Self::Plain),
            "jsonl" | "ndjson" => Ok(Self::Json(Entries::Lines)),
            "json" => Ok(Self::Json(Entries::Array)),
            "safetensors" => Ok(Self::Ids),
            "csv" | "tsv" | "xlsx" | "parquet" | "arrow" | "feather" => {
                Err(refused(path, "is a table", TABLE))
            }
            "gz" | "zst" | "zip" | "bz2" | "xz" | "tar" | "tgz" | "7z" => {
                Err(refused(path, "is compressed", "unpack it first"))
            }
            _ => Err(refused(path, "has an ending that is not read", OTHER)),
        }
    }
}

/// Whether a file of data can hold `messages`, which a chat template makes text of. A file that is no data
/// is refused elsewhere, and may.
pub fn may_hold_messages(path: &Path) -> bool {
    !matches!(DataKind::of(path), Ok(DataKind::Plain | DataKind::Ids))
}

/// A text without the byte order mark that some editors put before it.
///
/// # Errors
/// The file cannot be read, or is no UTF-8.
pub fn read_data(path: &Path) -> Result<String, Error> {
    let text = read_text(path, TEXT_LIMIT)?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
}

fn refused(path: &Path, what: &str, hint: &str) -> Error {
    Error::RefusedWithHint {
        what: format!(
            "`{}` {what}: data are read from `.txt`, `.md`, `.jsonl`, `.json` and `.safetensors` files",
            path.display()
        ),
        hint: hint.to_owned(),
    }
}

const TABLE: &str = "write one JSON object a line to a `.jsonl` file, with each text as `text`; with \
                     pandas: `table.rename(columns={'COLUMN': 'text'}).to_json('data.jsonl', \
                     orient='records', lines=True)`";
const OTHER: &str = "if it is plain text, give it the ending `.txt`";
/// Bytes of the longest text.
const TEXT_LIMIT: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_decide_without_regard_to_case() {
        let check = |name: &str, expected: Result<DataKind, &str>| {
            let found = DataKind::of(Path::new(name)).map_err(|error| error.to_string());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
            }
        };
        for name in ["a.txt", "a.TXT", "a.md", "README", "a.b/text"] {
            check(name, Ok(DataKind::Plain));
        }
        check("a.jsonl", Ok(DataKind::Json(Entries::Lines)));
        check("a.JSONL", Ok(DataKind::Json(Entries::Lines)));
        check("a.Json", Ok(DataKind::Json(Entries::Array)));
        check("a.SafeTensors", Ok(DataKind::Ids));
        check("a.csv", Err("`a.csv` is a table"));
        check("a.PARQUET", Err("`a.PARQUET` is a table"));
        check("a.jsonl.gz", Err("`a.jsonl.gz` is compressed"));
        check("a.py", Err("`a.py` has an ending that is not read"));
        check(".", Err("`.` is a folder"));
    }
}

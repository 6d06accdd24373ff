//! What can go wrong with files, sorted by who can act on it.

use crate::{ConfigError, HeaderError, IndexError};
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// The header of a safetensors file is wrong.
    #[error("{error}\n  in {}", shown(.file))]
    Header { file: PathBuf, error: HeaderError },
    /// The index of a folder is wrong.
    #[error("{error}\n  in {}", shown(.file))]
    Index { file: PathBuf, error: IndexError },
    /// A `config.json` is wrong.
    #[error("{error}\n  in {}", shown(.file))]
    Config { file: PathBuf, error: ConfigError },
    /// The files of a model do not fit together.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// What was asked for cannot be done.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is no room for a file.
    #[error("{} needs {needed} bytes, but the disk has only {free} free", shown(.path))]
    DiskFull { path: PathBuf, needed: u64, free: u64 },
    /// There would be room for a file, but not for this user or process.
    #[error(
        "{} needs {needed} bytes, which is over {limit}, though the disk has {free} free",
        shown(.path)
    )]
    DiskLimit { path: PathBuf, needed: u64, free: u64, limit: DiskLimit },
    /// Reading failed.
    #[error("{} cannot be read: {error}", shown(.path))]
    Read { path: PathBuf, error: io::Error },
    /// Writing failed.
    #[error("{} cannot be written: {error}", shown(.path))]
    Write { path: PathBuf, error: io::Error },
}

/// What keeps a file from being written to a disk that has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskLimit {
    /// What the user may have on the disk.
    Quota,
    /// What one file may have: of the process, or of the file system.
    FileSize,
}

impl DiskLimit {
    fn hint(self) -> &'static str {
        match self {
            Self::Quota => "free some of what the quota counts, or write elsewhere with `-o`",
            Self::FileSize => {
                "`ulimit -f` shows the limit of the process; FAT file systems end files at 4 GiB"
            }
        }
    }
}

impl fmt::Display for DiskLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quota => "the quota of this user",
            Self::FileSize => "the limit of one file's size",
        })
    }
}

/// Why the files of a model do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum ModelError {
    #[error("{} is a PEFT adapter, not a model: it holds what is added to one", shown(.path))]
    Adapter { path: PathBuf },
    #[error("{} holds an index with its shards and a `model.safetensors` beside them, and the two differ in tensor {}: Transformers loads the single file, vLLM the shards", shown(.folder), quoted(.tensor))]
    OtherSingle { tensor: String, folder: PathBuf },
    #[error("{} holds `model.safetensors` and {} without an index, and the two differ in tensor {}: Transformers loads the first alone, vLLM and SGLang all of them", shown(.folder), quoted(.file), quoted(.tensor))]
    OtherBeside { tensor: String, file: String, folder: PathBuf },
    #[error("{} holds no `config.json`", shown(.folder))]
    NoConfig { folder: PathBuf },
    #[error("{} holds no `.safetensors` file", shown(.folder))]
    NoWeights { folder: PathBuf },
    #[error("{} holds no `.safetensors` file, but {}", shown(.folder), quoted(.found))]
    OtherWeights { folder: PathBuf, found: String },
    #[error("{} is {found}, expected a regular file", shown(.path))]
    NotRegular { path: PathBuf, found: &'static str },
    #[error("{} is a link to nothing", shown(.path))]
    DeadLink { path: PathBuf },
    #[error("the index names {}, which is not there\n  in {}", quoted(.shard), shown(.index))]
    NoShard { shard: String, index: PathBuf },
    #[error("the index maps tensor {} to {}, which does not hold it\n  in {}", quoted(.tensor), quoted(.shard), shown(.index))]
    NotInShard { tensor: String, shard: String, index: PathBuf },
    #[error("tensor {} of {} is not in the index\n  in {}", quoted(.tensor), quoted(.shard), shown(.index))]
    NotInIndex { tensor: String, shard: String, index: PathBuf },
    #[error("tensor {} is both in {} and in {}\n  in {}", quoted(.tensor), quoted(.first), quoted(.second), shown(.folder))]
    TwoShards { tensor: String, first: String, second: String, folder: PathBuf },
    #[error("{} has a name that is not UTF-8", shown(.path))]
    NameNotUtf8 { path: PathBuf },
    #[error("{} holds more than {limit} files", shown(.folder))]
    TooManyFiles { folder: PathBuf, limit: usize },
    #[error("{} lies more than {limit} folders deep", shown(.folder))]
    TooDeep { folder: PathBuf, limit: usize },
    #[error("{} has {bytes} bytes, and at most {limit} are allowed", shown(.path))]
    TooLong { path: PathBuf, bytes: u64, limit: u64 },
    #[error("{} is not UTF-8 from its byte {at} on", shown(.path))]
    NotUtf8 { path: PathBuf, at: usize },
}

/// Why a request cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum RequestError {
    #[error("{} does not exist", shown(.path))]
    NoModel { path: PathBuf },
    #[error("{} is neither a folder nor a `.safetensors` file", shown(.path))]
    NotAModel { path: PathBuf },
    #[error("{} does not name an output", shown(.path))]
    NoName { path: PathBuf },
    #[error("the output {} {relation} the input {}", shown(.output), shown(.input))]
    Overlap { output: PathBuf, relation: &'static str, input: PathBuf },
    #[error("{} exists already", shown(.path))]
    Exists { path: PathBuf },
    #[error("{} exists and is {found}, which is never replaced", shown(.path))]
    NotReplaceable { path: PathBuf, found: &'static str },
    #[error("{} is in the way", shown(.path))]
    InTheWay { path: PathBuf },
    #[error("another run is writing {}", shown(.path))]
    Busy { path: PathBuf },
    #[error("{} is not the name of a file inside the output", quoted(.name))]
    Name { name: String },
}

/// Who can act on an error; the exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The request is wrong: exit code 2.
    Request,
    /// The input is wrong: exit code 3.
    Input,
    /// The system failed: exit code 4.
    System,
}

impl Error {
    /// Who can act on it.
    pub fn blame(&self) -> Blame {
        use io::ErrorKind::{NotFound, PermissionDenied, UnexpectedEof};
        match self {
            Self::Request(_) => Blame::Request,
            Self::Header { .. } | Self::Index { .. } | Self::Config { .. } | Self::Model(_) => {
                Blame::Input
            }
            Self::Read { error, .. }
                if matches!(error.kind(), NotFound | PermissionDenied | UnexpectedEof) =>
            {
                Blame::Input
            }
            Self::Read { .. }
            | Self::Write { .. }
            | Self::DiskFull { .. }
            | Self::DiskLimit { .. } => Blame::System,
        }
    }

    /// Whether the input is wrong.
    pub fn is_input(&self) -> bool {
        self.blame() == Blame::Input
    }

    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Header { error, .. } => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Request(error) => error.hint(),
            Self::DiskFull { .. } => Some("free some space, or write to another disk with `-o`"),
            Self::DiskLimit { limit, .. } => Some(limit.hint()),
            Self::Index { .. } | Self::Config { .. } | Self::Read { .. } | Self::Write { .. } => {
                None
            }
        }
    }

    pub(crate) fn read(path: &Path, error: io::Error) -> Self {
        Self::Read { path: path.to_owned(), error }
    }

    pub(crate) fn write(path: &Path, error: io::Error) -> Self {
        Self::Write { path: path.to_owned(), error }
    }
}

impl HeaderError {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::LfsPointer => Some("fetch the file itself with `git lfs pull`"),
            Self::BeyondFile { .. } | Self::OutOfRange { .. } => {
                Some("the file looks truncated; was it downloaded completely?")
            }
            _ => None,
        }
    }
}

impl ModelError {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoConfig { .. } => {
                Some("give the `.safetensors` file itself to go without a `config.json`")
            }
            Self::Adapter { .. } => Some(
                "merge it first: with PEFT, `AutoPeftModelForCausalLM.from_pretrained(folder)`, then \
                 `merge_and_unload()` and `save_pretrained`; give the merged model",
            ),
            Self::OtherSingle { .. } => {
                Some("remove the file or the index and shards, whichever is not the model")
            }
            Self::OtherBeside { .. } => {
                Some("remove whichever is not the model, or save it with an index")
            }
            Self::OtherWeights { .. } => Some(
                "convert it to safetensors first: load it with Transformers and call `save_pretrained`",
            ),
            Self::NoShard { .. } | Self::DeadLink { .. } => {
                Some("was the model downloaded completely, or is the index that of other files?")
            }
            Self::NotInIndex { .. } => Some(
                "some runtimes would load the tensor and others not; correct the index or the file",
            ),
            _ => None,
        }
    }
}

impl RequestError {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exists { .. } => {
                Some("`--force` replaces it once the new one is complete; `-o` writes elsewhere")
            }
            Self::Overlap { .. } => Some("choose a place outside the input with `-o`"),
            Self::NotReplaceable { .. } => Some("move it away, or choose another place with `-o`"),
            Self::InTheWay { .. } => Some("move it away, or choose another name with `-o`"),
            Self::Busy { .. } => Some("wait for it, or choose another output with `-o`"),
            _ => None,
        }
    }
}

/// A name from a file, between backticks: control characters cannot reach a terminal, and no name
/// fills the screen.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", brief(name))
}

/// Text from a file, escaped and cut as [`quoted`] does.
pub(crate) fn brief(text: &str) -> String {
    let cut = text.char_indices().nth(MAX_SHOWN_CHARS);
    let mut shown = escaped(cut.map_or(text, |(at, _)| &text[..at]));
    if cut.is_some() {
        shown.push_str("...");
    }
    shown
}

/// A path between backticks, as its user would write it: a file of the current folder without `./`.
fn shown(path: &Path) -> String {
    let short = path.strip_prefix(".").ok().filter(|short| !short.as_os_str().is_empty());
    format!("`{}`", escaped(&short.unwrap_or(path).to_string_lossy()))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            escaped.extend(char.escape_debug());
        } else {
            escaped.push(char);
        }
    }
    escaped
}

const MAX_SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_control_characters_and_not_endlessly() {
        assert_eq!(quoted("model.norm.weight"), "`model.norm.weight`");
        assert_eq!(quoted("a\u{1b}[2J\nü\\"), r"`a\u{1b}[2J\nü\`");
        assert_eq!(quoted(&"é".repeat(201)), format!("`{}...`", "é".repeat(200)));
    }

    #[test]
    fn an_unreadable_input_is_the_inputs_fault_and_a_broken_disk_the_systems() {
        let check = |kind: io::ErrorKind, expected| {
            assert_eq!(Error::read(Path::new("x"), kind.into()).blame(), expected);
        };
        check(io::ErrorKind::PermissionDenied, Blame::Input);
        check(io::ErrorKind::UnexpectedEof, Blame::Input);
        check(io::ErrorKind::Other, Blame::System);
    }
}

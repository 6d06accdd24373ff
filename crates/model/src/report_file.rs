//! Where the report of the run that wrote an artifact lies.

use llmopt_checkpoint::{REPORT_NAME, Source, report_name_beside};
use std::path::PathBuf;

/// Where the report of the run that wrote an artifact lies, if it does.
pub fn path(source: &Source) -> Option<PathBuf> {
    name(source).map(|name| source.path_of(&name)).filter(|path| path.is_file())
}

/// The report's name: `llmopt.json` in a folder, `NAME.llmopt.json` beside a file.
pub fn name(source: &Source) -> Option<String> {
    match (source.is_folder(), source.shards()) {
        (true, _) => Some(REPORT_NAME.to_owned()),
        (false, [shard]) => Some(report_name_beside(&shard.name)),
        _ => None,
    }
}

/// Several times the report of a model of 100,000 tensors, which has some fifty megabytes.
pub const LIMIT: u64 = 256 << 20;

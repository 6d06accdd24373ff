//! An artifact from its plan to its name: what its files hold and where, the journal of what is written,
//! bands, the loop in which stages rewrite a model block by block, reading back, staging, and the files
//! beside the weights.
//!
//! It never knows which stages there are: how codes are chosen, or what is pruned.

#![forbid(unsafe_code)]

mod artifact;
mod band;
mod bands;
mod block_runs;
mod boundary;
mod envelope;
mod files_beside;
mod fingerprint;
mod front_matter;
mod journal;
mod made_from;
mod output_tensor;
mod read_back;
mod record_file;
mod records;
mod stage;
mod staging;
mod stream;
mod sweep;
mod treatment;

pub use artifact::{ArtifactPlan, INDEX, OutputShard, Planned, Renamed};
pub use band::{Band, Stored};
pub use bands::{BandRewriter, Pass};
pub use block_runs::BlockRuns;
pub use boundary::Boundary;
pub use envelope::{Envelope, FileFacts, FileHashes, Finished};
pub use files_beside::FilesBeside;
pub use front_matter::{
    Found as FoundFrontMatter, FrontMatter, Wanted as WantedFrontMatter, is_repository,
};
pub use journal::Journal;
pub use made_from::{how_made, made_from};
pub use output_tensor::{BAND_BYTES, Named, OutputTensor, StoredPart};
pub use record_file::RecordFile;
pub use records::Records;
pub use stage::{Context, Group, Part, Seen, Stage, Step, Streams};
pub use staging::{BEGUN_ANEW, Candidates, Written, beside_name};
pub use sweep::Sweep;
pub use treatment::Treatment;

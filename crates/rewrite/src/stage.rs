//! What rewrites a model: a stage, what of a block it goes through, and what it observes there.

use llmopt_arch::program::{Phase, Tap};
use llmopt_forward::{Engine, Matrix, Taps, Weights};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error};
use llmopt_sweep::{Batches, Meter, Store};
use std::path::Path;

/// One stage of a sweep: it turns the model before it into the artifact that it writes. It knows no
/// stage beside itself.
pub trait Stage: Sync {
    /// With what it is carried out.
    fn context(&self) -> &Context<'_>;

    /// The model before it.
    fn found(&self) -> &Variant;

    /// The artifact, as far as it is written: its program, and whose tensors fail.
    fn written(&self) -> &Variant;

    /// The weights of a part of the artifact. What is not rewritten yet is as it was found.
    ///
    /// # Errors
    /// If they cannot be read.
    fn written_weights(&self, phase: &Phase) -> Result<Weights, Error>;

    /// Whether it compares the stream of the model before it with its own.
    fn compares(&self) -> bool;

    /// Whether nothing is left to be rewritten.
    fn is_done(&self) -> bool;

    /// What it goes through of a phase of the artifact, in order.
    ///
    /// # Errors
    /// If what is observed there cannot be found.
    fn steps(&self, block: usize, phase: usize) -> Result<Vec<Step>, Error>;

    /// A group at the end of a part, with nothing seen of it.
    fn group(&self, number: usize) -> Box<dyn Group + '_>;
}

/// With what a stage is carried out.
pub struct Context<'a> {
    /// The tokens.
    pub batches: &'a Batches,
    /// What computes.
    pub engine: &'a Engine,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Who is told of work.
    pub meter: Meter<'a>,
    /// A folder for streams that do not fit in memory; none, if they do.
    pub spill: Option<&'a Path>,
    /// The most columns that a stream carries.
    pub width: usize,
}

/// Parts that are observed and rewritten together.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whether groups see all parts as they were found, and the stream goes through them once more as
    /// they were rewritten. Otherwise each part runs behind what is rewritten already.
    pub as_found: bool,
    /// One after the other.
    pub parts: Vec<Part>,
}

/// A part of a block that is run as a whole.
#[derive(Clone, Debug)]
pub struct Part {
    /// As the model before has it, and what of that model the artifact has no more.
    pub found: Vec<Phase>,
    /// As the artifact has it.
    pub written: Phase,
    /// The number of the group that is rewritten once the part was run, if there is one and it was not
    /// rewritten before.
    pub group: Option<usize>,
}

/// Tensors that are rewritten together with what their inputs show.
pub trait Group {
    /// Taps that are shown as the part made them, beside those that it carries.
    fn watched(&self) -> &[Tap] {
        &[]
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// If a stream cannot be read.
    fn add(&mut self, seen: Seen<'_>) -> Result<(), Error>;

    /// Rewrites the tensors.
    ///
    /// # Errors
    /// Of reading, computing and writing.
    fn rewrite(self: Box<Self>, streams: Streams<'_>) -> Result<(), Error>;
}

/// A batch behind a part.
pub struct Seen<'s> {
    /// Its number.
    pub batch: usize,
    /// What the stream carries from here on. Where a step runs as it was found, it is a copy that a group
    /// may have carry something else.
    pub taps: &'s mut Taps,
    /// The taps watched.
    pub watched: Vec<Matrix>,
    /// The stream of the model before, behind the part; none where it is not compared with.
    pub before: Option<&'s Store>,
}

/// The streams when all batches were seen.
pub struct Streams<'s> {
    /// What was left in the copy that ran as found, if one did.
    pub seen: Option<&'s Store>,
    /// The artifact's stream: in front of the step, if a copy ran.
    pub rewritten: &'s Store,
    /// That of the model before, behind the part; none where it is not compared with.
    pub before: Option<&'s Store>,
}

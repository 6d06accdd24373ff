//! Everything about an evaluation that is known before a weight is read.

use crate::evaluation::judge::Losses;
use crate::evaluation::logits::LogitFile;
use crate::evaluation::request::EvaluationRequest;
use crate::evaluation::result::Protocol;
use crate::evaluation::set::Set;
use llmopt_checkpoint::free_disk;
use llmopt_data::same_tokenizer;
use llmopt_eval::{Gate, Needs};
use llmopt_forward::Engine;
use llmopt_linalg::Gemm;
use llmopt_model::{Variant, notes};
use llmopt_run::{Disk, Error, Resources};
use llmopt_sweep::{Batches, ReadingMemory, alone_bytes, alone_tokens, planned};
use serde::Serialize;

/// An evaluation that can be carried out.
pub struct EvaluationPlan {
    pub(super) request: EvaluationRequest,
    /// The artifact, or the reference and then the artifact.
    pub(super) variants: Vec<Variant>,
    pub(super) set: Set,
    pub(super) batches: Batches,
    pub(super) engine: Engine,
    pub(super) memory: ReadingMemory,
    pub(super) protocol: Protocol,
    pub(super) resources: Resources,
}

/// What a plan says.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationSummary {
    /// The model to evaluate.
    pub artifact: String,
    /// What it is held against.
    pub reference: Option<String>,
    /// How it will be measured.
    pub protocol: Protocol,
    /// Sequences: windows, and one for each choice of a question.
    pub sequences: usize,
    /// Tokens in them.
    pub tokens: usize,
    /// Memory that it will take.
    pub memory: ReadingMemory,
    /// Room that the scratch file will take.
    pub scratch: Disk,
    /// What must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// What a reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan_evaluation(
    request: &EvaluationRequest,
    resources: Resources,
) -> Result<EvaluationPlan, Error> {
    let has = |needs| provides(request, needs);
    if !has(Needs::Text) && !has(Needs::Tasks) {
        return Err(nothing_to_measure());
    }
    request.gates.iter().try_for_each(|gate| check_gate(gate, has))?;
    let gemm = Gemm::new(request.precision, request.kernel)
        .map_err(|error| Error::Refused(error.to_string()))?;
    let engine = Engine::new(gemm);
    let paths = request.against.iter().chain([&request.artifact]);
    let variants: Vec<Variant> = paths.map(|path| Variant::open(path)).collect::<Result<_, _>>()?;
    if let [reference, artifact] = &variants[..] {
        comparable(reference, artifact)?;
    }
    let mut set = Set::read(request, &variants)?;
    set.notes.extend(notes(&variants)?);
    let batches = Batches::new(set.sequences(), request.logits.is_some());
    let protocol = Protocol {
        dtype: request.precision.to_string(),
        kernel: gemm.name().to_owned(),
        block_tokens: request.against.is_some().then(|| alone_tokens(&batches)),
        text: set.text.clone(),
        tasks: set.tasks.clone(),
    };
    let alone = match &variants[..] {
        [_, artifact] => alone_bytes(artifact, &batches),
        _ => 0,
    };
    let judged = Losses::bytes(&batches, request.against.is_some()) + alone;
    let read: Vec<&Variant> = variants.iter().collect();
    let memory = planned(&read, &batches, &engine, judged, resources)?;
    let request = request.clone();
    let plan =
        EvaluationPlan { request, variants, set, batches, engine, memory, protocol, resources };
    plan.check_disk()?;
    Ok(plan)
}

impl EvaluationPlan {
    /// The plan in a form for people and programs.
    pub fn summary(&self) -> EvaluationSummary {
        EvaluationSummary {
            artifact: self.artifact().name(),
            reference: self.reference().map(Variant::name),
            protocol: self.protocol.clone(),
            sequences: self.batches.sequences().len(),
            tokens: self.batches.tokens(),
            memory: self.memory.clone(),
            scratch: self.scratch(),
            gates: self.request.gates.iter().map(ToString::to_string).collect(),
            notes: self.set.notes.clone(),
        }
    }

    pub(super) fn artifact(&self) -> &Variant {
        &self.variants[self.variants.len() - 1]
    }

    pub(super) fn reference(&self) -> Option<&Variant> {
        self.variants.first().filter(|_| self.variants.len() > 1)
    }

    fn scratch(&self) -> Disk {
        let needed = if self.memory.spills { self.memory.hidden_bytes } else { 0 };
        Disk { needed, free: free_disk(&self.request.scratch).ok() }
    }

    fn check_disk(&self) -> Result<(), Error> {
        let folder = &self.request.scratch;
        let Disk { needed, free } = self.scratch();
        if free.is_some_and(|free| free < needed) {
            return Err(Error::RefusedWithHint {
                what: format!(
                    "hidden states take {needed} bytes in `{}`, and there are {} free",
                    folder.display(),
                    free.unwrap_or(0)
                ),
                hint:
                    "`--scratch` takes another folder; more `--memory` or fewer `--samples` need \
                       less"
                        .to_owned(),
            });
        }
        let Some(path) = &self.request.logits else { return Ok(()) };
        let needed = LogitFile::data_bytes(&self.batches, self.artifact().program().vocabulary);
        let free = free_disk(path).unwrap_or(u64::MAX);
        if free < needed {
            return Err(Error::RefusedWithHint {
                what: format!(
                    "logits of all tokens take {needed} bytes in `{}`, and there are {free} free",
                    path.display()
                ),
                hint: "fewer `--samples` take less".to_owned(),
            });
        }
        Ok(())
    }
}

/// Whether this run computes what a metric needs.
fn provides(request: &EvaluationRequest, needs: Needs) -> bool {
    let (text, tasks) = (request.text.is_some(), request.tasks.is_some());
    let against = request.against.is_some();
    match needs {
        Needs::Artifact => true,
        Needs::Text => text,
        Needs::TextAndReference => text && against,
        Needs::Tasks => tasks,
        Needs::TasksAndReference => tasks && against,
    }
}

fn check_gate(gate: &Gate, has: impl Fn(Needs) -> bool) -> Result<(), Error> {
    let (metric, needs) = (gate.metric(), gate.metric().needs());
    let options = match needs {
        _ if has(needs) => return Ok(()),
        Needs::Artifact => return Ok(()),
        Needs::Text => "`--text`",
        Needs::TextAndReference if has(Needs::Text) => "`--against`",
        Needs::TextAndReference => "`--text` and `--against`",
        Needs::Tasks => "`--tasks`",
        Needs::TasksAndReference if has(Needs::Tasks) => "`--against`",
        Needs::TasksAndReference => "`--tasks` and `--against`",
    };
    Err(Error::RefusedWithHint {
        what: format!(
            "the gate `{gate}` is on `{}`, which this run does not compute",
            metric.name()
        ),
        hint: format!("{options} would"),
    })
}

fn nothing_to_measure() -> Error {
    Error::RefusedWithHint {
        what: "there is nothing to measure on".to_owned(),
        hint: "`--text` gives a text, `--tasks` questions".to_owned(),
    }
}

/// What a reader should know of the models, each with its name where there are two.
fn notes(variants: &[Variant]) -> Result<Vec<String>, Error> {
    let mut told = Vec::new();
    for variant in variants {
        let of_it = notes::of_running(variant.source(), variant.model()).into_iter();
        told.extend(of_it.map(|note| match variants.len() {
            1 => note,
            _ => format!("`{}`: {note}", variant.name()),
        }));
    }
    if let [reference, artifact] = variants
        && !same_tokenizer(reference.source(), artifact.source())?
    {
        let (artifact, reference) = (artifact.name(), reference.name());
        told.push(format!(
            "`{artifact}` has another `tokenizer.json` than `{reference}`: both were given the tokens of \
             `{reference}`, and if `{artifact}` was made for its own, KL divergence and agreement mean \
             nothing"
        ));
    }
    Ok(told)
}

/// Whether logits of one can be held against those of the other.
fn comparable(reference: &Variant, artifact: &Variant) -> Result<(), Error> {
    let family = |variant: &Variant| variant.model().family().map(|family| family.name());
    let vocabulary = |variant: &Variant| variant.program().vocabulary;
    let refused = |what: String| Err(Error::Input { what, hint: Some(NOT_COMPARABLE.to_owned()) });
    if family(reference) != family(artifact) {
        let name = |variant| family(variant).unwrap_or("unknown");
        return refused(format!(
            "`{}` is of family `{}`, but `{}` of `{}`",
            artifact.name(),
            name(artifact),
            reference.name(),
            name(reference)
        ));
    }
    if vocabulary(reference) != vocabulary(artifact) {
        return refused(format!(
            "`{}` has a vocabulary of {}, but `{}` one of {}",
            artifact.name(),
            vocabulary(artifact),
            reference.name(),
            vocabulary(reference)
        ));
    }
    Ok(())
}

const NOT_COMPARABLE: &str = "`--against` takes the model that the artifact was made from";

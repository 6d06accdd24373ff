//! Everything about an evaluation that is known before a weight is read.

use crate::compute;
use crate::evaluation::baseline::{Baseline, Baselined, Measuring, NamedTasks, NamedText};
use crate::evaluation::check::{check, refused};
use crate::evaluation::facts::parameters;
use crate::evaluation::logits::LogitFile;
use crate::evaluation::request::EvaluationRequest;
use crate::evaluation::result::{Protocol, TaskProtocol, TextProtocol};
use crate::evaluation::step::{Means, Step};
use llmopt_checkpoint::free_disk;
use llmopt_data::same_tokenizer;
use llmopt_eval::Gate;
use llmopt_forward::Engine;
use llmopt_model::{Variant, notes};
use llmopt_run::{Disk, Error, Resources};
use llmopt_sweep::ReadingMemory;
use serde::Serialize;

/// An evaluation that can be carried out.
pub struct EvaluationPlan {
    pub(super) request: EvaluationRequest,
    /// The artifact, or the reference and then the artifact.
    pub(super) variants: Vec<Variant>,
    /// What goes through them; all but the first only while a gate is unsure.
    pub(super) steps: Vec<Step>,
    /// For each gate, what the baseline has.
    pub(super) baseline: Vec<Option<Baselined>>,
    pub(super) engine: Engine,
    pub(super) resources: Resources,
    /// What a reader should know.
    pub(super) notes: Vec<String>,
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
    /// Each text; empty, where there is but one, without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<NamedProtocol<TextProtocol>>,
    /// The questions of each file; empty, where there is but one, without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<NamedProtocol<TaskProtocol>>,
    /// Windows of all texts that may be taken while a gate is unsure, if more may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_windows: Option<usize>,
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

/// A text or tasks with their name.
#[derive(Clone, Debug, Serialize)]
pub struct NamedProtocol<P> {
    /// The name.
    pub name: String,
    /// What it is.
    pub protocol: P,
}

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan_evaluation(
    request: &EvaluationRequest,
    resources: Resources,
) -> Result<EvaluationPlan, Error> {
    check(request)?;
    let baseline = request.baseline.as_deref().map(Baseline::read).transpose()?;
    let gemm = compute::gemm(request.precision, request.kernel, request.code_inputs)?;
    if request.max_samples.is_some() && gemm.looks_at_sizes() {
        return Err(refused(
            format!(
                "`--max-samples` does not go with the kernel `{}`: its sums depend on how many windows \
                 there are",
                gemm.name()
            ),
            "`--kernel portable` goes with it everywhere",
        ));
    }
    let engine = Engine::new(gemm);
    let paths = request.against.iter().chain([&request.artifact]);
    let variants: Vec<Variant> = paths.map(|path| Variant::open(path)).collect::<Result<_, _>>()?;
    compute::check_code_inputs(gemm, &variants.iter().collect::<Vec<_>>())?;
    if let [reference, artifact] = &variants[..] {
        comparable(reference, artifact)?;
    }
    let steps = Means { request, variants: &variants, engine: &engine, resources }.steps()?;
    let mut told = steps.first().map(|step| step.set.notes.clone()).unwrap_or_default();
    told.extend(notes(&variants)?);
    let request = request.clone();
    let (notes, none) = (told, Vec::new());
    let mut plan =
        EvaluationPlan { request, variants, steps, baseline: none, engine, resources, notes };
    plan.baseline = plan.baselines(baseline.as_ref())?;
    plan.check_disk()?;
    Ok(plan)
}

impl EvaluationPlan {
    /// The plan in a form for people and programs.
    pub fn summary(&self) -> EvaluationSummary {
        let first = self.first();
        let texts = first.set.texts.iter().filter_map(|text| {
            Some(NamedProtocol { name: text.name.clone()?, protocol: text.protocol.clone() })
        });
        let tasks = first.set.tasks.iter().filter_map(|tasks| {
            Some(NamedProtocol { name: tasks.name.clone()?, protocol: tasks.protocol.clone() })
        });
        let most = self.steps.last().filter(|_| self.steps.len() > 1);
        EvaluationSummary {
            artifact: self.artifact().name(),
            reference: self.reference().map(Variant::name),
            protocol: self.protocol(first),
            texts: texts.collect(),
            tasks: tasks.collect(),
            most_windows: most.map(|step| step.set.windows(None)),
            sequences: first.batches.sequences().len(),
            tokens: first.batches.tokens(),
            memory: self.memory(),
            scratch: self.scratch(),
            gates: self.request.gates.iter().map(ToString::to_string).collect(),
            notes: self.notes.clone(),
        }
    }

    /// How what is measured after a step was measured.
    pub(super) fn protocol(&self, step: &Step) -> Protocol {
        let gemm = self.engine.gemm();
        let (texts, tasks) = (&step.set.texts, &step.set.tasks);
        Protocol {
            dtype: self.request.precision.to_string(),
            activations: compute::told(gemm).map(str::to_owned),
            kernel: gemm.name().to_owned(),
            block_tokens: self.request.against.is_some().then_some(step.first_tokens),
            text: if let [text] = &texts[..] { Some(text.protocol.clone()) } else { None },
            tasks: if let [tasks] = &tasks[..] { Some(tasks.protocol.clone()) } else { None },
        }
    }

    /// The step that is always taken.
    pub(super) fn first(&self) -> &Step {
        &self.steps[0]
    }

    /// What the baseline has for each gate.
    fn baselines(&self, baseline: Option<&Baseline>) -> Result<Vec<Option<Baselined>>, Error> {
        let set = &self.first().set;
        let amounts = |number: usize| -> Vec<usize> {
            self.steps.iter().map(|step| step.set.texts[number].len()).collect()
        };
        let texts = set.texts.iter().enumerate();
        let run = Measuring {
            dtype: &self.request.precision.to_string(),
            activations: compute::told(self.engine.gemm()),
            reference: self.reference().map(parameters),
            texts: texts.map(|(number, text)| NamedText::of(text, amounts(number))).collect(),
            tasks: set.tasks.iter().map(NamedTasks::of).collect(),
        };
        let of = |gate: &Gate| match baseline.filter(|_| gate.is_relative()) {
            Some(baseline) => baseline.value(gate, &run).map(Some),
            None => Ok(None),
        };
        self.request.gates.iter().map(of).collect()
    }

    /// What the step that takes most takes.
    fn memory(&self) -> ReadingMemory {
        let mut memory = self.first().memory.clone();
        for step in &self.steps {
            memory.predicted_peak = memory.predicted_peak.max(step.memory.predicted_peak);
            memory.smallest = memory.smallest.max(step.memory.smallest);
            memory.hidden_bytes = memory.hidden_bytes.max(step.memory.hidden_bytes);
            memory.spills |= step.memory.spills;
        }
        memory
    }

    pub(super) fn artifact(&self) -> &Variant {
        &self.variants[self.variants.len() - 1]
    }

    pub(super) fn reference(&self) -> Option<&Variant> {
        self.variants.first().filter(|_| self.variants.len() > 1)
    }

    fn scratch(&self) -> Disk {
        let spilled = self.steps.iter().map(|step| &step.memory).filter(|memory| memory.spills);
        let needed = spilled.map(|memory| memory.hidden_bytes).max().unwrap_or(0);
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
        let needed =
            LogitFile::data_bytes(&self.first().batches, self.artifact().program().vocabulary);
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

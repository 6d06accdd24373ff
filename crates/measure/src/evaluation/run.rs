//! An evaluation carried out.

use crate::evaluation::baseline::Baselined;
use crate::evaluation::facts;
use crate::evaluation::facts::ModelFacts;
use crate::evaluation::figures::{Results, TaskFigures, TextFigures};
use crate::evaluation::judge::{Losses, Seen};
use crate::evaluation::logits::LogitFile;
use crate::evaluation::metrics;
use crate::evaluation::plan::EvaluationPlan;
use crate::evaluation::provenance::Record;
use crate::evaluation::result::{BlockLoss, Evaluation};
use crate::evaluation::set::Key;
use crate::evaluation::step::Step;
use llmopt_eval::{BlockError, Gate, Outcome, Verdict};
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::{Reading, Run};
use std::collections::BTreeMap;

/// Carries out a plan: one reading sweep, and another one on more windows while they leave a gate unsure and
/// the request lets it take them.
///
/// # Errors
/// If a model cannot be read, or computes NaN or infinity. A gate that is missed is no error.
pub fn evaluate(
    plan: &EvaluationPlan,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Evaluation, Error> {
    let record = Record::of(plan.artifact())?;
    let (mut seen, mut notes) = (BTreeMap::new(), plan.notes.clone());
    let (mut step, mut more) = (plan.first(), plan.steps.iter().skip(1));
    let mut on_baselines = vec![None; plan.request.gates.len()];
    loop {
        seen.extend(step.keys.iter().copied().zip(swept(plan, step, events, cancel)?));
        let mut evaluation = measured(plan, step, &seen, &record);
        keep_those_on_baselines(plan, step, &mut evaluation.gates, &mut on_baselines);
        let open = more.next().and_then(|next| Some((next, open(plan, &evaluation, step, next)?)));
        let Some((next, why)) = open else { return Ok(Evaluation { notes, ..evaluation }) };
        let note = format!("{why}: {} were taken", next.set.windows(None));
        events.note(&note);
        notes.push(note);
        step = next;
    }
}

/// Gates that are relative to a baseline are decided on just its windows: their outcome there is kept, however
/// many windows others take.
fn keep_those_on_baselines(
    plan: &EvaluationPlan,
    step: &Step,
    gates: &mut [Outcome],
    kept: &mut [Option<Outcome>],
) {
    for ((outcome, kept), baseline) in gates.iter_mut().zip(kept).zip(&plan.baseline) {
        let windows = baseline.and_then(|baseline| baseline.windows);
        if windows == Some(step.set.windows(outcome.part.as_deref())) {
            *kept = Some(outcome.clone());
        }
        if let Some(kept) = kept {
            *outcome = kept.clone();
        }
    }
}

/// Why `next` is taken: a gate that the windows of `step` leave unsure and of whose text it takes more, or one
/// whose baseline was measured on more.
fn open(
    plan: &EvaluationPlan,
    evaluation: &Evaluation,
    step: &Step,
    next: &Step,
) -> Option<String> {
    let mut gates = evaluation.gates.iter().zip(&plan.baseline);
    gates.find_map(|(gate, baseline)| {
        let part = gate.part.as_deref();
        let (taken, more) = (step.set.windows(part), next.set.windows(part));
        match baseline.and_then(|baseline| baseline.windows) {
            Some(windows) => (windows > taken)
                .then(|| format!("the baseline of `{}` is of {windows} windows", gate.gate)),
            None => {
                let grows = gate.metric.is_of_text() && more > taken;
                (grows && gate.verdict == Verdict::Unsure)
                    .then(|| format!("`{}` was unsure on {taken} windows", gate.gate))
            }
        }
    })
}

/// What follows from the sequences of a step and all before it.
fn measured(
    plan: &EvaluationPlan,
    step: &Step,
    seen: &BTreeMap<Key, Seen>,
    record: &Record,
) -> Evaluation {
    let results = Results { set: &step.set, seen, against: plan.reference().is_some() };
    let TextFigures { perplexity, comparison } = results.of_texts();
    let TaskFigures { accuracy, choices } = results.of_tasks();
    let mut evaluation = Evaluation {
        tool: "llmopt",
        version: env!("CARGO_PKG_VERSION"),
        artifact: ModelFacts::of(plan.artifact()),
        reference: plan.reference().map(ModelFacts::of),
        protocol: plan.protocol(step),
        perplexity,
        comparison,
        blocks: block_losses(&results.blocks(step.first_batch.clone())),
        accuracy,
        choices,
        texts: results.texts(),
        tasks: results.tasks(),
        classes: facts::classes(plan.artifact(), plan.reference()),
        tensors: facts::tensors(plan.artifact(), record),
        record: record.facts.clone(),
        gates: Vec::new(),
        notes: Vec::new(),
    };
    evaluation.gates = gates(plan, &evaluation);
    evaluation
}

/// One sweep, on so many threads.
fn swept(
    plan: &EvaluationPlan,
    step: &Step,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Vec<Seen>, Error> {
    let vocabulary = plan.artifact().program().vocabulary;
    let logits = plan.request.logits.as_deref();
    let logits =
        logits.map(|path| LogitFile::create(path, &step.batches, vocabulary)).transpose()?;
    let mut losses = Losses::new(&step.batches, plan.reference().is_some(), logits);
    let reading = Reading {
        variants: &plan.variants,
        batches: &step.batches,
        memory: &step.memory,
        run: Run {
            engine: &plan.engine,
            resources: plan.resources,
            scratch: &plan.request.scratch,
            events,
            cancel,
        },
    };
    events.stage_started("evaluate", reading.bytes());
    on_threads(plan.resources.threads, || reading.sweep(&mut losses))??;
    events.stage_finished("evaluate");
    losses.finished()
}

fn block_losses(blocks: &[(BlockError, BlockError)]) -> Vec<BlockLoss> {
    let loss = |(layer, (after, added)): (usize, &(BlockError, BlockError))| BlockLoss {
        layer,
        added_error: added.per_token().sqrt(),
        relative_error: after.relative().sqrt(),
        per_token: after.per_token().sqrt(),
        squared_distance: after.squared_distance(),
    };
    blocks.iter().enumerate().map(loss).collect()
}

fn gates(plan: &EvaluationPlan, evaluation: &Evaluation) -> Vec<Outcome> {
    let checked = |(gate, baseline): (&Gate, &Option<Baselined>)| {
        let baseline = baseline.map(|baseline| baseline.value);
        gate.check(&metrics::found(evaluation, gate), baseline, plan.request.on_unsure)
    };
    plan.request.gates.iter().zip(&plan.baseline).map(checked).collect()
}

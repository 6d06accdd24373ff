//! An evaluation carried out.

use crate::evaluation::facts;
use crate::evaluation::facts::ModelFacts;
use crate::evaluation::judge::{Blocks, Found, Losses};
use crate::evaluation::logits::LogitFile;
use crate::evaluation::plan::EvaluationPlan;
use crate::evaluation::provenance::Record;
use crate::evaluation::result::{BlockLoss, Evaluation};
use llmopt_eval::{
    BlockError, Metric, Outcome, PairLoss, accuracy, compare, compare_choices, perplexity,
};
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::{Reading, Run};

/// Carries out a plan: one reading sweep.
///
/// # Errors
/// If a model cannot be read, or computes NaN or infinity. A gate that is missed is no error.
pub fn evaluate(
    plan: &EvaluationPlan,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Evaluation, Error> {
    let (found, blocks) = swept(plan, events, cancel)?;
    let record = Record::of(plan.artifact())?;
    let mut evaluation = Evaluation {
        tool: "llmopt",
        version: env!("CARGO_PKG_VERSION"),
        artifact: ModelFacts::of(plan.artifact()),
        reference: plan.reference().map(ModelFacts::of),
        protocol: plan.protocol.clone(),
        perplexity: None,
        comparison: None,
        blocks: block_losses(&blocks),
        accuracy: None,
        choices: None,
        classes: facts::classes(plan.artifact(), plan.reference()),
        tensors: facts::tensors(plan.artifact(), &record),
        record: record.facts,
        gates: Vec::new(),
        notes: plan.set.notes.clone(),
    };
    match found {
        Found::Alone(losses) => {
            let nll = |loss: &llmopt_eval::TokenLoss| loss.nll;
            let (windows, choices) = plan.set.divided(losses);
            evaluation.perplexity = plan.set.text.is_some().then(|| perplexity(&windows));
            let questions = plan.set.questions(&choices, nll);
            evaluation.accuracy = plan.set.tasks.is_some().then(|| accuracy(&questions));
        }
        Found::Against(losses) => {
            let (windows, choices) = plan.set.divided(losses);
            evaluation.comparison = plan.set.text.is_some().then(|| compare(&windows));
            evaluation.perplexity = evaluation.comparison.as_ref().map(|found| found.perplexity);
            let reference = plan.set.questions(&choices, |loss: &PairLoss| loss.nll_reference);
            let artifact = plan.set.questions(&choices, |loss: &PairLoss| loss.nll);
            evaluation.choices =
                plan.set.tasks.is_some().then(|| compare_choices(&reference, &artifact));
        }
    }
    evaluation.gates = gates(plan, &evaluation);
    Ok(evaluation)
}

/// One sweep, on so many threads.
fn swept(
    plan: &EvaluationPlan,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<(Found, Blocks), Error> {
    let vocabulary = plan.artifact().program().vocabulary;
    let logits = plan.request.logits.as_deref();
    let logits =
        logits.map(|path| LogitFile::create(path, &plan.batches, vocabulary)).transpose()?;
    let mut losses = Losses::new(&plan.batches, plan.reference().is_some(), logits);
    let reading = Reading {
        variants: &plan.variants,
        batches: &plan.batches,
        memory: &plan.memory,
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

fn block_losses(blocks: &Blocks) -> Vec<BlockLoss> {
    let loss = |(layer, (after, added)): (usize, (&BlockError, &BlockError))| BlockLoss {
        layer,
        added_error: added.per_token().sqrt(),
        relative_error: after.relative().sqrt(),
        per_token: after.per_token().sqrt(),
        squared_distance: after.squared_distance(),
    };
    blocks.after.iter().zip(&blocks.added).enumerate().map(loss).collect()
}

fn gates(plan: &EvaluationPlan, evaluation: &Evaluation) -> Vec<Outcome> {
    let value = |metric| metric_value(evaluation, metric).unwrap_or(f64::NAN);
    plan.request.gates.iter().map(|gate| gate.check(value(gate.metric()))).collect()
}

/// The value of a metric, if it was computed.
fn metric_value(evaluation: &Evaluation, metric: Metric) -> Option<f64> {
    let comparison = evaluation.comparison.as_ref();
    let choices = evaluation.choices.as_ref();
    match metric {
        Metric::Ppl => evaluation.perplexity.map(|found| found.value),
        Metric::PplRatio => comparison.map(|found| found.perplexity_ratio.value),
        Metric::Kld => comparison.map(|found| found.kld.mean.value),
        Metric::KldP99 => comparison.map(|found| found.kld.p99.value),
        Metric::Top1 => comparison.map(|found| found.top1.value),
        Metric::Flips => choices.map(|found| found.flips.value),
        Metric::Accuracy => {
            let alone = evaluation.accuracy.as_ref();
            alone.or(choices.map(|found| &found.artifact)).map(|found| found.accuracy.value)
        }
        Metric::Size => Some(evaluation.artifact.bytes as f64),
        Metric::Bpw => Some(evaluation.artifact.bits_per_weight),
    }
}

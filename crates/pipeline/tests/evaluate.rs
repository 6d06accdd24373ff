//! Evaluations from end to end: the numbers depend on neither threads nor budget, a model has no
//! distance from itself, and what cannot be measured is refused by name.

use llmopt_pipeline::{
    Cancel, Error, Evaluation, EvaluationRequest, GroupSize, KernelChoice, Precision, Recipe,
    Resources, Scheme, Silent, Target, evaluate, plan, plan_evaluation, quantize,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn tiny() -> PathBuf {
    testdata("tiny-llama")
}

fn request(artifact: &Path, against: Option<&Path>) -> EvaluationRequest {
    EvaluationRequest {
        against: against.map(Path::to_owned),
        texts: vec![testdata("tiny-llama/evaluation.txt").into()],
        window: Some(48),
        samples: Some(90),
        scratch: std::env::temp_dir(),
        ..EvaluationRequest::new(artifact)
    }
}

const AMPLE: Resources = Resources { memory: 4 << 30, threads: 2 };

fn run(request: &EvaluationRequest, resources: Resources) -> Result<Evaluation, Error> {
    evaluate(&plan_evaluation(request, resources)?, &Silent, &Cancel::new())
}

/// An artifact of tiny-llama.
fn quantized(scheme: &str) -> (TempDir, PathBuf) {
    quantized_in(scheme, &[])
}

/// An artifact of tiny-llama in which matrices of these patterns alone are quantized; all, if there are
/// none.
fn quantized_in(scheme: &str, include: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("artifact");
    let scheme = Scheme::preset(scheme).expect("a preset");
    let include = include.iter().map(|&pattern| pattern.to_owned()).collect();
    let recipe = Recipe { group_size: GroupSize::Auto, include, ..Recipe::new(scheme) };
    let target = Target { output: Some(output.clone()), ..Target::default() };
    let plan = plan(&tiny(), &target, &recipe, AMPLE).expect("a plan");
    quantize(&plan, &Silent, &Cancel::new()).expect("a run");
    (folder, output)
}

#[test]
fn numbers_depend_on_neither_threads_nor_budget() {
    let (_folder, artifact) = quantized("w4a16");
    let original = tiny();
    let request = request(&artifact, Some(&original));
    let json = |resources| {
        serde_json::to_string(&run(&request, resources).expect("a run")).expect("numbers")
    };
    let expected = json(AMPLE);
    for threads in [1, 4] {
        assert_eq!(json(Resources { threads, ..AMPLE }), expected, "{threads} threads");
    }
    let smallest = |threads| {
        let nothing = Resources { memory: 1, threads };
        match plan_evaluation(&request, nothing).err().expect("too little") {
            Error::Budget { smallest, .. } => smallest,
            other => panic!("{other}"),
        }
    };
    for threads in [1, 2] {
        let tight = Resources { memory: smallest(threads), threads };
        let plan = plan_evaluation(&request, tight).expect("the smallest budget works");
        assert!(plan.summary().memory.spills);
        assert_eq!(json(tight), expected, "{tight:?}");
    }
}

#[test]
fn a_model_has_no_distance_from_itself() {
    let model = tiny();
    let found = run(&request(&model, Some(&model)), AMPLE).expect("a run");
    let comparison = found.comparison.expect("a comparison");
    assert_eq!(comparison.kld.max, 0.0);
    assert_eq!(comparison.top1.value, 1.0);
    assert_eq!(comparison.perplexity_ratio.value, 1.0);
    assert!(found.blocks.iter().all(|block| block.relative_error == 0.0));
    assert!(found.blocks.iter().all(|block| block.added_error == 0.0));
    let alone = run(&request(&model, None), AMPLE).expect("a run").perplexity.expect("a text");
    assert_eq!(alone.value, comparison.perplexity.value);
}

#[test]
fn more_bits_lose_less_and_quantized_activations_more() {
    let original = tiny();
    let kld = |scheme| {
        let (_folder, artifact) = quantized(scheme);
        let found = run(&request(&artifact, Some(&original)), AMPLE).expect("a run");
        assert_eq!(found.blocks.len(), 4);
        assert!(found.tensors.iter().all(|tensor| tensor.relative_error.is_some()));
        found.comparison.expect("a comparison").kld.mean.value
    };
    let (w8a16, w8a8, w4a16) = (kld("w8a16"), kld("w8a8"), kld("w4a16"));
    assert!(0.0 < w8a16 && w8a16 < w8a8 && w8a8 < w4a16, "{w8a16} {w8a8} {w4a16}");
}

/// Errors of one block go on to the next ones; what these add by themselves is nothing.
#[test]
fn a_block_that_is_as_it_was_adds_nothing_whatever_comes_before_it() {
    let (_folder, artifact) = quantized_in("w4a16", &["*.layers.1.*"]);
    let found = run(&request(&artifact, Some(&tiny())), AMPLE).expect("a run");
    let added: Vec<f64> = found.blocks.iter().map(|block| block.added_error).collect();
    let after: Vec<f64> = found.blocks.iter().map(|block| block.per_token).collect();
    assert_eq!([added[0], added[2], added[3]], [0.0; 3]);
    assert_eq!(after[0], 0.0);
    assert!(added[1] > 1e-3 && after[2] > 1e-3 && after[3] > 1e-3, "{added:?} {after:?}");
    // All windows make two batches, of which the first was run; what came before the block was the same.
    assert!((added[1] / after[1] - 1.0).abs() < 0.1, "{added:?} {after:?}");
    assert_eq!(found.protocol.block_tokens, Some(4096 / 48 * 48));
}

#[test]
fn bf16_is_close_to_f32_and_is_not_f32() {
    let model = tiny();
    let perplexity = |precision| {
        let request = EvaluationRequest { precision, ..request(&model, None) };
        run(&request, AMPLE).expect("a run").perplexity.expect("a text").value
    };
    let ratio = perplexity(Precision::Bf16) / perplexity(Precision::F32);
    assert!(ratio != 1.0 && (ratio - 1.0).abs() < 0.01, "{ratio}");
}

/// The message and the hint of a request that is refused, or of an input that is wrong.
fn refusal(request: &EvaluationRequest) -> String {
    let error = run(request, AMPLE).expect_err("an error");
    format!("{error} / {}", error.hint().unwrap_or_default())
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let model = tiny();
    let plain = request(&model, None);
    let check = |request: EvaluationRequest, expected: &[&str]| {
        let found = refusal(&request);
        assert!(expected.iter().all(|part| found.contains(part)), "{found}");
    };
    let gate = |gate: &str| vec![gate.parse().expect("a gate")];
    check(
        EvaluationRequest { gates: gate("kld <= 0.03"), ..plain.clone() },
        &["kld <= 0.03", "does not compute", "/ `--against` would"],
    );
    check(
        EvaluationRequest { texts: Vec::new(), ..plain.clone() },
        &["nothing to measure", "`--text`"],
    );
    check(
        EvaluationRequest { window: Some(1 << 20), ..plain.clone() },
        &["and one window takes 1048576", "evaluation.txt"],
    );
    check(
        EvaluationRequest { against: Some(testdata("families/qwen3")), ..plain.clone() },
        &["is of family `llama`, but", "of `qwen3`"],
    );
    check(
        EvaluationRequest { against: Some(testdata("families/llama-tied")), ..plain.clone() },
        &["has a vocabulary of", "but `llama-tied` one of 96"],
    );
    check(
        EvaluationRequest { artifact: testdata("families/llama-tied"), ..plain.clone() },
        &["`tokenizer.json` is missing"],
    );
    check(
        EvaluationRequest { kernel: KernelChoice::Faer, precision: Precision::Bf16, ..plain },
        &["kernel `faer` does not compute in bf16"],
    );
}

//! Evaluations made by hand, for tests of reports.

use llmopt_pipeline::{
    Accuracy, Bench, BenchMachine, BenchProtocol, BenchedBatch, BenchedModel, BenchedQuality,
    BlockLoss, BytesPerToken, ChoiceComparison, ClassSize, Comparison, Divergence, Estimate,
    Evaluation, Gate, Goal, Histogram, JudgedOn, JudgedText, LadderReport, MixedCandidate,
    MixedReport, MixedUnit, ModelFacts, OnUnsure, PlannedRung, Protocol, Provenance,
    ProvenanceData, ProvenanceSource, ReadBandwidth, Rung, Spread, TaskProtocol, TaskResult,
    TensorFacts, TextProtocol, TextResult, UnitChoice, WeightBytes, WindowFacts,
};

/// An int4 artifact of a small llama against the original, one gate of three missed.
pub(crate) fn comparison() -> Evaluation {
    let gate = |gate: &str, found: Estimate| {
        gate.parse::<Gate>().unwrap().check(&found, None, OnUnsure::Fail)
    };
    Evaluation {
        artifact: ModelFacts {
            name: "llama-8m-w4a16".to_owned(),
            bytes: 10_347_008,
            bits_per_weight: 10.52,
            linear_bits_per_weight: Some(4.25),
            schemes: vec!["w4a16 g64".to_owned()],
            ..model()
        },
        reference: Some(model()),
        comparison: Some(compared()),
        perplexity: Some(estimate(24.131_7, 23.09, 25.27)),
        blocks: (0..8).map(block).collect(),
        protocol: Protocol { block_tokens: Some(4096), ..alone().protocol },
        record: Some(record()),
        choices: Some(choices()),
        accuracy: None,
        classes: vec![
            class("embedding", 4_194_304, 8_388_608, 8_388_608),
            class("linear", 3_670_016, 7_340_032, 1_949_696),
            class("norm", 4_352, 8_704, 8_704),
        ],
        tensors: (0..8).flat_map(tensors).collect(),
        gates: vec![
            gate("kld <= 0.03", compared().kld.mean),
            gate("top1 >= 97%", compared().top1),
            gate("size <= 12MB", Estimate::without_interval(10_347_008.0)),
        ],
        notes: vec!["`heldout.txt` has 312 tokens more than its windows".to_owned()],
        ..alone()
    }
}

/// Four sizes of it.
pub(crate) fn ladder() -> LadderReport {
    let rung = |bits: u8, bytes, kld: f64, top1: f64| Rung {
        planned: PlannedRung {
            bits,
            scheme: format!("w{bits}a16 g128"),
            group_size: (bits < 8).then_some(128),
            bytes,
            all_bytes: bytes + 60_000,
            bits_per_weight: bytes as f64 * 8.0 / 7_868_672.0,
            linear_bits_per_weight: Some(f64::from(bits) + 0.125),
            kept: (bits == 4).then(|| "llama-8m-w4a16".to_owned()),
        },
        method: "gptq+cd".to_owned(),
        kld: estimate(kld, kld * 0.9, kld * 1.12),
        top1: estimate(top1, top1 - 0.01, top1 + 0.01),
        perplexity_ratio: estimate(1.0 + kld, 1.0, 1.0 + 2.0 * kld),
        fallbacks: 0,
    };
    LadderReport {
        tool: "llmopt",
        version: "0.1.0",
        model: "llama-8m".to_owned(),
        bytes: 15_737_344,
        calibration: None,
        judged_on: JudgedText {
            name: "heldout.txt".to_owned(),
            sha256: None,
            held_out: false,
            windows: 64,
            window: 256,
        },
        kernel: "f32 faer",
        rungs: vec![
            rung(8, 12_100_000, 0.000_214, 0.9921),
            rung(6, 11_300_000, 0.001_93, 0.9754),
            rung(4, 10_347_008, 0.031_2, 0.9217),
            rung(3, 9_870_000, 0.184, 0.8123),
        ],
    }
}

/// Two layers of two units, and what was measured of them.
pub(crate) fn mixed() -> MixedReport {
    let unit = |layer: usize, name: &str, choice: &str, bits: f64, probe_kld: f64| MixedUnit {
        name: format!("model.layers.{layer}.{name}"),
        layer: Some(layer),
        choice: choice.to_owned(),
        bits,
        probed: "w4a16".to_owned(),
        probe_kld,
        choices: vec![UnitChoice { choice: choice.to_owned(), bytes: 49_152, error: 0.012_34 }],
    };
    let candidate = |name: &str, solved, expected, kld: f64| MixedCandidate {
        name: name.to_owned(),
        solved,
        bytes: 3_242_880,
        expected,
        kld: estimate(kld, kld * 0.95, kld * 1.06),
    };
    MixedReport {
        goal: Goal::BitsPerWeight(7.118),
        chosen: "table, trust 1".to_owned(),
        is_uniform: false,
        method_of_choices: "gptq+cd".parse().unwrap(),
        probing_tokens: 2048,
        judged_on: ladder().judged_on,
        units: vec![
            unit(0, "self_attn.qkv_proj", "w4a16-g32", 4.5, 41.7e-6),
            unit(0, "mlp.down_proj", "w6a16", 6.125, 341.5e-6),
            unit(1, "self_attn.qkv_proj", "w3a16", 3.125, 6.4e-6),
            unit(1, "mlp.down_proj", "w2a16", 2.125, 3.4e-6),
        ],
        candidates: vec![
            candidate("table, trust 1", false, Some(0.001_146), 0.001_098),
            candidate("uniform w4a16", true, None, 0.001_108),
            candidate("table, trust 1", true, Some(0.001_146), 0.000_713),
        ],
    }
}

/// The same on two texts and two files of questions, with names.
pub(crate) fn several() -> Evaluation {
    let text = |name: &str| TextResult {
        name: name.to_owned(),
        protocol: alone().protocol.text.unwrap(),
        perplexity: Some(compared().perplexity),
        comparison: Some(compared()),
    };
    let tasks = |name: &str| TaskResult {
        name: name.to_owned(),
        protocol: alone().protocol.tasks.unwrap(),
        accuracy: None,
        choices: Some(choices()),
    };
    Evaluation {
        protocol: Protocol { text: None, tasks: None, ..comparison().protocol },
        texts: vec![text("chat"), text("code")],
        tasks: vec![tasks("mmlu"), tasks("arc")],
        ..comparison()
    }
}

/// The same model by itself, on the text alone.
pub(crate) fn alone() -> Evaluation {
    let text = TextProtocol {
        name: "heldout.txt".to_owned(),
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        windows: WindowFacts {
            documents: Some(1),
            text_tokens: 16_696,
            window: 256,
            windows: 64,
            dropped_tokens: 312,
            masked_tokens: 0,
            bos: None,
        },
        scored: 16_320,
        date: None,
    };
    let tasks = TaskProtocol {
        name: "questions.jsonl".to_owned(),
        sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".to_owned(),
        questions: 200,
        truncated: 0,
    };
    Evaluation {
        tool: "llmopt",
        version: "0.1.0",
        artifact: model(),
        reference: None,
        protocol: Protocol {
            dtype: "f32".to_owned(),
            activations: None,
            kernel: "f32 faer".to_owned(),
            block_tokens: None,
            text: Some(text),
            tasks: Some(tasks),
        },
        perplexity: Some(estimate(23.904_1, 22.871, 25.018)),
        comparison: None,
        blocks: Vec::new(),
        accuracy: Some(choices().reference),
        choices: None,
        texts: vec![],
        tasks: vec![],
        classes: vec![],
        tensors: vec![],
        record: None,
        gates: vec![],
        notes: vec![],
    }
}

/// An int4 artifact of a llama that is larger than the cache, beside it.
pub(crate) fn bench() -> Bench {
    let artifact = ModelFacts {
        name: "llama-1b-w4a16".to_owned(),
        bytes: 700_000_000,
        schemes: vec!["w4a16 g128".to_owned()],
        ..model()
    };
    let quality = BenchedQuality {
        kld: estimate(0.0123, 0.0119, 0.0128),
        reference: Some("llama-1b".to_owned()),
        text: Some("heldout.txt".to_owned()),
        dtype: Some("f32".to_owned()),
    };
    let ours = WeightBytes { layers: 500_000_000, experts: 0, head: 130_000_000 };
    let theirs = WeightBytes { layers: 3_900_000_000, experts: 0, head: 1_050_000_000 };
    let original = ModelFacts { name: "llama-1b".to_owned(), ..model() };
    Bench {
        tool: "llmopt",
        version: "0.1.0",
        protocol: BenchProtocol {
            prompt: 128,
            tokens: 64,
            batches: vec![1, 8],
            runs: 5,
            seed: 0,
            dtype: "f32".to_owned(),
            activations: None,
            kernel: "f32 avx2".to_owned(),
            code_kernel: "codes avx2".to_owned(),
            threads: 2,
        },
        machine: BenchMachine {
            last_level_cache: Some(32 << 20),
            load_average: Some([1.9, 1.25, 0.5]),
            threads_ran: 0.97,
            threads_waited: Some(0.012),
            is_loaded: Some(false),
            peak_memory: Some(5_800_000_000),
        },
        bandwidth: ReadBandwidth {
            buffer_bytes: 512 << 20,
            one_thread: spread(12e9),
            all_threads: spread(20e9),
        },
        models: vec![
            benched(artifact, ours, Some(quality), Some(7.5)),
            benched(original, theirs, None, None),
        ],
        notes: vec!["a note".to_owned()],
    }
}

/// Speeds that follow from the bytes, at nine tenths of the bandwidth.
fn benched(
    model: ModelFacts,
    weights: WeightBytes,
    quality: Option<BenchedQuality>,
    speed_up: Option<f64>,
) -> BenchedModel {
    let batch = |batch: usize| {
        let [layers, head] = [weights.layers, weights.head].map(|bytes| bytes / batch as u64);
        let bytes_per_token = BytesPerToken { layers, head, cache: 3_000_000, embedding: 4096 };
        let rate = 18e9 / bytes_per_token.total() as f64;
        BenchedBatch {
            batch,
            prompt_tokens_per_second: spread(250.0),
            tokens_per_second: spread(rate),
            first_token_seconds: spread(0.5 * batch as f64),
            inter_token_p50_seconds: batch as f64 / rate,
            inter_token_p99_seconds: 1.5 * batch as f64 / rate,
            bytes_per_token,
            bytes_per_second: 18e9,
            bandwidth_share: 0.9,
            core_seconds_per_1000_tokens: 2000.0 / rate,
            tokens_per_core_second: rate / 2.0,
            batching_gain: Some(if batch == 1 { 1.0 } else { 7.7 }),
            speed_up,
        }
    };
    BenchedModel {
        model,
        weights,
        cache_bytes_per_token: 16_384,
        fits_in_cache: Some(false),
        quality,
        batches: vec![batch(1), batch(8)],
    }
}

fn spread(median: f64) -> Spread {
    Spread { median, low: 0.9 * median, high: 1.1 * median }
}

fn model() -> ModelFacts {
    ModelFacts {
        name: "llama-8m".to_owned(),
        family: "llama".to_owned(),
        parameters: 7_868_672,
        bytes: 15_737_344,
        bits_per_weight: 16.0,
        linear_bits_per_weight: Some(16.0),
        schemes: vec![],
    }
}

fn compared() -> Comparison {
    // A bump around four thousandths of a nat.
    let klds = (0..16_320_u64).map(|i| {
        let uniform = |k: u64| (i * 2_654_435_761 * (k + 1) + (i * i) % 65_537 * 40_503) % 10_007;
        let normal = (0..6).map(uniform).sum::<u64>() as f64 / 10_007.0 - 3.0;
        10_f64.powf(-2.4 + 0.9 * normal)
    });
    Comparison {
        perplexity: estimate(24.131_7, 23.09, 25.27),
        reference_perplexity: estimate(23.904_1, 22.871, 25.018),
        perplexity_ratio: estimate(1.009_52, 1.008_03, 1.011_07),
        kld: Divergence {
            mean: estimate(0.012_345, 0.011_9, 0.012_81),
            median: estimate(0.003_98, 0.003_8, 0.004_16),
            p99: estimate(0.104_2, 0.0981, 0.1127),
            p99_9: estimate(0.387, 0.331, 0.452),
            max: 1.21,
        },
        top1: estimate(0.9521, 0.9487, 0.9553),
        rms_dp: estimate(0.021_13, 0.020_2, 0.022_04),
        histogram: Histogram::new(klds.chain([0.0; 40])),
    }
}

fn choices() -> ChoiceComparison {
    let accuracy = |accuracy, accuracy_by_length| Accuracy { accuracy, accuracy_by_length };
    ChoiceComparison {
        artifact: accuracy(estimate(0.395, 0.33, 0.46), estimate(0.42, 0.35, 0.49)),
        reference: accuracy(estimate(0.405, 0.335, 0.475), estimate(0.415, 0.345, 0.485)),
        flips: estimate(0.03, 0.01, 0.055),
        flips_by_length: estimate(0.025, 0.005, 0.05),
        changed: estimate(0.045, 0.02, 0.075),
    }
}

fn estimate(value: f64, low: f64, high: f64) -> Estimate {
    Estimate { value, low, high }
}

/// The sixth does the most damage.
fn block(layer: usize) -> BlockLoss {
    let jump = if layer >= 5 { 0.02 } else { 0.0 };
    let per_token = 0.011 + 0.004 * layer as f64 + jump;
    let added_error = 0.009 + 0.0002 * layer as f64 + if layer == 5 { 0.02 } else { 0.0 };
    let squared_distance = if layer >= 5 { 7.0 } else { 0.0 } + 1.0 + layer as f64 * 12.0 / 7.0;
    let relative_error = per_token * 0.8;
    BlockLoss { layer, added_error, relative_error, per_token, squared_distance }
}

fn record() -> Provenance {
    let recipe = r#"{ "scheme": { "weights": { "int": { "bits": 4 } }, "symmetric": true },
        "group_size": { "columns": 64 }, "method": "auto", "runtimes": ["transformers", "vllm"],
        "exclude": [], "calibrate": { "samples": 128, "window": 256 } }"#;
    let source = ProvenanceSource {
        name: "calibration.txt".to_owned(),
        windows: 128,
        sha256: "6c1b5f2f0c3b5f0a9d6c0a4f3d1e2b7a8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5".to_owned(),
    };
    Provenance {
        made_by: "llmopt 0.1.0".to_owned(),
        method: Some("auto".to_owned()),
        methods: vec![("qep+cd".to_owned(), 52), ("gptq+cd".to_owned(), 4)],
        recipe: serde_json::from_str(recipe).unwrap(),
        calibration: Some(ProvenanceData { window: 256, windows: 128, sources: vec![source] }),
        outputs_on: Some(JudgedOn::HeldOut),
        fallbacks: 0,
    }
}

fn class(class: &str, parameters: u64, before: u64, after: u64) -> ClassSize {
    ClassSize {
        class: class.to_owned(),
        parameters,
        bytes_before: Some(before),
        bytes_after: after,
    }
}

fn tensors(layer: usize) -> impl Iterator<Item = TensorFacts> {
    let kinds = [
        ("self_attn.q_proj", 65_536, 0.081),
        ("self_attn.k_proj", 32_768, 0.083),
        ("self_attn.v_proj", 32_768, 0.092),
        ("self_attn.o_proj", 65_536, 0.085),
        ("mlp.gate_proj", 131_072, 0.084),
        ("mlp.up_proj", 131_072, 0.086),
        ("mlp.down_proj", 131_072, 0.088),
    ];
    kinds.into_iter().map(move |(kind, parameters, error)| TensorFacts {
        name: format!("model.layers.{layer}.{kind}.weight"),
        layer: Some(layer),
        scheme: "w4a16 g64".to_owned(),
        parameters,
        bytes: parameters / 2 + parameters / 32,
        relative_error: Some(error + 0.05),
        output_error: Some(error + if layer == 5 && kind == "mlp.down_proj" { 0.04 } else { 0.0 }),
    })
}

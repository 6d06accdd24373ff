//! What the families' forward passes have in common, and in what they differ.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::named;
use llmopt_arch::program::{
    Activation, Attention, Block, Embedding, Head, Linear, Operation, Phase, Program, Rope,
    RopeScaling, Tap, TapFacts,
};
use llmopt_arch::{Model, program};

fn program(name: &str) -> Program {
    let checkpoint = named(name);
    Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap().program().unwrap()
}

/// One layer of llama, written out.
#[test]
fn llama() {
    let [hidden, gate, inner, k, mixed, out, q, up, v, x] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(Tap);
    let layer = "model.layers.1";
    let norm = |name: &str| Operation::Norm {
        input: hidden,
        output: x,
        weight: format!("{layer}.{name}.weight"),
        epsilon: 1e-6,
        from_one: false,
        width: 64,
    };
    let linear = |name: &str, input, output, [rows, columns]: [usize; 2]| {
        let weight = format!("{layer}.{name}.weight");
        let bias = Some(format!("{layer}.{name}.bias"));
        Operation::Linear(Linear { input, output, weight, bias, rows, columns })
    };
    let phase = |name: &str, operations| Phase {
        name: format!("{layer}.{name}"),
        expert: None,
        operations,
        carried: vec![hidden],
    };
    let rope = Rope {
        theta: 500_000.0,
        width: 8,
        scaling: RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64 },
    };
    let attention = vec![
        norm("input_layernorm"),
        linear("self_attn.q_proj", x, q, [64, 64]),
        linear("self_attn.k_proj", x, k, [8, 64]),
        linear("self_attn.v_proj", x, v, [8, 64]),
        Operation::Rotate { taps: vec![q, k], head_width: 8, rope },
        Operation::Attend(Attention {
            query: q,
            key: k,
            value: v,
            output: mixed,
            heads: 8,
            key_value_heads: 1,
            head_width: 8,
            scale: 8f32.sqrt().recip(),
            window: None,
            cap: None,
        }),
        linear("self_attn.o_proj", mixed, out, [64, 64]),
        Operation::Add { input: out, output: hidden, scale: 1.0 },
    ];
    let mlp = vec![
        norm("post_attention_layernorm"),
        linear("mlp.gate_proj", x, gate, [96, 64]),
        linear("mlp.up_proj", x, up, [96, 64]),
        Operation::Gate { gate, up, output: inner, activation: Activation::Silu },
        linear("mlp.down_proj", inner, out, [64, 96]),
        Operation::Add { input: out, output: hidden, scale: 1.0 },
    ];
    let found = program("llama");
    let phases = vec![phase("self_attn", attention), phase("mlp", mlp)];
    assert_eq!(found.blocks[1], Block { layer: 1, phases });
    assert_eq!((found.hidden, found.vocabulary, found.context), (64, 96, Some(256)));
    let tap = |(name, width): (&str, usize)| TapFacts { name: name.to_owned(), width };
    let taps = [
        ("hidden", 64),
        ("gate", 96),
        ("inner", 96),
        ("k", 8),
        ("mixed", 64),
        ("out", 64),
        ("q", 64),
        ("up", 96),
        ("v", 8),
        ("x", 64),
    ];
    assert_eq!(found.taps, taps.map(tap));
    let embedding = Embedding { tensor: "model.embed_tokens.weight".to_owned(), scale: 1.0 };
    assert_eq!(found.embedding, embedding);
    let norm = Operation::Norm {
        input: hidden,
        output: hidden,
        weight: "model.norm.weight".to_owned(),
        epsilon: 1e-6,
        from_one: false,
        width: 64,
    };
    let name = "model.norm".to_owned();
    let norm = Phase { name, expert: None, operations: vec![norm], carried: vec![hidden] };
    let tensor = "lm_head.weight".to_owned();
    assert_eq!(found.head, Head { norm, tensor, bias: None, scale: 1.0, cap: None });
}

/// The operations of a block by their verbs, phases apart.
fn verbs(block: &Block) -> String {
    let verb = |operation: &Operation| match operation {
        Operation::Norm { .. } => "norm",
        Operation::Linear(linear) if linear.bias.is_some() => "biased",
        Operation::Linear(_) => "linear",
        Operation::Split { .. } => "split",
        Operation::Rotate { .. } => "rotate",
        Operation::Attend(_) => "attend",
        Operation::Gate { .. } => "gate",
        Operation::Add { .. } => "add",
        Operation::Route { .. } => "route",
        Operation::Gather { .. } => "gather",
        Operation::Scatter { .. } => "scatter",
    };
    let phase = |phase: &Phase| phase.operations.iter().map(verb).collect::<Vec<_>>().join(" ");
    block.phases.iter().map(phase).collect::<Vec<_>>().join(" | ")
}

#[test]
fn blocks_differ_in_their_norms_biases_and_experts() {
    const PLAIN: &str = "norm linear linear linear rotate attend linear add";
    const MLP: &str = "norm linear linear gate linear add";
    const EXPERT: &str = "gather linear linear gate linear scatter";
    let check = |name, layer: usize, expected: String| {
        assert_eq!(verbs(&program(name).blocks[layer]), expected, "{name} {layer}");
    };
    check("llama-tied", 0, format!("{PLAIN} | {MLP}"));
    check("mistral", 0, format!("{PLAIN} | {MLP}"));
    check("gemma", 0, format!("{PLAIN} | {MLP}"));
    check("granite", 0, format!("{PLAIN} | {MLP}"));
    check("qwen2", 0, format!("norm biased biased biased rotate attend linear add | {MLP}"));
    let head_norms = "norm linear linear linear norm norm rotate attend linear";
    check("qwen3", 0, format!("{head_norms} add | {MLP}"));
    let sandwich = "norm linear linear gate linear norm add";
    let attention = "norm linear linear linear rotate attend linear norm add";
    check("gemma2", 0, format!("{attention} | {sandwich}"));
    check("gemma3", 0, format!("{head_norms} norm add | {sandwich}"));
    check("gemma3_text", 1, format!("{head_norms} norm add | {sandwich}"));
    let late = "split linear linear linear norm norm rotate attend linear norm add";
    check("olmo2", 0, format!("{late} | split linear linear gate linear norm add"));
    let fused = "norm linear split rotate attend linear add";
    check("phi3", 0, format!("{fused} | norm linear split gate linear add"));
    let router = "norm linear route";
    let mixture =
        |experts: usize| format!("{router} | {} | add", [EXPERT].repeat(experts).join(" | "));
    check("mixtral", 0, format!("{PLAIN} | {}", mixture(3)));
    check("qwen3_moe", 0, format!("{head_norms} add | {MLP}"));
    check("qwen3_moe", 1, format!("{head_norms} add | {}", mixture(5)));
}

fn find<T>(block: &Block, pick: impl Fn(&Operation) -> Option<T>) -> Option<T> {
    block.phases.iter().flat_map(|phase| &phase.operations).find_map(pick)
}

fn attention(block: &Block) -> Attention {
    let pick = |operation: &Operation| match operation {
        Operation::Attend(attention) => Some(attention.clone()),
        _ => None,
    };
    find(block, pick).unwrap()
}

fn rope(block: &Block) -> Rope {
    let pick = |operation: &Operation| match operation {
        Operation::Rotate { rope, .. } => Some(rope.clone()),
        _ => None,
    };
    find(block, pick).unwrap()
}

#[test]
fn windows_belong_to_layers() {
    let check = |name, expected: [Option<usize>; 2]| {
        let windows: Vec<_> =
            program(name).blocks.iter().map(|block| attention(block).window).collect();
        assert_eq!(windows, expected, "{name}");
    };
    check("llama", [None, None]);
    check("mistral", [Some(24), Some(24)]);
    check("mistral/everything", [None, None]);
    check("qwen2", [None, Some(24)]);
    check("qwen3", [None, None]);
    check("qwen3/listed", [Some(24), None]);
    check("gemma2", [Some(24), None]);
    check("gemma3", [None, Some(24)]);
    check("gemma3_text", [Some(24), None]);
    check("phi3", [None, None]);
    check("phi3/window", [Some(24), Some(24)]);
    check("mixtral", [None, None]);
    check("mixtral/window", [Some(24), Some(24)]);
    check("qwen3_moe", [Some(40), Some(40)]);
    check("qwen3_moe/shares", [None, None]);
}

#[test]
fn scores_are_scaled_and_capped() {
    let check = |name, scale: f32, cap| {
        let attention = attention(&program(name).blocks[0]);
        assert_eq!((attention.scale, attention.cap), (scale, cap), "{name}");
    };
    check("mistral", 0.25, None);
    check("gemma", 0.25, None);
    check("gemma2", (24f64).sqrt().recip() as f32, Some(0.5));
    check("gemma2/uncapped", (24f64).sqrt().recip() as f32, None);
    check("gemma3", 0.25, None);
    check("gemma3_text", (24f64).sqrt().recip() as f32, None);
    check("granite", 0.25, None);
}

#[test]
fn hidden_states_and_logits_are_scaled() {
    let check = |name, embedding: f32, residual: f32, logits: f32, cap| {
        let program = program(name);
        let adds = program.blocks[1].phases.iter().map(|phase| phase.operations.last().unwrap());
        for add in adds {
            assert!(matches!(add, Operation::Add { scale, .. } if *scale == residual), "{name}");
        }
        let found = (program.embedding.scale, program.head.scale, program.head.cap);
        assert_eq!(found, (embedding, logits, cap), "{name}");
    };
    check("qwen3", 1.0, 1.0, 1.0, None);
    check("gemma", 8.0, 1.0, 1.0, None);
    check("gemma2", 8.0, 1.0, 1.0, Some(3.0));
    check("gemma2/uncapped", 8.0, 1.0, 1.0, None);
    check("gemma3", 8.0, 1.0, 1.0, None);
    check("gemma3_text/capped", 8.0, 1.0, 1.0, Some(3.0));
    check("granite", 4.0, 0.5, 0.5, None);
}

#[test]
fn gates_have_the_family_s_activation() {
    let check = |name, expected| {
        let pick = |operation: &Operation| match operation {
            Operation::Gate { activation, .. } => Some(*activation),
            _ => None,
        };
        assert_eq!(find(&program(name).blocks[0], pick), Some(expected), "{name}");
    };
    check("phi3", Activation::Silu);
    // Its config says "gelu", by which the family means the approximation.
    check("gemma", Activation::GeluTanh);
    check("gemma/tanh", Activation::GeluTanh);
    check("gemma2", Activation::GeluTanh);
    check("gemma3", Activation::GeluTanh);
}

#[test]
fn norms_run_over_rows_or_heads() {
    let check = |name, from_one, epsilon: f32, widths: &[usize]| {
        let program = program(name);
        let pick = |operation: &Operation| match operation {
            Operation::Norm { width, from_one, epsilon, .. } => Some((*width, *from_one, *epsilon)),
            _ => None,
        };
        let operations = program.blocks[0].phases.iter().flat_map(|phase| &phase.operations);
        let norms: Vec<_> = operations.filter_map(pick).collect();
        let expected: Vec<_> = widths.iter().map(|width| (*width, from_one, epsilon)).collect();
        assert_eq!(norms, expected, "{name}");
    };
    check("mistral", false, 1e-6, &[64, 64]);
    check("granite", false, 1e-3, &[64, 64]);
    check("qwen3", false, 1e-6, &[64, 16, 16, 64]);
    check("gemma2", true, 1e-6, &[64, 64, 64, 64]);
    check("gemma3", true, 1e-6, &[64, 16, 16, 64, 64, 64]);
    // Over the whole projection, with gains as wide.
    check("olmo2", false, 1e-6, &[96, 48, 64, 64]);
}

#[test]
fn chosen_experts_weigh_as_the_config_says() {
    let check = |name, layer: usize, expected| {
        let pick = |operation: &Operation| match operation {
            Operation::Route { top, renormalize, .. } => Some((*top, *renormalize)),
            _ => None,
        };
        assert_eq!(find(&program(name).blocks[layer], pick), Some(expected), "{name}");
    };
    check("mixtral", 0, (2, true));
    check("qwen3_moe", 1, (2, true));
    check("qwen3_moe/shares", 1, (2, false));
}

#[test]
fn experts_are_phases_of_their_own() {
    let program = program("mixtral");
    let found: Vec<_> = program.blocks[1].phases[1..]
        .iter()
        .map(|phase| {
            let names = phase.carried.iter().map(|tap| program.taps[tap.0].name.as_str());
            (phase.name.as_str(), phase.expert, names.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let moe = "model.layers.1.block_sparse_moe";
    let names = [".gate", ".experts.0", ".experts.1", ".experts.2", ""];
    let names = names.map(|name| format!("{moe}{name}"));
    let shared = |carried: &str| carried.to_owned();
    let expected = [
        (names[0].as_str(), None, shared("hidden routes x")),
        (names[1].as_str(), Some(0), shared("hidden routes sum x")),
        (names[2].as_str(), Some(1), shared("hidden routes sum x")),
        (names[3].as_str(), Some(2), shared("hidden sum")),
        (names[4].as_str(), None, shared("hidden")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn sliding_layers_of_gemma3_turn_by_themselves() {
    let check = |name, layer: usize, theta: f64, scaling| {
        let expected = Rope { theta, width: 16, scaling };
        assert_eq!(rope(&program(name).blocks[layer]), expected, "{name} {layer}");
    };
    check("gemma3_text", 0, 1e4, RopeScaling::None);
    check("gemma3_text", 1, 1e6, RopeScaling::Linear { factor: 8.0 });
    check("gemma3", 0, 5e5, RopeScaling::None);
    check("gemma3", 1, 5e3, RopeScaling::None);
}

/// What Transformers 5 takes where a config does not say.
#[test]
fn what_a_config_leaves_out() {
    const KEPT: [&str; 13] = [
        "architectures",
        "head_dim",
        "hidden_size",
        "intermediate_size",
        "mlp_only_layers",
        "model_type",
        "moe_intermediate_size",
        "num_attention_heads",
        "num_experts",
        "num_hidden_layers",
        "num_key_value_heads",
        "num_local_experts",
        "vocab_size",
    ];
    let check = |name, epsilon: f32, scale: f32, window, cap, last: (f32, Option<f32>)| {
        let mut checkpoint = named(name);
        checkpoint.config.retain(|key, _| KEPT.contains(&key.as_str()));
        let model = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap();
        let program = model.program().unwrap();
        let pick = |operation: &Operation| match operation {
            Operation::Norm { epsilon, .. } => Some(*epsilon),
            _ => None,
        };
        assert_eq!(find(&program.blocks[0], pick), Some(epsilon), "{name}");
        let attention = attention(&program.blocks[0]);
        let found = (attention.scale, attention.window, attention.cap);
        assert_eq!(found, (scale, window, cap), "{name}");
        assert_eq!((program.head.scale, program.head.cap), last, "{name}");
        assert_eq!(program.context, None, "{name}");
    };
    let plain = (1.0, None);
    check("mistral", 1e-6, 0.25, Some(4096), None, plain);
    check("qwen2", 1e-6, 0.25, None, None, plain);
    check("gemma", 1e-6, 0.25, None, None, plain);
    check("gemma2", 1e-6, 0.0625, Some(4096), Some(50.0), (1.0, Some(30.0)));
    check("gemma3_text", 1e-6, 0.0625, Some(4096), None, plain);
    check("phi3", 1e-5, 0.25, None, None, plain);
    check("olmo2", 1e-5, 0.25, None, None, plain);
    check("mixtral", 1e-5, 0.25, None, None, plain);
}

/// Names in a program are the checkpoint's.
#[test]
fn the_wrapper_s_names_are_those_of_its_checkpoint() {
    let program = program("gemma3");
    let phase = &program.blocks[1].phases[0];
    assert_eq!(phase.name, "language_model.model.layers.1.self_attn");
    let weights = phase.operations.iter().flat_map(program::Operation::tensors);
    let expected = "language_model.model.layers.1.self_attn.o_proj.weight";
    assert!(weights.into_iter().any(|weight| weight == expected));
    assert_eq!(program.head.tensor, "language_model.model.embed_tokens.weight");
}

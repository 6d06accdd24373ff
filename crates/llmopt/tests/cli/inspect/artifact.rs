//! Inspecting artifacts: what they stand for, how each kind of matrix is stored, how they were made.

use crate::dir::Dir;
use crate::synthetic;
use serde_json::{Value, json};

fn inspected(dir: &Dir, artifact: &str) -> Value {
    serde_json::from_str(&dir.done(&format!("inspect {artifact} --json")).stdout).unwrap()
}

/// The row of a kind of matrix.
fn kind<'a>(found: &'a Value, kind: &str) -> &'a Value {
    let kinds = found["artifact"]["matrices"].as_array().unwrap();
    let mut rows = kinds.iter().filter(|row| row["kind"] == kind);
    let row = rows.next().unwrap_or_else(|| panic!("{kind} in {kinds:#?}"));
    assert_eq!(rows.next(), None, "{kind} in several rows");
    row
}

#[test]
fn an_artifact_is_told_as_the_model_that_it_stands_for() {
    let dir = Dir::with_tiny_llama();
    let calibrate = "--method gptq --calibrate tiny-llama/calibration.txt --samples 4 --window 64";
    dir.done(&format!("quantize tiny-llama --bits 4 --exclude *.0.*down_proj -o q {calibrate}"));
    let kernel = dir.json("q/llmopt.json")["calibration"]["kernel"].clone();
    let ran = dir.done("inspect q");
    assert_eq!(ran.stderr, "");
    // By hand: 128 x 128 weights are 8,192 bytes of codes, 256 of scales and 16 of shape; 64 x 128 half
    // the codes and scales, 128 x 384 three times as many. One matrix stays as it was.
    let expected = "\
model        `q`
family       llama
layers       4
parameters   1,049,728
size         991.53 KiB in 1 shard
quantized    already, by `compressed-tensors`, pack-quantized
bits         4.13 per weight of the 27 matrices that are quantized, 4.87 of all linears, 7.74 of all parameters
made by      `llmopt quantize`, version 0.1.0, says `llmopt.json`
needs        compressed-tensors 0.17.0 or newer to be unpacked as it is meant
method       w4a16 by gptq
calibration  4 windows of 64 tokens (256 tokens in all) of calibration.txt, KERNEL

role       tensors  parameters        size
linear          28     786,432  467.67 KiB
embedding        1     131,072  256.00 KiB
head             1     131,072  256.00 KiB
norm             9       1,152    2.25 KiB

matrix              scheme       count  parameters        size  bits per weight  note
self_attn.q_proj    w4a16 g128       4      65,536   33.06 KiB             4.13  gptq
self_attn.k_proj    w4a16 g128       4      32,768   16.56 KiB             4.14  gptq
self_attn.v_proj    w4a16 g128       4      32,768   16.56 KiB             4.14  gptq
self_attn.o_proj    w4a16 g128       4      65,536   33.06 KiB             4.13  gptq
mlp.gate_proj       w4a16 g128       4     196,608   99.06 KiB             4.13  gptq
mlp.up_proj         w4a16 g128       4     196,608   99.06 KiB             4.13  gptq
mlp.down_proj       dense, BF16      1      49,152   96.00 KiB            16.00
mlp.down_proj       w4a16 g128       3     147,456   74.30 KiB             4.13  gptq
lm_head             dense, BF16      1     131,072  256.00 KiB            16.00
model.embed_tokens  dense, BF16      1     131,072  256.00 KiB            16.00
";
    let expected = expected.replace("KERNEL", kernel.as_str().unwrap());
    assert_eq!(ran.stdout, expected, "{}", ran.stdout);
}

#[test]
fn every_scheme_is_told_with_its_layout_and_its_bits() {
    let dir = Dir::with_tiny_llama();
    // Bits of a weight of down_proj, 128 x 384, by hand: codes, scales of 16 bits, zero points packed as
    // the codes are; the two packed ones also have a shape of 128 bits.
    let weights = 128.0 * 384.0;
    let check = |flags: &str, scheme: &str, format: &str, bits: f64| {
        dir.done(&format!("quantize tiny-llama {flags} -o q --force"));
        let found = inspected(&dir, "q");
        assert_eq!(found["artifact"]["formats"], json!([format]), "{flags}");
        let down = kind(&found, "mlp.down_proj");
        assert_eq!((&down["scheme"], &down["tensors"]), (&json!(scheme), &json!(4)), "{flags}");
        let found_bits = down["bits_per_weight"].as_f64().unwrap();
        assert!((found_bits - bits).abs() < 1e-12, "{flags}: {found_bits}, expected {bits}");
        assert_eq!((&found["parameters"], &found["layers"]), (&json!(1_049_728), &json!(4)));
        let whole = &dir.json("q/llmopt.json")["bits_per_weight"];
        assert_eq!(&found["artifact"]["all"]["bits_per_weight"], whole, "{flags}");
        assert_eq!(found["schemes"], json!([]), "{flags}");
    };
    let rows = 16.0 * 128.0 / weights;
    check("--bits 8", "w8a16", "pack-quantized", 8.0 + rows + 128.0 / weights);
    let asymmetric = 4.0 + 3.0 * (16.0 + 4.0) * 128.0 / weights + 128.0 / weights;
    check("--bits 4 --asymmetric", "w4a16 g128 asymmetric", "pack-quantized", asymmetric);
    check("--scheme w8a8", "w8a8", "int-quantized", 8.0 + rows);
    check("--scheme fp8", "fp8", "float-quantized", 8.0 + rows);
}

#[test]
fn a_pruned_model_and_what_is_quantized_of_it_tell_their_own_record() {
    let dir = Dir::with_tiny_llama();
    dir.done(
        "prune tiny-llama --sparsity 0.3 --axes ffn --method magnitude --no-refit --align 8 -o p",
    );
    let pruned = inspected(&dir, "p");
    let record = &pruned["artifact"]["record"];
    let report = dir.json("p/llmopt.json");
    assert_eq!((&record["command"], &record["method"]), (&json!("prune"), &json!("magnitude")));
    assert_eq!(record["pruned"]["sparsity"], report["sparsity"]);
    assert_eq!(record["pruned"]["axes"], json!(["ffn"]));
    assert_eq!(kind(&pruned, "mlp.down_proj")["done"], "sliced");
    assert_eq!(kind(&pruned, "self_attn.q_proj")["done"], Value::Null);
    assert!(!pruned["schemes"].as_array().unwrap().is_empty());
    let told = dir.done("inspect p").stdout;
    assert!(told.contains("calibration  none: weights alone decided\n"), "{told}");
    assert!(told.contains("% of the blocks' 787,456 parameters along ffn\n"), "{told}");

    dir.done("quantize p --bits 4 -o pq");
    let both = inspected(&dir, "pq");
    assert_eq!(both["parameters"], pruned["parameters"]);
    assert_eq!(both["artifact"]["record"]["command"], "quantize");
    assert_eq!(both["artifact"]["record"]["pruned"], Value::Null);
    let width = dir.json("p/config.json")["intermediate_size"].as_u64().unwrap();
    assert_ne!(width % 32, 0, "no fallback");
    let down = kind(&both, "mlp.down_proj");
    let fallback = dir.json("pq/llmopt.json")["fallbacks"][0]["why"].clone();
    assert_eq!((&down["scheme"], &down["fallback"]), (&json!("w4a16"), &fallback));
    let told = dir.done("inspect pq").stdout;
    let note = format!("fallback: {}\n", fallback.as_str().unwrap());
    assert!(told.contains(&note), "{told}");
}

#[test]
fn a_choice_is_told_with_what_it_was_taken_from() {
    let dir = Dir::with_tiny_llama();
    let data = "--calibrate tiny-llama/calibration.txt --window 64 --samples 16";
    dir.done(&format!("quantize tiny-llama --bits 4 {data} -o q"));
    let chosen = dir.json("q/llmopt.json")["decision"]["chosen"].clone();
    let decision = inspected(&dir, "q")["artifact"]["record"]["decision"].clone();
    let candidates = ["auto", "rtn"];
    assert_eq!(decision, json!({ "chosen": chosen, "candidates": candidates, "windows": 2 }));
    let told = dir.done("inspect q").stdout;
    let method = chosen.as_str().unwrap();
    let line = format!("w4a16 by {method}, the best of auto, rtn on 2 windows held out\n");
    assert!(told.contains(&line), "{told}");

    dir.done(&format!("prune tiny-llama --sparsity 0.2 {data} --refine 0 -o p"));
    let chosen = dir.json("p/llmopt.json")["decision"]["chosen"].as_array().unwrap().clone();
    let axes: Vec<&str> = chosen.iter().map(|axis| axis.as_str().unwrap()).collect();
    let told = dir.done("inspect p").stdout;
    let line = format!("obs, what reads it refitted; {} is the best of ffn, ", axes.join(" and "));
    assert!(told.contains(&line), "{told}");
}

#[test]
fn a_dequantized_artifact_tells_what_it_was() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 3 --format dense -o q");
    let found = inspected(&dir, "q");
    assert_eq!(found["artifact"]["record"]["scheme"], "w3a16");
    let down = kind(&found, "mlp.down_proj");
    assert_eq!((&down["scheme"], &down["is_quantized"]), (&json!("F32"), &json!(false)));
    assert_eq!(down["done"], "w3a16 g128, dequantized");
}

#[test]
fn experts_of_a_layer_are_one_kind() {
    let dir = Dir::with_family("qwen3_moe");
    dir.done("quantize model --bits 8 -o q");
    let (dense, found) = (inspected(&dir, "model"), inspected(&dir, "q"));
    assert_eq!(found["parameters"], dense["parameters"]);
    assert_eq!((&found["family"], &found["layers"]), (&dense["family"], &dense["layers"]));
    let report = dir.json("q/llmopt.json");
    let named = |begin: &str, end: &str| {
        let names =
            report["tensors"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap());
        json!(names.filter(|name| name.contains(begin) && name.ends_with(end)).count())
    };
    let (experts, routers) =
        (named(".experts.", ".gate_proj.weight"), named("", ".mlp.gate.weight"));
    assert!(experts != 0 && routers != 0);
    let row = kind(&found, "mlp.experts.*.gate_proj");
    assert_eq!((&row["scheme"], &row["tensors"]), (&json!("w8a16"), &experts));
    let router = kind(&found, "mlp.gate");
    assert_eq!((&router["is_quantized"], &router["tensors"]), (&json!(false), &routers));
}

#[test]
fn what_has_no_record_tells_all_else_and_says_so() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 -o q");
    let with = inspected(&dir, "q");
    assert_eq!(with["artifact"]["record"]["sizes_agree"], true);
    dir.remove("q/llmopt.json");
    let without = inspected(&dir, "q");
    assert_eq!(without["artifact"]["record"], Value::Null);
    for key in ["formats", "quantized", "linears", "all", "matrices"] {
        assert_eq!(without["artifact"][key], with["artifact"][key], "{key}");
    }
    let line = "record      none: only the report that llmopt writes beside an artifact tells method and \
                calibration\n";
    let told = dir.done("inspect q").stdout;
    assert!(told.contains(line), "{told}");

    dir.write("q/llmopt.json", b"{\"tool\": \"llmopt\"}");
    let told = dir.done("inspect q").stdout;
    assert!(
        told.contains("none that can be read: it is no report of a run: missing field"),
        "{told}"
    );
}

#[test]
fn a_record_of_other_files_is_not_believed_without_a_word() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 -o q");
    dir.done("quantize tiny-llama --bits 8 -o other");
    dir.write("q/llmopt.json", &dir.read("other/llmopt.json"));
    assert_eq!(inspected(&dir, "q")["artifact"]["record"]["sizes_agree"], false);
    let told = dir.done("inspect q").stdout;
    assert!(
        told.contains("note         `llmopt.json` lists weight files of other sizes"),
        "{told}"
    );
}

#[test]
fn a_bare_artifact_finds_its_record_beside_it() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 2, 128);
    dir.done("quantize model.safetensors --bits 8");
    let found = inspected(&dir, "model-w8a16.safetensors");
    assert_eq!((&found["parameters"], &found["layers"]), (&json!(32_896), &json!(2)));
    assert_eq!(found["artifact"]["record"]["file"], "model-w8a16.llmopt.json");
    assert_eq!(kind(&found, "mlp.up_proj")["scheme"], "w8a16");
}

#[test]
fn an_artifact_that_no_loader_reads_as_it_is_meant_is_told_so() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 -o q");
    let mut config = dir.json("q/config.json");
    config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = json!(8);
    dir.write("q/config.json", config.to_string().as_bytes());
    let found = inspected(&dir, "q");
    assert_eq!(found["artifact"]["faults"].as_array().unwrap().len(), 28, "{found:#}");
    assert_eq!(found["artifact"]["matrices"], json!([]));
    let told = dir.done("inspect q").stdout;
    assert!(told.contains("unsound      28 faults keep loaders from"), "{told}");
}

//! Same input, same recipe: same bytes, whatever the run may use.

use crate::dir::Dir;
use crate::synthetic;

#[track_caller]
fn check(model: &str, recipe: &str) {
    let dir = Dir::with_tiny_llama();
    synthetic::bare(&dir, "bare.safetensors", 3, 1000);
    let output = if model == "bare.safetensors" { "out.safetensors" } else { "out" };
    let made = |resources: &str| {
        dir.done(&format!("quantize {model} {recipe} {resources} -q --force -o {output}"));
        dir.tree(output)
    };
    let expected = made("--threads 1 --memory 64MiB");
    for resources in
        ["--threads 2 --memory 64MiB", "--threads 4 --memory 4GiB", "--threads 4 --memory 4GiB"]
    {
        let found = made(resources);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, bytes) in &found {
            assert!(bytes == &expected[name], "{model} {recipe} {resources}: {name} differs");
        }
    }
}

rows! {
    threads_budgets_and_repetition_do_not_show_in_the_bytes = check;
    eight_bits("tiny-llama", "--bits 8")
    four_bits_with_zero_points("tiny-llama", "--bits 4 --group-size 32 --asymmetric")
    floats_in_blocks("tiny-llama", "--scheme fp8-block --runtime transformers")
    a_file_in_small_groups(
        "bare.safetensors",
        "--bits 4 --group-size 8 --method rtn --runtime transformers",
    )
    a_file_with_activations("bare.safetensors", "--scheme w8a8")
}

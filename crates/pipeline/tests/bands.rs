//! Tensors of several bands, whose cuts fall inside rows, and tensors without any band: the report's
//! hashes are those of the files, and the artifact holds against its source.

use llmopt_checkpoint::{Header, sha256_file, write_file};
use llmopt_pipeline::{
    Cancel, DenseDtype, Format, GroupSize, Recipe, Resources, Scheme, Silent, Target,
    VerifyOptions, plan, quantize, verify,
};
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::BTreeMap;
use std::path::Path;

/// A bare file: a copied tensor of more than a band whose rows do not divide one, matrices of several
/// bands, a scalar, and a tensor without elements.
fn write_source(path: &Path) {
    let shapes: [(&str, &[usize]); 6] = [
        ("embed_tokens.weight", &[1500, 701]),
        ("layers.0.mlp.down_proj.weight", &[1100, 1024]),
        ("layers.0.mlp.up_proj.weight", &[3001, 416]),
        ("layers.0.norm.weight", &[416]),
        ("scalar", &[]),
        ("empty", &[0, 5]),
    ];
    let meta = |shape: &[usize]| TensorMeta::new(Dtype::BF16, shape).expect("small");
    let mut names: Vec<_> = shapes.map(|(name, shape)| (name.to_owned(), meta(shape))).into();
    Header::reference_order(&mut names);
    let (mut file, _) = Header::encode(&BTreeMap::new(), &names).expect("plain names");
    let elements: u64 = names.iter().map(|(_, meta)| meta.elements()).sum();
    // BF16 of magnitude 2^-7 to 2^-3, from a formula.
    let element = |i: u64| {
        let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        ((0x3c00 + mixed % 0x200) | (mixed >> 9 & 1) << 15) as u16
    };
    file.extend((0..elements).flat_map(|i| element(i).to_le_bytes()));
    write_file(path, &file).expect("writable");
}

fn check(scheme: Scheme, group_size: GroupSize, format: Format) {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, output) =
        (folder.path().join("m.safetensors"), folder.path().join("o.safetensors"));
    write_source(&source);
    let recipe = Recipe {
        group_size,
        format,
        runtimes: vec![llmopt_pipeline::Runtime::Transformers],
        ..Recipe::new(scheme)
    };
    let target = Target { output: Some(output.clone()), ..Target::default() };
    let resources = Resources { memory: 1 << 30, threads: 3 };
    let plan = plan(&source, &target, &recipe, resources).expect("a plan");
    let report = quantize(&plan, &Silent, &Cancel::new()).expect("a run");
    for (path, facts) in [
        (&source, &report.envelope.inputs["m.safetensors"]),
        (&output, &report.envelope.outputs["o.safetensors"]),
    ] {
        assert_eq!(sha256_file(path).expect("readable"), facts.sha256, "{scheme}");
    }
    let options = VerifyOptions {
        runtimes: recipe.runtimes.clone(),
        against: (format == Format::CompressedTensors).then_some(source),
        quick: false,
    };
    let found = verify(&output, &options, &Silent, &Cancel::new()).expect("readable");
    assert_eq!(found.faults, [], "{scheme}");
}

fn preset(name: &str) -> Scheme {
    Scheme::preset(name).expect("a preset")
}

#[test]
fn cuts_inside_rows_and_between_words_leave_every_byte_in_its_place() {
    let asymmetric = Scheme { symmetric: false, ..preset("w4a16") };
    for scheme in [preset("w4a16"), asymmetric, preset("w8a16"), preset("w8a8"), preset("fp8")] {
        check(scheme, GroupSize::Auto, Format::CompressedTensors);
    }
}

#[test]
fn dense_twins_of_several_bands_are_whole() {
    for dtype in [DenseDtype::F32, DenseDtype::Source] {
        check(preset("w4a16"), GroupSize::Columns(32), Format::Dense(dtype));
    }
}

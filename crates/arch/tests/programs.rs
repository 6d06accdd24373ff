//! Every family's forward pass resolves on its seeded checkpoint, and uses what it binds.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::{all, named};
use llmopt_arch::program::{Block, Operation, Phase, Program, Tap};
use llmopt_arch::{Family, Model, Role};
use std::collections::BTreeSet;

fn each(check: impl Fn(&str, &Model, &Program)) {
    let mut families = BTreeSet::new();
    for folder in &all() {
        let checkpoint = named(folder);
        let model = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap();
        let program = model.program().unwrap_or_else(|error| panic!("{folder}: {error}"));
        check(folder, &model, &program);
        families.insert(model.family().unwrap().name());
    }
    assert!(Family::all().iter().map(Family::name).eq(families), "a family without a checkpoint");
}

fn phases(program: &Program) -> impl Iterator<Item = &Phase> {
    program.blocks.iter().flat_map(|block| &block.phases).chain([&program.head.norm])
}

fn operations(program: &Program) -> impl Iterator<Item = &Operation> {
    phases(program).flat_map(|phase| &phase.operations)
}

/// Conservation of the forward pass: nothing that the family binds is left out or used twice.
#[test]
fn every_tensor_is_used_by_one_operation() {
    each(|folder, model, program| {
        let mut used: Vec<&str> = operations(program).flat_map(Operation::tensors).collect();
        used.extend([&program.embedding.tensor, &program.head.tensor].map(String::as_str));
        let tied = program.embedding.tensor == program.head.tensor;
        assert_eq!(tied, model.tied().is_some(), "{folder}");
        used.sort_unstable();
        let times = used.len();
        used.dedup();
        assert_eq!(times - used.len(), usize::from(tied), "{folder}: a tensor is used twice");
        let is_text = |role| !matches!(role, Role::Tower | Role::BlockScale);
        let bound = model.tensors().iter().filter(|tensor| is_text(tensor.role));
        let bound: Vec<&str> = bound.map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(used, bound, "{folder}");
    });
}

#[test]
fn every_site_is_one_linear_of_its_shape() {
    each(|folder, model, program| {
        let linears: Vec<_> = operations(program).filter_map(Operation::linear).collect();
        for linear in &linears {
            let shape = model.get(&linear.weight).unwrap().meta.shape();
            assert_eq!(shape, [linear.rows, linear.columns], "{folder} {}", linear.weight);
            assert_eq!(program.width(linear.input), linear.columns, "{folder} {}", linear.weight);
            assert_eq!(program.width(linear.output), linear.rows, "{folder} {}", linear.weight);
        }
        // In the order of execution, which is that of the sites.
        let is_site = |name: &&str| model.get(name).unwrap().role == Role::Linear;
        let weights = linears.iter().map(|linear| linear.weight.as_str()).filter(is_site);
        assert!(
            weights.eq(model.linear_weights().iter().map(|site| site.tensor.as_str())),
            "{folder}"
        );
    });
}

#[test]
fn widths_of_taps_agree() {
    each(|folder, model, program| {
        for operation in operations(program) {
            let width = |tap: &Tap| program.width(*tap);
            let holds = match operation {
                Operation::Norm { input, output, weight, width: run, .. } => {
                    let gains = model.get(weight).unwrap().meta.shape()[0];
                    width(input) == width(output)
                        && width(input).is_multiple_of(*run)
                        && (gains == *run || gains == width(input))
                }
                Operation::Linear(_) => true,
                Operation::Split { input, outputs } => {
                    width(input) == outputs.iter().map(width).sum::<usize>()
                }
                Operation::Rotate { taps, head_width, rope } => {
                    rope.width <= *head_width
                        && taps.iter().all(|tap| width(tap).is_multiple_of(*head_width))
                }
                Operation::Attend(attention) => {
                    let queries = attention.heads * attention.head_width;
                    let keys = attention.key_value_heads * attention.head_width;
                    [attention.query, attention.output].iter().all(|tap| width(tap) == queries)
                        && [attention.key, attention.value].iter().all(|tap| width(tap) == keys)
                }
                Operation::Gate { gate, up, output, .. } => {
                    width(gate) == width(up) && width(up) == width(output)
                }
                Operation::Add { input, output, .. }
                | Operation::Route { input, output, .. }
                | Operation::Gather { input, output, .. }
                | Operation::Scatter { input, output, .. } => width(input) == width(output),
            };
            assert!(holds, "{folder}: {operation:?}");
        }
    });
}

/// A tap is made before it is taken, in the same phase or in one that carries it; the sum of the
/// experts alone begins by itself.
#[test]
fn taps_are_made_before_they_are_taken() {
    each(|folder, _, program| {
        for Block { layer, phases } in &program.blocks {
            let mut made = BTreeSet::from([Program::HIDDEN]);
            for phase in phases {
                for operation in &phase.operations {
                    let begun = match operation {
                        Operation::Scatter { output, .. } => Some(*output),
                        _ => None,
                    };
                    let taken = operation.reads().into_iter().filter(|tap| Some(*tap) != begun);
                    let missing: Vec<Tap> = taken.filter(|tap| !made.contains(tap)).collect();
                    assert!(missing.is_empty(), "{folder} {layer} {} {missing:?}", phase.name);
                    made.extend(operation.writes());
                }
                made = phase.carried.iter().copied().collect();
                assert_eq!(
                    phase.carried.first(),
                    Some(&Program::HIDDEN),
                    "{folder} {}",
                    phase.name
                );
            }
            assert_eq!(phases.last().unwrap().carried, [Program::HIDDEN], "{folder} {layer}");
        }
    });
}

#[test]
fn every_tap_is_made_by_some_block() {
    each(|folder, _, program| {
        let made: BTreeSet<Tap> = operations(program).flat_map(Operation::writes).collect();
        let names: BTreeSet<&str> = program.taps.iter().map(|tap| tap.name.as_str()).collect();
        assert_eq!((made.len(), names.len()), (program.taps.len(), program.taps.len()), "{folder}");
        assert_eq!(program.width(Program::HIDDEN), program.hidden, "{folder}");
    });
}

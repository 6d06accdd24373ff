//! Programs that no family has: what stands in the way is found, whatever the order.

use super::*;
use crate::program::{Activation, Embedding, Head, Phase, TapFacts};

const WIDTH: usize = 4;

fn norm(input: usize, output: usize, width: usize) -> Operation {
    Operation::Norm {
        input: Tap(input),
        output: Tap(output),
        weight: "norm".to_owned(),
        epsilon: 1e-6,
        from_one: true,
        width,
    }
}

fn linear(weight: &str, input: usize, output: usize) -> Operation {
    Operation::Linear(Linear {
        input: Tap(input),
        output: Tap(output),
        weight: weight.to_owned(),
        bias: None,
        rows: WIDTH,
        columns: WIDTH,
    })
}

fn gate(gate: usize, up: usize, output: usize) -> Operation {
    let (gate, up, output) = (Tap(gate), Tap(up), Tap(output));
    Operation::Gate { gate, up, output, activation: Activation::Silu }
}

fn add(input: usize, output: usize) -> Operation {
    Operation::Add { input: Tap(input), output: Tap(output), scale: 1.0 }
}

fn split(input: usize, outputs: &[usize]) -> Operation {
    let outputs = outputs.iter().map(|&tap| Tap(tap)).collect();
    Operation::Split { input: Tap(input), outputs }
}

fn attend([query, key, value, output]: [usize; 4]) -> Operation {
    Operation::Attend(Attention {
        query: Tap(query),
        key: Tap(key),
        value: Tap(value),
        output: Tap(output),
        heads: 2,
        key_value_heads: 2,
        head_width: WIDTH / 2,
        scale: 1.0,
        window: None,
        cap: None,
    })
}

/// A program of one block, with all taps of one width.
fn program(operations: &[Operation]) -> Program {
    let phase = |operations: &[Operation]| Phase {
        name: String::new(),
        expert: None,
        operations: operations.to_vec(),
        carried: vec![Program::HIDDEN],
    };
    Program {
        hidden: WIDTH,
        vocabulary: 1,
        context: None,
        taps: vec![TapFacts { name: String::new(), width: WIDTH }; 10],
        embedding: Embedding { tensor: String::new(), scale: 1.0 },
        blocks: vec![Block { layer: 0, phases: vec![phase(operations)] }],
        head: Head { norm: phase(&[]), tensor: String::new(), bias: None, scale: 1.0, cap: None },
    }
}

/// Pairs as `maker: readers`, then what is refused as `readers! reason`.
#[track_caller]
fn check(operations: &[Operation], expected: &[&str]) {
    let program = program(operations);
    let Smoothing { pairs, refused } = program.smoothing(&program.blocks[0]);
    let pair = |pair: &SmoothingPair| {
        assert_eq!((pair.phase, pair.channels), (0, WIDTH));
        let rows = match &pair.maker {
            Maker::Gains { .. } => String::new(),
            Maker::Rows { rows, .. } => format!(" {rows:?}"),
        };
        format!("{}{rows}: {}", pair.maker.tensor(), pair.readers.join(" "))
    };
    let obstacle = |refused: &Unsmoothed| {
        let Unsmoothed { readers, reason } = refused;
        format!("{}! {reason}", readers.join(" "))
    };
    let found: Vec<String> = pairs.iter().map(pair).chain(refused.iter().map(obstacle)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_norm_that_more_than_matrices_read_stays() {
    let other = "q k! more than these matrices reads what `norm` makes";
    let attention = [norm(0, 1, 4), linear("q", 1, 2), linear("k", 1, 3)];
    check(&attention, &["norm: q k"]);
    check(&[&attention[..], &[add(1, 0)]].concat(), &[other]);
    check(&[&attention[..], &[norm(1, 1, 4)]].concat(), &[other]);
    check(&[&attention[..], &[gate(1, 2, 4)]].concat(), &[other]);
    // What is made anew is another value, also in the same tap.
    check(&[&attention[..], &[norm(0, 1, 4), add(1, 0)]].concat(), &["norm: q k"]);
    // The hidden state outlives its block.
    check(
        &[norm(0, 0, 4), linear("q", 0, 1)],
        &["q! more than these matrices reads what `norm` makes"],
    );
}

#[test]
fn norms_of_heads_stay() {
    check(&[norm(0, 1, 2), linear("q", 1, 2)], &["q! `norm` normalizes runs of 2 of 4 channels"]);
}

#[test]
fn rows_must_be_read_once() {
    let inputs = [norm(0, 1, 4), linear("gate", 1, 2), linear("up", 1, 3)];
    let check = |rest: &[Operation], expected: &str| {
        check(&[&inputs[..], rest].concat(), &["norm: gate up", expected]);
    };
    let down = || linear("down", 4, 5);
    check(&[gate(2, 3, 4), down()], "up 0..4: down");
    let other = "down! more than these matrices reads what `up` makes";
    check(&[gate(2, 3, 4), down(), add(3, 0)], other);
    check(&[gate(3, 3, 4), down()], other);
    check(&[gate(2, 3, 4), down(), add(4, 0)], other);
    check(&[attend([2, 2, 3, 4]), down()], "up 0..4: down");
    check(&[attend([2, 3, 3, 4]), down()], other);
    check(
        &[norm(3, 3, 4), gate(2, 3, 4), down()],
        "down! no norm and no matrix makes them channel by channel",
    );
}

#[test]
fn rows_are_found_behind_a_split() {
    let of = |split: &[Operation]| {
        [&[linear("qkv", 0, 1)], split, &[attend([2, 3, 4, 5]), linear("o", 5, 6)]].concat()
    };
    let hidden = "qkv! no norm and no matrix makes them channel by channel";
    check(&of(&[split(1, &[2, 3, 4])]), &["qkv 8..12: o", hidden]);
    let other = "o! more than these matrices reads what `qkv` makes";
    check(&of(&[split(1, &[2, 3, 4]), add(1, 0)]), &[hidden, other]);
    check(
        &of(&[split(0, &[2, 3, 4])]),
        &[hidden, "o! no norm and no matrix makes them channel by channel"],
    );
}

#[test]
fn a_matrix_feeds_the_next() {
    check(
        &[norm(0, 1, 4), linear("low", 1, 2), linear("high", 2, 3)],
        &["norm: low", "low 0..4: high"],
    );
}

#[test]
fn rows_picked_for_experts_are_those_of_the_norm() {
    let gather = |expert, output| Operation::Gather {
        input: Tap(1),
        routes: Tap(3),
        expert,
        output: Tap(output),
    };
    let experts = [
        norm(0, 1, 4),
        linear("router", 1, 2),
        Operation::Route { input: Tap(2), output: Tap(3), top: 1, renormalize: true },
        gather(0, 4),
        linear("first", 4, 5),
        gather(1, 4),
        linear("second", 4, 5),
    ];
    check(&experts, &["norm: router first second"]);
    check(
        &[&experts[..], &[add(4, 0)]].concat(),
        &["router first second! more than these matrices reads what `norm` makes"],
    );
}

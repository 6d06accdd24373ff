//! A block's program cut at its input sites.

use crate::InputSite;
use llmopt_arch::fill_carried;
use llmopt_arch::program::{Block, Phase};
use std::ops::Range;

/// A part of a phase: what runs between two sites.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its operations, under the name of its phase. It carries what later segments take.
    pub phase: Phase,
    /// The number of the phase in its block.
    pub number: usize,
    /// The site whose inputs are whole when it ends, by its number: what reads them comes behind.
    pub site: Option<usize>,
}

/// All of `block`, cut in front of the first matrix of each site. One after the other, the segments are
/// the operations of the block in their order, each of them once; one that has none shows inputs which
/// an earlier phase made. `sites` are some of the block's, in the order of
/// [`input_sites`](crate::input_sites).
pub fn segments(block: &Block, sites: &[InputSite]) -> Vec<Segment> {
    let (mut phases, mut shown) = (Vec::new(), Vec::new());
    for (number, phase) in block.phases.iter().enumerate() {
        let mut first = 0;
        for (site, cut) in cuts(number, phase, sites) {
            phases.push(part(phase, first..cut));
            shown.push((number, Some(site)));
            first = cut;
        }
        phases.push(part(phase, first..phase.operations.len()));
        shown.push((number, None));
    }
    fill_carried(&mut phases);
    let segments = phases.into_iter().zip(shown);
    segments.map(|(phase, (number, site))| Segment { phase, number, site }).collect()
}

/// The numbers of the phase's sites, each with that of the first operation that reads it.
fn cuts(number: usize, phase: &Phase, sites: &[InputSite]) -> impl Iterator<Item = (usize, usize)> {
    let here = sites.iter().enumerate().filter(move |(_, site)| site.phase == number);
    here.filter_map(|(place, site)| {
        let mut linears = phase.operations.iter().map(|operation| operation.linear());
        let first = linears
            .position(|linear| linear.is_some_and(|linear| site.tensors.contains(&linear.weight)));
        Some((place, first?))
    })
}

fn part(phase: &Phase, operations: Range<usize>) -> Phase {
    Phase {
        name: phase.name.clone(),
        expert: phase.expert,
        operations: phase.operations[operations].to_vec(),
        carried: Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::input_sites;
    use llmopt_arch::program::{Activation, Linear, Operation, Tap};

    pub(crate) fn norm(input: usize, output: usize) -> Operation {
        Operation::Norm {
            input: Tap(input),
            output: Tap(output),
            weight: format!("norm {output}"),
            epsilon: 1e-6,
            from_one: false,
            width: 4,
        }
    }

    pub(crate) fn linear(weight: &str, input: usize, output: usize) -> Operation {
        Operation::Linear(Linear {
            input: Tap(input),
            output: Tap(output),
            weight: weight.to_owned(),
            bias: None,
            rows: 4,
            columns: 4,
        })
    }

    pub(crate) fn phase(name: &str, operations: Vec<Operation>, carried: &[usize]) -> Phase {
        let carried = carried.iter().map(|&tap| Tap(tap)).collect();
        Phase { name: name.to_owned(), expert: None, operations, carried }
    }

    fn add(input: usize, output: usize) -> Operation {
        Operation::Add { input: Tap(input), output: Tap(output), scale: 1.0 }
    }

    fn gate(gate: usize, up: usize, output: usize) -> Operation {
        let (gate, up, output) = (Tap(gate), Tap(up), Tap(output));
        Operation::Gate { gate, up, output, activation: Activation::Silu }
    }

    /// Something like attention, and something like an MLP.
    pub(crate) fn block() -> Block {
        let attention = vec![
            norm(0, 1),
            linear("q", 1, 2),
            linear("k", 1, 5),
            gate(2, 5, 3),
            linear("o", 3, 6),
            add(6, 0),
        ];
        let mlp =
            vec![norm(0, 1), linear("up", 1, 2), gate(2, 2, 4), linear("down", 4, 6), add(6, 0)];
        let phases = vec![phase("attention", attention, &[0]), phase("mlp", mlp, &[0])];
        Block { layer: 0, phases }
    }

    /// A router, two experts, and their sum.
    fn experts() -> Block {
        let (input, routes, rows, sum) = (Tap(1), Tap(2), Tap(3), Tap(7));
        let route = Operation::Route { input: Tap(8), output: routes, top: 1, renormalize: true };
        let expert = |expert: usize| Phase {
            expert: Some(expert),
            ..phase(
                "expert",
                vec![
                    Operation::Gather { input, routes, expert, output: rows },
                    linear(&format!("up {expert}"), 3, 4),
                    linear(&format!("down {expert}"), 4, 5),
                    Operation::Scatter { input: Tap(5), routes, expert, output: sum },
                ],
                &[],
            )
        };
        let mut phases = vec![
            phase("router", vec![norm(0, 1), linear("gate", 1, 8), route], &[]),
            expert(0),
            expert(1),
            phase("sum", vec![add(7, 0)], &[]),
        ];
        fill_carried(&mut phases);
        Block { layer: 0, phases }
    }

    /// Each segment's phase, how many operations it has, what it carries, and its site.
    #[track_caller]
    fn check(block: &Block, wanted: &[&str], expected: &[(&str, usize, &[usize], Option<usize>)]) {
        let sites = input_sites(block, |name| wanted.contains(&name)).expect("can be watched");
        let found = segments(block, &sites);
        let carried: Vec<Vec<usize>> = found
            .iter()
            .map(|segment| segment.phase.carried.iter().map(|tap| tap.0).collect())
            .collect();
        let told: Vec<(&str, usize, &[usize], Option<usize>)> = found
            .iter()
            .zip(&carried)
            .map(|(Segment { phase, site, .. }, carried)| {
                (&*phase.name, phase.operations.len(), &carried[..], *site)
            })
            .collect();
        assert_eq!(told, expected, "{wanted:?}");
        let operations = |phases: &mut dyn Iterator<Item = &Phase>| -> Vec<Operation> {
            phases.flat_map(|phase| phase.operations.clone()).collect()
        };
        let cut = operations(&mut found.iter().map(|segment| &segment.phase));
        assert_eq!(cut, operations(&mut block.phases.iter()), "{wanted:?}");
    }

    #[test]
    fn a_site_is_whole_where_a_segment_ends() {
        let all = ["q", "k", "o", "up", "down"];
        let segments: &[(&str, usize, &[usize], Option<usize>)] = &[
            ("attention", 1, &[0, 1], Some(0)),
            ("attention", 3, &[0, 3], Some(1)),
            ("attention", 2, &[0], None),
            ("mlp", 1, &[0, 1], Some(2)),
            ("mlp", 2, &[0, 4], Some(3)),
            ("mlp", 2, &[0], None),
        ];
        check(&block(), &all, segments);
    }

    #[test]
    fn nothing_is_cut_where_nobody_looks() {
        check(&block(), &[], &[("attention", 6, &[0], None), ("mlp", 5, &[0], None)]);
        // In front of the one matrix that is wanted, behind others that read the same.
        check(
            &block(),
            &["k"],
            &[
                ("attention", 2, &[0, 1, 2], Some(0)),
                ("attention", 4, &[0], None),
                ("mlp", 5, &[0], None),
            ],
        );
    }

    #[test]
    fn experts_come_one_after_the_other() {
        check(
            &experts(),
            &["up 0", "down 0", "down 1"],
            &[
                ("router", 3, &[0, 1, 2], None),
                ("expert", 1, &[0, 1, 2, 3], Some(0)),
                ("expert", 1, &[0, 1, 2, 4], Some(1)),
                ("expert", 2, &[0, 1, 2, 7], None),
                ("expert", 2, &[0, 2, 4, 7], Some(2)),
                ("expert", 2, &[0, 7], None),
                ("sum", 1, &[0], None),
            ],
        );
    }

    #[test]
    fn inputs_that_an_earlier_phase_made_are_shown_by_nothing() {
        let phases = vec![
            phase("first", vec![norm(0, 1), linear("a", 1, 2), add(2, 0)], &[0, 1]),
            phase("second", vec![linear("b", 1, 2), add(2, 0)], &[0]),
        ];
        let expected: &[(&str, usize, &[usize], Option<usize>)] = &[
            ("first", 3, &[0, 1], None),
            ("second", 0, &[0, 1], Some(0)),
            ("second", 2, &[0], None),
        ];
        check(&Block { layer: 0, phases }, &["b"], expected);
    }
}

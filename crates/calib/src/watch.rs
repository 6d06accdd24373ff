//! A block's program cut down to what some sites need.

use crate::InputSite;
use llmopt_arch::program::{Block, Operation, Phase, Tap};
use std::collections::BTreeSet;

/// A phase as far as watched sites need it.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Its operations without those that lead to none of the sites: a block's last product, for one.
    pub phase: Phase,
    /// The sites that it shows, by their numbers.
    pub sites: Vec<usize>,
    /// The tap of each of them.
    pub taps: Vec<Tap>,
}

/// What must be run of `block` to see the inputs of `sites`, phase after phase. A phase that leads to
/// none of them is left out.
pub fn watches(block: &Block, sites: &[InputSite]) -> Vec<Watch> {
    let mut needed = BTreeSet::new();
    let mut watches = Vec::new();
    for (number, phase) in block.phases.iter().enumerate().rev() {
        let here = || sites.iter().enumerate().filter(|(_, site)| site.phase == number);
        let taps: Vec<Tap> = here().map(|(_, site)| site.tap).collect();
        let carried = phase.carried.iter().filter(|tap| needed.contains(*tap)).copied().collect();
        let before = needed.clone();
        needed.extend(&taps);
        let operations = leading_to(&mut needed, &phase.operations);
        if operations.is_empty() && taps.is_empty() {
            // What later phases need passes by.
            needed = before;
            continue;
        }
        let phase = Phase { operations, carried, ..phase.clone() };
        watches.push(Watch { phase, sites: here().map(|(number, _)| number).collect(), taps });
    }
    watches.reverse();
    watches
}

/// All of `block`, with the taps of `sites`: what is run where the block is to be passed, too.
pub fn whole(block: &Block, sites: &[InputSite]) -> Vec<Watch> {
    let watched = |(number, phase): (usize, &Phase)| {
        let here = || sites.iter().enumerate().filter(move |(_, site)| site.phase == number);
        Watch {
            phase: phase.clone(),
            sites: here().map(|(number, _)| number).collect(),
            taps: here().map(|(_, site)| site.tap).collect(),
        }
    };
    block.phases.iter().enumerate().map(watched).collect()
}

/// The operations that make what is needed. What they need in turn takes its place.
fn leading_to(needed: &mut BTreeSet<Tap>, operations: &[Operation]) -> Vec<Operation> {
    let mut kept = Vec::new();
    for operation in operations.iter().rev() {
        let writes = operation.writes();
        if writes.iter().any(|tap| needed.contains(tap)) {
            needed.retain(|tap| !writes.contains(tap));
            needed.extend(operation.reads());
            kept.push(operation.clone());
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::input_sites;
    use llmopt_arch::program::{Activation, Linear};

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

    /// Which sites are watched, and how many operations of each phase remain.
    #[track_caller]
    fn check(wanted: &[&str], expected: &[(&str, usize, &[usize], usize)]) {
        let sites = input_sites(&block(), |name| wanted.contains(&name)).expect("can be watched");
        let found = watches(&block(), &sites);
        let found: Vec<(&str, usize, &[usize], usize)> = found
            .iter()
            .map(|watch| {
                let Watch { phase, sites, .. } = watch;
                (&*phase.name, phase.operations.len(), &sites[..], phase.carried.len())
            })
            .collect();
        assert_eq!(found, expected, "{wanted:?}");
    }

    #[test]
    fn what_leads_to_no_site_is_left_out() {
        // The last product and the residual after it; the MLP altogether; of attention, all but that.
        check(&["q", "o", "up", "down"], &[("attention", 6, &[0, 1], 1), ("mlp", 3, &[2, 3], 0)]);
        check(&["q"], &[("attention", 1, &[0], 0)]);
        check(&["o"], &[("attention", 4, &[0], 0)]);
        check(&["up"], &[("attention", 6, &[], 1), ("mlp", 1, &[0], 0)]);
        check(&[], &[]);
    }

    #[test]
    fn a_block_that_is_passed_is_run_whole() {
        let sites = input_sites(&block(), |name| name == "up").expect("can be watched");
        let found = whole(&block(), &sites);
        let phases: Vec<Phase> = found.iter().map(|watch| watch.phase.clone()).collect();
        assert_eq!(phases, block().phases);
        let taps: Vec<&[Tap]> = found.iter().map(|watch| &watch.taps[..]).collect();
        assert_eq!(taps, [&[][..], &[Tap(1)]]);
        assert_eq!((found[0].sites.len(), &found[1].sites[..]), (0, &[0][..]));
    }
}

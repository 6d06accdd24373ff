//! Which taps a phase hands on to the next.

use crate::program::{Operation, Phase, Program};
use std::collections::BTreeSet;

/// Fills in what each phase of a block carries: taps that have been made and that a later phase
/// takes before it makes them anew. The hidden state is there from the beginning, and always carried.
pub fn fill_carried(phases: &mut [Phase]) {
    let mut made = BTreeSet::from([Program::HIDDEN]);
    for phase in phases.iter_mut() {
        made.extend(phase.operations.iter().flat_map(Operation::writes));
        phase.carried = made.iter().copied().collect();
    }
    let mut taken = BTreeSet::from([Program::HIDDEN]);
    for phase in phases.iter_mut().rev() {
        phase.carried.retain(|tap| taken.contains(tap));
        for operation in phase.operations.iter().rev() {
            for tap in operation.writes() {
                taken.remove(&tap);
            }
            taken.extend(operation.reads());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Tap;

    const X: Tap = Tap(1);
    const ROUTES: Tap = Tap(2);
    const MINE: Tap = Tap(3);
    const SUM: Tap = Tap(4);

    fn check(phases: &[&[Operation]], expected: &[&[Tap]]) {
        let phase = |operations: &&[Operation]| Phase {
            name: String::new(),
            expert: None,
            operations: operations.to_vec(),
            carried: Vec::new(),
        };
        let mut phases: Vec<Phase> = phases.iter().map(phase).collect();
        fill_carried(&mut phases);
        let found: Vec<&[Tap]> = phases.iter().map(|phase| phase.carried.as_slice()).collect();
        assert_eq!(found, expected);
    }

    fn split(input: Tap, output: Tap) -> Operation {
        Operation::Split { input, outputs: vec![output] }
    }

    fn add(input: Tap, output: Tap) -> Operation {
        Operation::Add { input, output, scale: 1.0 }
    }

    #[test]
    fn only_what_is_taken_later_is_carried() {
        let hidden = Program::HIDDEN;
        check(&[&[split(hidden, X)], &[add(hidden, hidden)]], &[&[hidden], &[hidden]]);
        check(&[&[split(hidden, X)], &[add(X, hidden)]], &[&[hidden, X], &[hidden]]);
        let anew = [split(hidden, X), add(X, hidden)];
        check(&[&[split(hidden, X)], &anew], &[&[hidden], &[hidden]]);
    }

    /// The sum of the experts begins with the first that adds to it.
    #[test]
    fn experts_share_their_input_routes_and_sum() {
        let hidden = Program::HIDDEN;
        let route = Operation::Route { input: X, output: ROUTES, top: 1, renormalize: true };
        let expert = |expert| {
            [
                Operation::Gather { input: X, routes: ROUTES, expert, output: MINE },
                Operation::Scatter { input: MINE, routes: ROUTES, expert, output: SUM },
            ]
        };
        check(
            &[&[split(hidden, X), route], &expert(0), &expert(1), &[add(SUM, hidden)]],
            &[&[hidden, X, ROUTES], &[hidden, X, ROUTES, SUM], &[hidden, SUM], &[hidden]],
        );
    }
}

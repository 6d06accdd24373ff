//! Input sites: which matrices of a block multiply the same inputs.

use crate::Extent;
use llmopt_arch::program::{Block, Linear, Operation, Phase, Program, Tap};

/// The inputs that one or more matrices multiply: query, key and value share theirs, and so do gate
/// and up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSite {
    /// The number of the phase in its block.
    pub phase: usize,
    /// Where the inputs are.
    pub tap: Tap,
    /// Input features, and the width of the hidden state where the site's one matrix adds to it.
    pub extent: Extent,
    /// The expert whose tokens they are, where they are one's.
    pub expert: Option<usize>,
    /// The weights, in the order of the program.
    pub tensors: Vec<String>,
}

/// A program whose inputs cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the inputs of `{tensor}` are overwritten within `{phase}`, so that they cannot be observed"
)]
pub struct Overwritten {
    /// The weight that reads them.
    pub tensor: String,
    /// The phase that writes over them.
    pub phase: String,
}

/// The sites of the block's matrices that are `wanted`, in the order of the program.
///
/// # Errors
/// [`Overwritten`] where a phase makes a tap anew after a matrix has read it: what it holds in the end
/// would be something else.
pub fn input_sites(
    block: &Block,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<InputSite>, Overwritten> {
    let mut sites: Vec<InputSite> = Vec::new();
    for (number, phase) in block.phases.iter().enumerate() {
        for (step, operation) in phase.operations.iter().enumerate() {
            let Some(linear) = operation.linear().filter(|linear| wanted(&linear.weight)) else {
                continue;
            };
            if written(&phase.operations[step..], linear.input) {
                return Err(overwritten(&linear.weight, phase));
            }
            let known =
                sites.iter_mut().find(|site| site.phase == number && site.tap == linear.input);
            match known {
                Some(site) => {
                    site.tensors.push(linear.weight.clone());
                    site.extent.residual = None;
                }
                None => sites.push(InputSite {
                    phase: number,
                    tap: linear.input,
                    extent: Extent {
                        columns: linear.columns,
                        residual: adds(&phase.operations[step..], linear).then_some(linear.rows),
                    },
                    expert: phase.expert,
                    tensors: vec![linear.weight.clone()],
                }),
            }
        }
    }
    Ok(sites)
}

/// Whether what `weight` gives in `phase` is added to the hidden state with which the phase begins, as
/// it is: no norm stands between, and no factor.
pub fn adds_to_hidden(phase: &Phase, weight: &str) -> bool {
    let steps = phase.operations.iter().enumerate();
    let mut linears = steps.filter_map(|(step, operation)| Some((step, operation.linear()?)));
    let found = linears.find(|(_, linear)| linear.weight == weight);
    found.is_some_and(|(step, linear)| adds(&phase.operations[step..], linear))
}

/// Whether outputs are added to the hidden state with which the phase begins, as they are.
fn adds(later: &[Operation], linear: &Linear) -> bool {
    let output = linear.output;
    let [_, Operation::Add { input, output: to, scale }, ..] = later else { return false };
    (*input, *to, *scale) == (output, Program::HIDDEN, 1.0)
}

fn written(operations: &[Operation], tap: Tap) -> bool {
    operations.iter().any(|operation| operation.writes().contains(&tap))
}

fn overwritten(tensor: &str, phase: &Phase) -> Overwritten {
    Overwritten { tensor: tensor.to_owned(), phase: phase.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::tests::{block, linear, norm, phase};

    #[test]
    fn matrices_that_read_the_same_tap_are_one_site() {
        let sites = input_sites(&block(), |_| true).expect("nothing is overwritten");
        let names: Vec<(usize, usize, Vec<&str>)> = sites
            .iter()
            .map(|site| {
                let tensors = site.tensors.iter().map(String::as_str).collect();
                (site.phase, site.tap.0, tensors)
            })
            .collect();
        let expected =
            [(0, 1, vec!["q", "k"]), (0, 3, vec!["o"]), (1, 1, vec!["up"]), (1, 4, vec!["down"])];
        assert_eq!(names, expected);
        let residual = |site: &InputSite| site.extent.residual;
        assert_eq!(sites.iter().map(residual).collect::<Vec<_>>(), [None, Some(4), None, Some(4)]);
        let wanted = input_sites(&block(), |name| name == "k").expect("nothing is overwritten");
        assert_eq!(wanted.len(), 1);
        assert_eq!(wanted[0].tensors, ["k"]);
    }

    #[test]
    fn inputs_that_are_overwritten_later_cannot_be_watched() {
        let operations = vec![norm(0, 1), linear("w", 1, 2), norm(2, 1)];
        let block = Block { layer: 0, phases: vec![phase("mlp", operations, &[0])] };
        let error = input_sites(&block, |_| true).expect_err("tap 1 is made anew");
        assert_eq!(error, Overwritten { tensor: "w".to_owned(), phase: "mlp".to_owned() });
    }
}

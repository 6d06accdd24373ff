//! Strongly connected components of a graph (R. Tarjan, Depth-first search and linear graph
//! algorithms, 1972).

use std::collections::{BTreeMap, BTreeSet};

/// Edges from node to node.
pub(super) type Edges = BTreeSet<(usize, usize)>;

/// Sets of nodes that reach one another, each in order, the largest first. A node without edges is
/// in none.
pub(super) fn components(edges: &Edges) -> Vec<Vec<usize>> {
    let mut search = Search { edges, order: BTreeMap::new(), open: Vec::new(), found: Vec::new() };
    for &(from, to) in edges {
        search.visit(from);
        search.visit(to);
    }
    search.found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    search.found
}

/// How many nodes the largest component has.
pub(super) fn largest(edges: &Edges) -> usize {
    components(edges).first().map_or(0, Vec::len)
}

struct Search<'a> {
    edges: &'a Edges,
    /// When each node was first met.
    order: BTreeMap<usize, usize>,
    /// Nodes met, whose component is not yet known.
    open: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    /// The first of the open nodes that `node` reaches, by its place in the order.
    fn visit(&mut self, node: usize) -> usize {
        if let Some(&order) = self.order.get(&node) {
            return if self.open.contains(&node) { order } else { usize::MAX };
        }
        let order = self.order.len();
        self.order.insert(node, order);
        let begin = self.open.len();
        self.open.push(node);
        let next = self.edges.range((node, 0)..=(node, usize::MAX));
        let first = next.fold(order, |first, &(_, next)| first.min(self.visit(next)));
        if first == order {
            let mut component = self.open.split_off(begin);
            component.sort_unstable();
            self.found.push(component);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_reach_one_another_are_together() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (4, 5), (6, 6)].into();
        let expected = [vec![0, 1, 2], vec![3, 4], vec![5], vec![6]];
        assert_eq!(components(&edges), expected);
        assert_eq!(largest(&edges), 3);
        assert_eq!(largest(&Edges::new()), 0);
    }

    /// The slow twin: two nodes are together where each is in the other's closure.
    #[test]
    fn closures_give_the_same_components() {
        const NODES: usize = 12;
        let mut state = 1_u32;
        for _ in 0..200 {
            let mut edges = Edges::new();
            for _ in 0..14 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                edges.insert(((state >> 8) as usize % NODES, (state >> 20) as usize % NODES));
            }
            let mut reaches = [[false; NODES]; NODES];
            for (from, to) in &edges {
                reaches[*from][*to] = true;
            }
            for (via, from, to) in (0..NODES.pow(3)).map(|i| (i / 144, i / 12 % 12, i % 12)) {
                reaches[from][to] |= reaches[from][via] && reaches[via][to];
            }
            let together = |a: usize, b: usize| a == b || (reaches[a][b] && reaches[b][a]);
            for component in components(&edges) {
                let expected: Vec<_> = (0..NODES).filter(|b| together(component[0], *b)).collect();
                assert_eq!(component, expected, "{edges:?}");
            }
        }
    }
}

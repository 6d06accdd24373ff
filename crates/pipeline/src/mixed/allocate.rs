//! Which choice each unit gets: the least sum of costs that fits a budget of bytes.
//!
//! A multiple-choice knapsack. Along the lower convex hull of a unit's choices, each step to more bytes has a
//! price: cost saved per byte. Taking all steps of all units in the order of their prices until the budget is spent
//! is what a Lagrange multiplier finds by bisection (Shoham and Gersho 1988). What is left of the budget is filled
//! greedily, with choices that are on no hull as well. With few units the steps are too large for that to come near the
//! best: dynamic programming over parts of the budget then does, and the better of both is taken.

/// A choice of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    /// Bytes that it takes.
    pub(super) bytes: u64,
    /// What it is expected to cost, in nats.
    pub(super) cost: f64,
}

/// The number of the choice that each unit gets; none, if the smallest choices together exceed the budget. Units
/// have at least one choice, in any order, and at most 256.
pub(super) fn allocated(units: &[Vec<Cell>], budget: u64) -> Option<Vec<usize>> {
    let by_hulls = filled(units, by_hulls(units, budget)?, budget);
    let by_parts = by_parts(units, budget).map(|taken| filled(units, taken, budget));
    let cost = |taken: &[usize]| -> f64 {
        units.iter().zip(taken).map(|(cells, &of)| cells[of].cost).sum()
    };
    Some(match by_parts {
        Some(by_parts) if cost(&by_parts) < cost(&by_hulls) => by_parts,
        _ => by_hulls,
    })
}

fn bytes_of(units: &[Vec<Cell>], taken: &[usize]) -> u64 {
    units.iter().zip(taken).map(|(cells, &of)| cells[of].bytes).sum()
}

/// Steps along the hulls until the budget is spent.
fn by_hulls(units: &[Vec<Cell>], budget: u64) -> Option<Vec<usize>> {
    let mut taken: Vec<usize> = units.iter().map(|cells| smallest(cells)).collect();
    let mut spent = bytes_of(units, &taken);
    if spent > budget {
        return None;
    }
    for step in steps(units) {
        let Step { unit, to, .. } = step;
        let (now, next) = (units[unit][taken[unit]], units[unit][to]);
        // A step behind one that did not fit begins from elsewhere than its hull says.
        if next.cost < now.cost && spent - now.bytes + next.bytes <= budget {
            spent = spent - now.bytes + next.bytes;
            taken[unit] = to;
        }
    }
    Some(taken)
}

/// The same with the bytes that are left spent where they save most.
fn filled(units: &[Vec<Cell>], mut taken: Vec<usize>, budget: u64) -> Vec<usize> {
    let mut spent = bytes_of(units, &taken);
    while let Some((unit, to)) = best_exchange(units, &taken, budget - spent) {
        spent = spent - units[unit][taken[unit]].bytes + units[unit][to].bytes;
        taken[unit] = to;
    }
    taken
}

/// A step along the hull of a unit.
struct Step {
    unit: usize,
    to: usize,
    /// Nats that a byte saves.
    price: f64,
}

/// The steps of all units, the dearest first.
fn steps(units: &[Vec<Cell>]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (unit, cells) in units.iter().enumerate() {
        let hull = hull(cells);
        steps.extend(hull.windows(2).map(|step| {
            let price = price(cells[step[0]], cells[step[1]]);
            Step { unit, to: step[1], price }
        }));
    }
    steps.sort_by(|a, b| b.price.total_cmp(&a.price));
    steps
}

fn price(from: Cell, to: Cell) -> f64 {
    (from.cost - to.cost) / (to.bytes - from.bytes) as f64
}

/// The choices on the lower convex hull of cost over bytes, the smallest first: each step is cheaper per byte than
/// the one before.
fn hull(cells: &[Cell]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by(|&a, &b| {
        (cells[a].bytes.cmp(&cells[b].bytes)).then(cells[a].cost.total_cmp(&cells[b].cost))
    });
    let mut hull: Vec<usize> = Vec::new();
    for next in order {
        if hull.last().is_some_and(|&last| cells[next].cost >= cells[last].cost) {
            continue;
        }
        while let [.., before, last] = hull[..]
            && price(cells[before], cells[last]) <= price(cells[last], cells[next])
        {
            hull.pop();
        }
        hull.push(next);
    }
    hull
}

fn smallest(cells: &[Cell]) -> usize {
    let order = |&a: &usize, &b: &usize| {
        (cells[a].bytes.cmp(&cells[b].bytes)).then(cells[a].cost.total_cmp(&cells[b].cost))
    };
    (0..cells.len()).min_by(order).unwrap_or(0)
}

/// The change of one unit that saves most and needs no more than `left` bytes beyond what it has; of changes that
/// save nothing, none.
fn best_exchange(units: &[Vec<Cell>], taken: &[usize], left: u64) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for (unit, cells) in units.iter().enumerate() {
        let now = cells[taken[unit]];
        for (to, next) in cells.iter().enumerate() {
            let saved = now.cost - next.cost;
            let fits = next.bytes <= now.bytes + left;
            if fits && saved > 0.0 && best.is_none_or(|(most, ..)| saved > most) {
                best = Some((saved, unit, to));
            }
        }
    }
    best.map(|(_, unit, to)| (unit, to))
}

/// The least cost over budgets in so many equal parts, of which each choice takes as many as it begins: exact for what
/// is large beside a part, and never beyond the budget. None, if the smallest choices do not fit that way.
fn by_parts(units: &[Vec<Cell>], budget: u64) -> Option<Vec<usize>> {
    let part = budget.div_ceil(PARTS as u64).max(1);
    let room = (budget / part) as usize;
    let mut least = vec![0.0; room + 1];
    let mut taken: Vec<Vec<u8>> = Vec::with_capacity(units.len());
    for cells in units {
        let mut next = vec![f64::INFINITY; room + 1];
        let mut by = vec![0; room + 1];
        for (choice, cell) in cells.iter().enumerate() {
            let parts = usize::try_from(cell.bytes.div_ceil(part)).unwrap_or(usize::MAX);
            for have in parts..=room {
                let cost = least[have - parts] + cell.cost;
                if cost < next[have] {
                    (next[have], by[have]) = (cost, u8::try_from(choice).unwrap_or(u8::MAX));
                }
            }
        }
        least = next;
        taken.push(by);
    }
    if least[room].is_infinite() {
        return None;
    }
    let (mut have, mut choices) = (room, Vec::with_capacity(units.len()));
    for (cells, by) in units.iter().zip(&taken).rev() {
        let choice = usize::from(by[have]);
        have -= usize::try_from(cells[choice].bytes.div_ceil(part)).unwrap_or(have);
        choices.push(choice);
    }
    choices.reverse();
    Some(choices)
}

/// Parts of a budget.
const PARTS: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between 0 and 1 that follow from a seed.
    fn numbers(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Units whose cost falls by four with each bit, times a sensitivity of their own.
    fn units(seed: u64, count: usize) -> Vec<Vec<Cell>> {
        let mut next = numbers(seed);
        let mut unit = || {
            let (parameters, sensitivity) = (1000.0 + 9000.0 * next(), 10_f64.powf(-3.0 * next()));
            [2.0, 2.5, 3.25, 4.125, 5.0, 8.0]
                .map(|bits: f64| Cell {
                    bytes: (parameters * bits / 8.0) as u64,
                    cost: sensitivity * 4_f64.powf(-bits) * (1.0 + 0.3 * next()),
                })
                .to_vec()
        };
        (0..count).map(|_| unit()).collect()
    }

    fn sums(units: &[Vec<Cell>], taken: &[usize]) -> (u64, f64) {
        let cells = units.iter().zip(taken).map(|(cells, &of)| cells[of]);
        cells.fold((0, 0.0), |(bytes, cost), cell| (bytes + cell.bytes, cost + cell.cost))
    }

    /// The least cost by trying everything.
    fn least(units: &[Vec<Cell>], budget: u64) -> f64 {
        let Some((first, rest)) = units.split_first() else { return 0.0 };
        let fits = first.iter().filter(|cell| cell.bytes <= budget);
        fits.map(|cell| cell.cost + least(rest, budget - cell.bytes)).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn it_comes_close_to_the_best_of_all_allocations() {
        for seed in 0..40 {
            let units = units(seed, 6);
            let (smallest, most) = (sums(&units, &[0; 6]).0, sums(&units, &[5; 6]).0);
            let budget = smallest + (most - smallest) * (seed % 7 + 1) / 9;
            let (bytes, cost) = sums(&units, &allocated(&units, budget).expect("it fits"));
            let best = least(&units, budget);
            assert!(bytes <= budget && cost <= 1.001 * best, "seed {seed}: {cost} {best}");
        }
    }

    #[test]
    fn with_many_units_it_is_the_best_and_leaves_little() {
        for seed in 0..10 {
            let units = units(seed, 120);
            let budget: u64 = units.iter().map(|cells| cells[3].bytes).sum();
            let uniform = sums(&units, &vec![3; 120]).1;
            let (bytes, cost) = sums(&units, &allocated(&units, budget).expect("it fits"));
            assert!(bytes <= budget && bytes as f64 > 0.999 * budget as f64, "{bytes} {budget}");
            assert!(cost < uniform, "{cost} {uniform}");
        }
    }

    #[test]
    fn what_is_too_small_has_no_allocation() {
        let units = units(1, 3);
        let smallest = sums(&units, &[0; 3]).0;
        assert_eq!(allocated(&units, smallest - 1), None);
        assert_eq!(allocated(&units, smallest), Some(vec![0; 3]));
    }

    #[test]
    fn hulls_leave_out_what_is_above_them() {
        let cell = |bytes, cost| Cell { bytes, cost };
        let cells = [cell(40, 1.0), cell(10, 9.0), cell(20, 8.9), cell(30, 3.0), cell(35, 3.5)];
        assert_eq!(hull(&cells), [1, 3, 0]);
        assert_eq!(hull(&[cell(5, 1.0), cell(5, 0.5), cell(9, 0.7)]), [1]);
    }
}

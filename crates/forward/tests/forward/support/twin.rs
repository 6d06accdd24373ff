//! The slow twin: a program from the definitions of its operations, in f64, one sequence at a time,
//! with every score matrix whole.

use llmopt_arch::program::{Activation, Attention, Operation, Program, Rope, RopeScaling, Tap};
use std::collections::BTreeMap;

/// Rows of numbers.
pub(crate) type Rows = Vec<Vec<f64>>;

/// Values of taps, and the tensors of a model.
pub(crate) struct Twin<'a> {
    pub(crate) tensors: &'a BTreeMap<String, Vec<f32>>,
    pub(crate) taps: BTreeMap<Tap, Rows>,
    /// Rows that each gathered tap was picked from.
    picked: Vec<usize>,
}

impl<'a> Twin<'a> {
    pub(crate) fn new(tensors: &'a BTreeMap<String, Vec<f32>>, taps: BTreeMap<Tap, Rows>) -> Self {
        Self { tensors, taps, picked: Vec::new() }
    }

    /// Logits of every token of one sequence.
    pub(crate) fn logits(
        program: &Program,
        tensors: &BTreeMap<String, Vec<f32>>,
        tokens: &[u32],
    ) -> Rows {
        let table = &tensors[&program.embedding.tensor];
        let row = |token: &u32| {
            let row = &table[*token as usize * program.hidden..][..program.hidden];
            row.iter().map(|&x| f64::from(x) * f64::from(program.embedding.scale)).collect()
        };
        let hidden: Rows = tokens.iter().map(row).collect();
        let mut twin = Twin::new(tensors, BTreeMap::from([(Program::HIDDEN, hidden)]));
        let phases = program.blocks.iter().flat_map(|block| &block.phases);
        for phase in phases.chain([&program.head.norm]) {
            phase.operations.iter().for_each(|operation| twin.run(program, operation));
            twin.taps.retain(|tap, _| phase.carried.contains(tap));
        }
        let head = &program.head;
        let mut logits = multiply(&twin.taps[&Program::HIDDEN], &twin.tensor(&head.tensor));
        let bias = head.bias.as_ref().map(|name| twin.tensor(name));
        for row in &mut logits {
            for (column, logit) in row.iter_mut().enumerate() {
                *logit += bias.as_ref().map_or(0.0, |bias| bias[column]);
                *logit *= f64::from(head.scale);
                *logit = capped(*logit, head.cap);
            }
        }
        logits
    }

    fn tensor(&self, name: &str) -> Vec<f64> {
        self.tensors[name].iter().copied().map(f64::from).collect()
    }

    pub(crate) fn run(&mut self, program: &Program, operation: &Operation) {
        match operation {
            Operation::Norm { input, output, weight, epsilon, from_one, width } => {
                let gains = self.tensor(weight);
                let gain = |i: usize| gains[i % gains.len()] + f64::from(u8::from(*from_one));
                let normed = |row: &Vec<f64>| {
                    let mean = |run: usize| {
                        row[run * width..][..*width].iter().map(|x| x * x).sum::<f64>()
                            / *width as f64
                    };
                    let root = |i: usize| (mean(i / width) + f64::from(*epsilon)).sqrt();
                    row.iter().enumerate().map(|(i, x)| x / root(i) * gain(i)).collect()
                };
                let rows = self.taps[input].iter().map(normed).collect();
                self.taps.insert(*output, rows);
            }
            Operation::Linear(linear) => {
                let mut rows = multiply(&self.taps[&linear.input], &self.tensor(&linear.weight));
                if let Some(bias) = &linear.bias {
                    let bias = self.tensor(bias);
                    rows.iter_mut()
                        .for_each(|row| row.iter_mut().zip(&bias).for_each(|(y, b)| *y += b));
                }
                self.taps.insert(linear.output, rows);
            }
            Operation::Split { input, outputs } => {
                let rows = self.taps[input].clone();
                let mut from = 0;
                for &output in outputs {
                    let width = program.width(output);
                    let part = rows.iter().map(|row| row[from..from + width].to_vec()).collect();
                    self.taps.insert(output, part);
                    from += width;
                }
            }
            Operation::Rotate { taps, head_width, rope } => {
                for tap in taps {
                    let rows = self.taps.get_mut(tap).unwrap();
                    let length = rows.len();
                    for (position, row) in rows.iter_mut().enumerate() {
                        row.chunks_mut(*head_width)
                            .for_each(|head| turn(head, rope, position, length));
                    }
                }
            }
            Operation::Attend(a) => {
                let [q, k, v] = [&self.taps[&a.query], &self.taps[&a.key], &self.taps[&a.value]];
                let rows = (0..q.len()).map(|row| attended(a, row, q, k, v)).collect();
                self.taps.insert(a.output, rows);
            }
            Operation::Gate { gate, up, output, activation } => {
                let row = |(gate, up): (&Vec<f64>, &Vec<f64>)| {
                    gate.iter().zip(up).map(|(g, u)| activated(*activation, *g) * u).collect()
                };
                let rows = self.taps[gate].iter().zip(&self.taps[up]).map(row).collect();
                self.taps.insert(*output, rows);
            }
            Operation::Add { input, output, scale } => {
                let input = self.taps[input].clone();
                for (sums, row) in self.taps.get_mut(output).unwrap().iter_mut().zip(input) {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*scale) * x);
                }
            }
            Operation::Route { input, output, top, renormalize } => {
                let row = |logits: &Vec<f64>| routed(logits, *top, *renormalize);
                let rows = self.taps[input].iter().map(row).collect();
                self.taps.insert(*output, rows);
            }
            Operation::Gather { input, routes, expert, output } => {
                let routes = &self.taps[routes];
                self.picked = (0..routes.len()).filter(|&row| routes[row][*expert] > 0.0).collect();
                let rows = self.picked.iter().map(|&row| self.taps[input][row].clone()).collect();
                self.taps.insert(*output, rows);
            }
            Operation::Scatter { input, routes, expert, output } => {
                let (input, routes) = (self.taps[input].clone(), self.taps[routes].clone());
                let zeros = vec![vec![0.0; program.width(*output)]; routes.len()];
                let sums = self.taps.entry(*output).or_insert(zeros);
                for (row, values) in self.picked.iter().zip(input) {
                    let weight = routes[*row][*expert];
                    sums[*row].iter_mut().zip(values).for_each(|(sum, x)| *sum += weight * x);
                }
            }
        }
    }
}

fn multiply(input: &Rows, weight: &[f64]) -> Rows {
    let dot = |x: &[f64], w: &[f64]| x.iter().zip(w).map(|(x, w)| x * w).sum();
    let row = |x: &Vec<f64>| weight.chunks(x.len()).map(|w| dot(x, w)).collect();
    input.iter().map(row).collect()
}

/// Turns pairs of columns by the angle of their position, in a sequence of `length`.
fn turn(head: &mut [f64], rope: &Rope, position: usize, length: usize) {
    let half = rope.width / 2;
    for i in 0..half {
        let (frequency, factor) = frequency(rope, i, length);
        let (sine, cosine) = (position as f64 * frequency).sin_cos();
        let (x, y) = (head[i], head[i + half]);
        head[i] = factor * (x * cosine - y * sine);
        head[i + half] = factor * (x * sine + y * cosine);
    }
}

/// Only the scalings that the seeded checkpoints have; the others have tests of their own.
fn frequency(rope: &Rope, pair: usize, length: usize) -> (f64, f64) {
    let plain = rope.theta.powf(-((2 * pair) as f64) / rope.width as f64);
    match &rope.scaling {
        RopeScaling::None => (plain, 1.0),
        RopeScaling::Linear { factor } => (plain / factor, 1.0),
        RopeScaling::Long { short, long, original, attention_factor } => {
            let factors = if length > *original { long } else { short };
            (plain / factors[pair], *attention_factor)
        }
        RopeScaling::Llama3 { factor, low, high, original } => {
            let wavelength = 2.0 * std::f64::consts::PI / plain;
            let turns = *original as f64 / wavelength;
            let stays = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (plain * (stays + (1.0 - stays) / factor), 1.0)
        }
        RopeScaling::Yarn {
            factor,
            original,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        } => {
            assert!(truncate);
            // The column that turns so many times over the original length.
            let column = |turns: f64| {
                let wavelength = *original as f64 / turns;
                let exponent = (wavelength / (2.0 * std::f64::consts::PI)).ln() / rope.theta.ln();
                exponent * rope.width as f64 / 2.0
            };
            let low = column(*beta_fast).floor().max(0.0);
            let high = column(*beta_slow).ceil().min((rope.width - 1) as f64);
            let divided = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            (plain * (1.0 - divided + divided / factor), *attention_factor)
        }
        other => panic!("the twin does not know {other:?}"),
    }
}

/// One row of the output, from all scores of that row.
pub(crate) fn attended(a: &Attention, row: usize, q: &Rows, k: &Rows, v: &Rows) -> Vec<f64> {
    let width = a.head_width;
    let head = |values: &[f64], head: usize| values[head * width..][..width].to_vec();
    let mut output = Vec::new();
    for h in 0..a.heads {
        let shared = h * a.key_value_heads / a.heads;
        let query = head(&q[row], h);
        let sees = |key: usize| key <= row && a.window.is_none_or(|window| row - key < window);
        let score = |key: usize| {
            let dot: f64 = query.iter().zip(head(&k[key], shared)).map(|(x, y)| x * y).sum();
            capped(dot * f64::from(a.scale), a.cap)
        };
        let seen: Vec<usize> = (0..k.len()).filter(|&key| sees(key)).collect();
        let scores: Vec<f64> = seen.iter().map(|&key| score(key)).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut sums = vec![0.0; width];
        for (weight, &key) in weights.iter().zip(&seen) {
            let value = head(&v[key], shared);
            sums.iter_mut().zip(value).for_each(|(sum, x)| *sum += weight / total * x);
        }
        output.extend(sums);
    }
    output
}

fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

fn capped(x: f64, cap: Option<f32>) -> f64 {
    cap.map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh())
}

fn routed(logits: &[f64], top: usize, renormalize: bool) -> Vec<f64> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    let exponentials: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
    let of = if renormalize { &order[..top] } else { &order[..] };
    let total: f64 = of.iter().map(|&expert| exponentials[expert]).sum();
    let mut weights = vec![0.0; logits.len()];
    order[..top].iter().for_each(|&expert| weights[expert] = exponentials[expert] / total);
    weights
}

//! FLAP (2312.11983): inputs that hardly vary are replaced by their mean.

/// The means and variances of the inputs of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Fluctuation {
    means: Vec<f64>,
    variances: Vec<f64>,
}

impl Fluctuation {
    /// From sums over tokens, by column: of inputs, and of their squares.
    ///
    /// # Panics
    /// If there is no token, or the sums differ in length.
    pub fn new(tokens: u64, sums: &[f64], squares: &[f64]) -> Self {
        assert!(tokens > 0 && sums.len() == squares.len());
        let tokens = tokens as f64;
        let means: Vec<f64> = sums.iter().map(|sum| sum / tokens).collect();
        let pairs = squares.iter().zip(sums.iter().zip(&means));
        let variance = |(square, (sum, mean)): (&f64, (&f64, &f64))| {
            (square - sum * mean).max(0.0) / (tokens - 1.0).max(1.0)
        };
        let variances = pairs.map(variance).collect();
        Self { means, variances }
    }

    /// The score of each unit of `width` neighbouring columns (2312.11983, the fluctuation metric): the
    /// variance of an input times the squared norm of its column of `weights`, `[rows, columns]`; less
    /// their mean and divided by their standard deviation within the matrix, so that scores of
    /// matrices compare; a unit's score is the mean of its columns'. Allocates two numbers for each
    /// column.
    ///
    /// # Panics
    /// If columns are not whole units, or weights not whole rows.
    pub fn scores(&self, weights: &[f32], width: usize) -> Vec<f64> {
        assert!(width > 0 && self.means.len().is_multiple_of(width), "whole units");
        assert!(weights.len().is_multiple_of(self.means.len().max(1)), "whole rows");
        let mut scores = vec![0.0; self.means.len()];
        for row in weights.chunks_exact(self.means.len().max(1)) {
            let pairs = scores.iter_mut().zip(row);
            pairs.for_each(|(score, &weight)| *score += f64::from(weight).powi(2));
        }
        scores.iter_mut().zip(&self.variances).for_each(|(score, variance)| *score *= variance);
        standardize(&mut scores);
        scores.chunks_exact(width).map(|unit| unit.iter().sum::<f64>() / width as f64).collect()
    }

    /// What makes up for the removed columns where the others stay as they are: their mean's outputs,
    /// by row (2312.11983, the baseline bias).
    ///
    /// # Panics
    /// If a column is beyond the matrix, or weights are not whole rows.
    pub fn bias(&self, weights: &[f32], removed: &[usize]) -> Vec<f32> {
        assert!(weights.len().is_multiple_of(self.means.len().max(1)), "whole rows");
        let given = |row: &[f32]| {
            let terms = removed.iter().map(|&column| f64::from(row[column]) * self.means[column]);
            terms.sum::<f64>() as f32
        };
        weights.chunks_exact(self.means.len().max(1)).map(given).collect()
    }
}

/// Less the mean, over the standard deviation. Scores that are all the same become zeros.
fn standardize(scores: &mut [f64]) {
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    scores.iter_mut().for_each(|score| *score -= mean);
    let variance = scores.iter().map(|score| score * score).sum::<f64>() / (count - 1.0).max(1.0);
    let deviation = variance.sqrt();
    if deviation > 0.0 {
        scores.iter_mut().for_each(|score| *score /= deviation);
    }
}

//! Rewriting the matrices of a site with what its inputs showed.

use crate::band::Band;
use crate::calibration::choice::{Chosen, Failed, Matrix};
use crate::calibration::observe::Observed;
use crate::calibration::sweep::Sweep;
use crate::resume::{Entry, Record};
use llmopt_arch::program::Block;
use llmopt_calib::{InputSite, Observation};
use llmopt_run::Error;
use llmopt_scheme::Granularity;
use rayon::prelude::*;

impl Sweep<'_> {
    /// Quantizes the matrices of a site, and writes them.
    pub(super) fn rewrite(
        &self,
        block: &Block,
        site: &InputSite,
        observed: Observed,
    ) -> Result<(), Error> {
        let matrices: Vec<Matrix> =
            site.tensors.iter().map(|tensor| self.matrix(tensor)).collect::<Result<_, _>>()?;
        let why = self.fallback(site, &observed.fitted);
        if let (Some(why), true) = (&why, self.plan.recipe.strict) {
            let tensor = &site.tensors[0];
            return Err(Error::Refused(format!(
                "tensor `{tensor}`: {why}, and `--strict` forbids it"
            )));
        }
        let chosen = match &why {
            Some(why) => self.calibration.without_moments(&matrices, &observed.fitted, why),
            None => self.calibration.chosen(&matrices, observed),
        };
        let chosen = chosen.map_err(|failed| self.explained(&matrices, failed))?;
        for (matrix, chosen) in matrices.iter().zip(chosen) {
            self.write(matrix, chosen)?;
            let (entry, _) = self.place(self.locations[&matrix.tensor]);
            self.events.advanced(entry.meta.bytes(), &matrix.tensor);
        }
        self.meter.did(self.calibration.calibrating().rewriting(site, block));
        Ok(())
    }

    fn matrix(&self, tensor: &str) -> Result<Matrix, Error> {
        let (_, place) = self.place(self.locations[tensor]);
        let weights = self.variant().rows(tensor, 0..place.rows, place.columns)?;
        Ok(Matrix {
            tensor: tensor.to_owned(),
            weights,
            rows: place.rows,
            columns: place.columns,
            scheme: place.scheme().expect("calibration reaches tensors with a scheme"),
            scale_dtype: place.scale_dtype,
        })
    }

    /// Why a site's moments cannot be used, if so.
    fn fallback(&self, site: &InputSite, seen: &Observation) -> Option<String> {
        let tokens = seen.tokens();
        let (_, place) = self.place(self.locations[&site.tensors[0]]);
        let group = match place.scheme()?.granularity {
            Granularity::Group(size) => size,
            Granularity::Channel => site.extent.columns,
            Granularity::Block { columns, .. } => columns,
        };
        let needed = 4 * group as u64;
        if let Some(expert) = site.expert.filter(|_| tokens < needed) {
            return Some(format!("expert {expert} saw {tokens} tokens of {needed} needed"));
        }
        let silent = seen.squares().iter().all(|&sum| sum == 0.0);
        silent.then(|| format!("its inputs were zero on all {tokens} tokens"))
    }

    fn write(&self, matrix: &Matrix, chosen: Chosen) -> Result<(), Error> {
        let location = self.locations[&matrix.tensor];
        let (entry, place) = self.place(location);
        let shard = &self.plan.source.shards()[location.shard];
        self.tell(Entry::Tensor(matrix.tensor.clone(), chosen.facts.clone()))?;
        self.records.add_tensor(matrix.tensor.clone(), chosen.facts);
        (0..place.bands()).into_par_iter().try_for_each(|number| {
            let rows = place.band(number);
            let band = Band { plan: self.plan, shard, entry, place, rows: rows.clone() };
            let weights = &matrix.weights[rows.start * place.columns..rows.end * place.columns];
            let stored = band.coded(&chosen.codes.band(rows), &matrix.scheme, weights)?;
            let prints = band.write(&stored, &self.files[location.shard])?;
            let record = Record {
                number: location.first_band + number,
                shard: location.shard,
                place: location.place,
                error: stored.error,
                prints,
            };
            self.records.add(&record);
            self.tell(Entry::Band(record))
        })
    }

    /// Has the journal keep an entry.
    fn tell(&self, entry: Entry) -> Result<(), Error> {
        // The journal's thread outlives the sweep; without it there would be no resuming.
        self.finished.send(entry).map_err(|_| Error::Interrupted)
    }

    fn explained(&self, matrices: &[Matrix], failed: Failed) -> Error {
        match failed {
            Failed::Matrix(number, error) => {
                let location = self.locations[&matrices[number].tensor];
                let (entry, place) = self.place(location);
                let shard = &self.plan.source.shards()[location.shard];
                Band { plan: self.plan, shard, entry, place, rows: 0..place.rows }.explained(error)
            }
            Failed::Moments(error) => Error::Input {
                what: format!("tensor `{}`: {error}", matrices[0].tensor),
                hint: Some("`--method search` needs no factor".to_owned()),
            },
        }
    }
}

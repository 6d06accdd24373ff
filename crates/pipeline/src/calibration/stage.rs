//! Quantization with inputs as a stage: each site is observed behind what is rewritten already, or in
//! the block as it was found, and its matrices are rewritten with what that showed.

use crate::calibration::choice::{Chosen, Failed, Matrix};
use crate::calibration::observe::{Observed, SiteGroup};
use crate::calibration::plan::{Basis, Calibration};
use crate::calibration::statistics::saved::Saved;
use crate::plan::Plan;
use crate::quantize_band::QuantizedBand;
use llmopt_arch::program::{Block, Phase};
use llmopt_calib::{InputSite, Observation, segments};
use llmopt_codec::for_scheme;
use llmopt_forward::Weights;
use llmopt_model::{Overlay, Variant};
use llmopt_rewrite::{Boundary, Context, Group, Part, Stage, Step, Treatment};
use llmopt_run::{Cancel, Error, Events, Fault};
use llmopt_scheme::{Activations, Granularity};
use llmopt_sweep::{Batches, Meter};
use llmopt_tensor::decode;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The stage under way.
pub(crate) struct CalibratedStage<'a> {
    pub(super) plan: &'a Plan,
    pub(super) calibration: &'a Calibration,
    pub(super) boundary: &'a Boundary<'a>,
    pub(super) context: Context<'a>,
    events: &'a dyn Events,
    /// Every site with the number of its block, in the order of the program.
    sites: Vec<(usize, InputSite)>,
    /// How many of them are still to be rewritten.
    open: AtomicUsize,
}

impl<'a> CalibratedStage<'a> {
    /// The stage over these batches. Nothing happens yet.
    ///
    /// # Errors
    /// If the sites of a block cannot be found.
    pub(crate) fn new(
        (plan, calibration): (&'a Plan, &'a Calibration),
        boundary: &'a Boundary<'a>,
        batches: &'a Batches,
        (events, cancel): (&'a dyn Events, &'a Cancel),
    ) -> Result<Self, Error> {
        let mut sites = Vec::new();
        for (number, block) in calibration.variant.program().blocks.iter().enumerate() {
            sites.extend(calibration.sites(block)?.into_iter().map(|site| (number, site)));
        }
        let memory = &calibration.memory;
        let context = Context {
            batches,
            engine: &calibration.engine,
            cancel,
            meter: Meter::new(events, calibration.blocks_work(batches)?.into_iter().sum()),
            spill: memory.spills.then_some(calibration.scratch.as_path()),
            width: memory.width,
        };
        let open = AtomicUsize::new(0);
        let stage = Self { plan, calibration, boundary, context, events, sites, open };
        let open = stage.sites.iter().filter(|(_, site)| stage.is_open(site)).count();
        stage.open.store(open, Ordering::Relaxed);
        Ok(stage)
    }

    /// Bytes of the matrices that it rewrites.
    pub(crate) fn bytes(&self) -> u64 {
        let tensors = self.boundary.locations().keys();
        tensors.map(|tensor| self.boundary.planned(tensor).named.meta.bytes()).sum()
    }

    /// Rewrites what is open with the sums that files have, if it is files that have them.
    ///
    /// # Errors
    /// If a file cannot be read, or a fallback is forbidden.
    pub(crate) fn rewrite_with_saved(&self) -> Result<(), Error> {
        let Basis::Saved(saved) = &self.calibration.basis else { return Ok(()) };
        let sites = 0..self.sites.len();
        let mut open = sites.filter(|&number| self.is_open(&self.sites[number].1));
        open.try_for_each(|number| self.rewrite_with(saved, number))
    }

    fn rewrite_with(&self, saved: &Saved, number: usize) -> Result<(), Error> {
        if self.context.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let fitted = saved.observation(&self.sites[number].1, self.calibration.needs())?;
        self.rewrite(number, Observed { fitted, held_out: None })
    }

    /// Tells what of the blocks is done, and where this attempt goes on.
    pub(crate) fn pass_over(&self) {
        let first = self.sites.iter().find(|(_, site)| self.is_open(site));
        let Some((first, _)) = first.filter(|_| self.boundary.records.knows_any()) else { return };
        let counting = self.calibration.calibrating();
        for (number, site) in self.sites.iter().filter(|(_, site)| !self.is_open(site)) {
            let work = counting.site(site, self.block(*number), self.context.batches);
            self.context.meter.passed_over(work);
        }
        let blocks = self.found().program().blocks.len();
        self.events.resuming(&format!("layer {} of {blocks}", first + 1));
    }

    fn block(&self, number: usize) -> &'a Block {
        let variant: &'a Variant = self.plan.variant_of(self.calibration);
        &variant.program().blocks[number]
    }

    pub(super) fn site(&self, number: usize) -> &InputSite {
        &self.sites[number].1
    }

    /// Whether a site is still to be rewritten. One that is done in part is done again: a method is chosen
    /// for all of its tensors.
    fn is_open(&self, site: &InputSite) -> bool {
        !site.tensors.iter().all(|tensor| self.is_written(tensor))
    }

    /// Whether a tensor is written whole, by this attempt or an earlier one.
    fn is_written(&self, tensor: &str) -> bool {
        self.boundary.records.knows(tensor) && self.boundary.is_written(tensor)
    }

    /// Quantizes the matrices of a site, and writes them.
    pub(super) fn rewrite(&self, number: usize, observed: Observed) -> Result<(), Error> {
        let (block, site) = (self.block(self.sites[number].0), self.site(number));
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
            self.write(matrix, &chosen)?;
            let bytes = self.boundary.planned(&matrix.tensor).named.meta.bytes();
            self.events.advanced(bytes, &matrix.tensor);
        }
        self.context.meter.did(self.calibration.calibrating().rewriting(site, block));
        self.open.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    fn matrix(&self, tensor: &str) -> Result<Matrix, Error> {
        let planned = self.boundary.planned(tensor).tensor;
        let (rows, columns) = (planned.rows, planned.columns);
        Ok(Matrix {
            tensor: tensor.to_owned(),
            weights: self.found().rows(tensor, 0..rows, columns)?,
            rows,
            columns,
            scheme: planned.scheme().expect("calibration reaches tensors with a scheme"),
            scale_dtype: planned.scale_dtype,
        })
    }

    /// Why a site's moments cannot be used, if so.
    fn fallback(&self, site: &InputSite, seen: &Observation) -> Option<String> {
        let tokens = seen.tokens();
        let group = match self.boundary.planned(&site.tensors[0]).tensor.scheme()?.granularity {
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

    fn write(&self, matrix: &Matrix, chosen: &Chosen) -> Result<(), Error> {
        let (tensor, columns) = (self.boundary.planned(&matrix.tensor).tensor, matrix.columns);
        self.boundary.add_facts(&matrix.tensor, &chosen.facts)?;
        (0..tensor.bands()).into_par_iter().try_for_each(|number| {
            let rows = tensor.band(number);
            let band = &self.boundary.band(&matrix.tensor, rows.clone());
            let weights = &matrix.weights[rows.start * columns..rows.end * columns];
            let quantized = QuantizedBand { plan: self.plan, band };
            let stored = quantized.coded(&chosen.codes.band(rows), &matrix.scheme, weights)?;
            self.boundary.write_band(&matrix.tensor, number, &stored)
        })
    }

    fn explained(&self, matrices: &[Matrix], failed: Failed) -> Error {
        match failed {
            Failed::Matrix(number, error) => {
                let Matrix { tensor, rows, .. } = &matrices[number];
                let band = &self.boundary.band(tensor, 0..*rows);
                QuantizedBand { plan: self.plan, band }.explained(error)
            }
            Failed::Moments(error) => Error::Input {
                what: format!("tensor `{}`: {error}", matrices[0].tensor),
                hint: Some("`--method search` needs no factor".to_owned()),
            },
        }
    }
}

impl Stage for CalibratedStage<'_> {
    fn context(&self) -> &Context<'_> {
        &self.context
    }

    fn found(&self) -> &Variant {
        self.plan.variant_of(self.calibration)
    }

    fn written(&self) -> &Variant {
        self.found()
    }

    fn written_weights(&self, phase: &Phase) -> Result<Weights, Error> {
        self.found().weights_under(self, phase, self.calibration.engine.gemm())
    }

    fn compares(&self) -> bool {
        self.calibration.needs().cross
    }

    fn is_done(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    fn steps(&self, block: usize, phase: usize) -> Result<Vec<Step>, Error> {
        let first = self.sites.partition_point(|(number, _)| *number < block);
        let sites: Vec<InputSite> = self.sites[first..]
            .iter()
            .take_while(|(number, _)| *number == block)
            .map(|(_, site)| site.clone())
            .collect();
        let is_open = |number: &usize| self.is_open(&self.sites[*number].1);
        // Every site sees the block as it was found, and what comes behind the block sees it rewritten.
        let whole = !self.calibration.sequential;
        let as_found = whole && sites.iter().any(|site| self.is_open(site));
        let here = |number| if whole { phase == 0 } else { number == phase };
        let cut = segments(self.block(block), &sites).into_iter();
        let parts = cut.filter(|segment| here(segment.number)).map(|segment| Part {
            found: vec![segment.phase.clone()],
            written: segment.phase,
            group: segment.site.map(|site| first + site).filter(is_open),
        });
        Ok(vec![Step { as_found, parts: parts.collect() }])
    }

    fn group(&self, number: usize) -> Box<dyn Group + '_> {
        Box::new(SiteGroup::new(self, number))
    }
}

/// Weights of the artifact that is being written. What goes on through the model is what a loader will
/// decode, and a run that goes on after a break finds it in the same place.
impl Overlay for CalibratedStage<'_> {
    fn activations(&self, weight: &str) -> Option<Activations> {
        // What is not rewritten yet is still as it was found.
        let is_known = self.boundary.locations().contains_key(weight);
        if !is_known || !self.is_written(weight) {
            return None;
        }
        self.boundary.planned(weight).tensor.scheme().map(|scheme| scheme.activations)
    }

    fn read(&self, weight: &str, rows: Range<usize>, weights: &mut Vec<f32>) -> Result<(), Error> {
        let tensor = self.boundary.planned(weight).tensor;
        let parts = self.boundary.read(weight, &rows)?;
        let unsound = |message: String| {
            let subject = weight.to_owned();
            Error::Unsound(vec![Fault { code: "read-back", subject, message }])
        };
        weights.resize(rows.len() * tensor.columns, 0.0);
        match &tensor.treatment {
            Treatment::Quantize(scheme) => {
                let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                let (dtype, columns) = (tensor.scale_dtype, tensor.columns);
                let codec = for_scheme(scheme);
                let matrix = codec.decode(scheme, dtype, rows.len(), columns, &slices);
                matrix.map_err(|error| unsound(error.to_string()))?.dequantize_into(weights);
            }
            _ => {
                let bytes = parts.first().map_or(&[][..], Vec::as_slice);
                decode(tensor.dense_dtype, bytes, weights)
                    .map_err(|error| unsound(error.to_string()))?;
            }
        }
        Ok(())
    }
}

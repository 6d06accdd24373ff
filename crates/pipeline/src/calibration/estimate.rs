//! What observing, rewriting and passing a block takes.

use crate::calibration::plan::{Basis, Calibration, sites};
use crate::method::Method;
use llmopt_arch::program::{Block, Operation, Phase};
use llmopt_calib::{InputSite, Watch, watches};
use llmopt_data::Own;
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_sweep::count::{phase, share_of_expert, weights};
use llmopt_sweep::{Batches, Kind, Work};

/// What decides how much a calibrated sweep computes.
pub(super) struct Calibrating<'a> {
    pub(super) variant: &'a Variant,
    pub(super) methods: &'a [Method],
    /// Whether the original's stream is carried, too.
    pub(super) cross: bool,
    /// Whether a Gram matrix is summed up.
    pub(super) gram: bool,
    /// Whether methods are judged on windows held out.
    pub(super) judges: bool,
}

impl Calibrating<'_> {
    /// Running a block as far as its sites, pass after pass, and summing up what they show.
    pub(super) fn observing(
        &self,
        block: &Block,
        passes: &[Vec<InputSite>],
        batches: &Batches,
    ) -> Work {
        let pass = |sites: &Vec<InputSite>| -> Work {
            let watched = watches(block, sites);
            watched.iter().map(|watch| self.watching(watch, sites, batches)).sum()
        };
        passes.iter().map(pass).sum()
    }

    fn watching(&self, watch: &Watch, sites: &[InputSite], batches: &Batches) -> Work {
        let on = |batch: usize| {
            let seen =
                watch.sites.iter().map(|&site| self.adding(&sites[site], batches.rows_of(batch)));
            self.running(&watch.phase, batches, batch) + seen.sum()
        };
        self.fetching(&watch.phase) + (0..batches.len()).map(on).sum()
    }

    /// The weights of a phase, for all streams.
    pub(super) fn fetching(&self, phase: &Phase) -> Work {
        weights(phase) * self.streams()
    }

    /// A phase of all streams on one batch.
    pub(super) fn running(&self, of: &Phase, batches: &Batches, batch: usize) -> Work {
        phase(self.variant.program(), of, &batches.shape_of(batch)) * self.streams()
    }

    /// Adding tokens to the sums of a site.
    pub(super) fn adding(&self, site: &InputSite, tokens: usize) -> Work {
        let tokens = tokens as f64 * self.share(site);
        let columns = site.extent.columns as f64;
        let gram = if self.gram { columns * columns / 2.0 } else { columns };
        let beside = columns + site.extent.residual.unwrap_or(0) as f64;
        let cross = if self.cross && site.expert.is_none() { beside * columns } else { 0.0 };
        Work::of(Kind::Sums, tokens * (gram + cross))
    }

    /// Choosing the codes of a site's matrices, by every method.
    pub(super) fn rewriting(&self, site: &InputSite, block: &Block) -> Work {
        let linears = block.phases[site.phase].operations.iter().filter_map(Operation::linear);
        let rows = linears.filter(|linear| site.tensors.contains(&linear.weight));
        let rows: usize = rows.map(|linear| linear.rows).sum();
        let (rows, columns) = (rows as f64, site.extent.columns as f64);
        self.methods.iter().map(|method| self.by(*method, rows, columns)).sum()
    }

    fn by(&self, method: Method, rows: f64, columns: f64) -> Work {
        let weights = rows * columns;
        let Some(settings) = method.settings() else {
            return Work::of(Kind::Searched, weights);
        };
        let judged = if self.judges { 2.0 } else { 1.0 };
        let solved = |products: f64| Work::of(Kind::Feedback, products * weights * columns);
        // A column hears of half of the others on average; the error of outputs asks for all of them.
        let mut work = Work::of(Kind::Factors, columns.powi(3) / 3.0)
            + Work::of(Kind::Rounded, weights)
            + solved(0.5 + judged);
        if settings.needs_cross() {
            work += solved(2.0);
        }
        if let Some(descent) = settings.descent {
            work += solved(descent.rounds as f64)
                + Work::of(Kind::Rounded, weights * descent.rounds as f64);
        }
        work
    }

    /// Taking the streams through the block as it was rewritten.
    pub(super) fn passing(&self, block: &Block, batches: &Batches) -> Work {
        let whole = |phase| {
            let on = |batch| self.running(phase, batches, batch);
            self.fetching(phase) + (0..batches.len()).map(on).sum()
        };
        block.phases.iter().map(whole).sum()
    }

    fn streams(&self) -> f64 {
        if self.cross { 2.0 } else { 1.0 }
    }

    fn share(&self, site: &InputSite) -> f64 {
        match site.expert {
            Some(_) => share_of_expert(self.variant.program()),
            None => 1.0,
        }
    }
}

/// What a block takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockWork {
    /// Observing it.
    pub(crate) observing: Work,
    /// Rewriting its matrices.
    pub(crate) rewriting: Work,
    /// Taking the streams to the next one, if there is one.
    pub(crate) passing: Work,
}

impl BlockWork {
    pub(crate) fn all(self) -> Work {
        self.observing + self.rewriting + self.passing
    }
}

impl Calibration {
    /// What every block takes, as long as nothing of it is done.
    ///
    /// # Errors
    /// If the sites of a block cannot be found.
    pub(crate) fn blocks_work(&self, batches: &Batches) -> Result<Vec<BlockWork>, Error> {
        let counting = self.calibrating();
        let blocks = &self.variant.program().blocks;
        let mut works = Vec::with_capacity(blocks.len());
        for (number, block) in blocks.iter().enumerate() {
            let sites = sites(block, |tensor| self.reaches(tensor))?;
            let rewriting = sites.iter().map(|site| counting.rewriting(site, block)).sum();
            let (observing, passing) = match batches.len() {
                0 => (Work::default(), Work::default()),
                _ => (
                    counting.observing(block, &self.in_passes(sites), batches),
                    counting.passing(block, batches),
                ),
            };
            let last = number + 1 == blocks.len();
            let passing = if last { Work::default() } else { passing };
            works.push(BlockWork { observing, rewriting, passing });
        }
        Ok(works)
    }

    /// What decides how much a sweep computes.
    pub(super) fn calibrating(&self) -> Calibrating<'_> {
        let needs = self.needs();
        Calibrating {
            variant: &self.variant,
            methods: &self.methods,
            cross: needs.cross,
            gram: needs.gram,
            judges: self.judges(),
        }
    }

    /// Methods among which each site's is chosen.
    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The windows that are drawn from the model itself, and how many there are in all.
    pub(crate) fn own(&self) -> Option<(&Own, usize)> {
        match &self.basis {
            Basis::Data(set) => Some((set.own()?, set.windows())),
            Basis::Saved(_) => None,
        }
    }
}

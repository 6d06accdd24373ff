//! What running, observing and rewriting a block takes.

use crate::calibration::cut::CutBlock;
use crate::calibration::plan::{Basis, Calibration};
use crate::method::Method;
use llmopt_arch::program::{Block, Operation, Phase};
use llmopt_calib::InputSite;
use llmopt_data::SelfGenerated;
use llmopt_model::Variant;
use llmopt_quant::{Correction, Settings};
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
    /// Whether sites are observed behind what is rewritten already, and not the block as it was found.
    pub(super) sequential: bool,
}

impl Calibrating<'_> {
    /// Taking the streams through a block, observing all of its sites and rewriting them.
    fn block(&self, cut: &CutBlock<'_>, is_last: bool, batches: &Batches) -> Work {
        let sites: Work = cut.sites.iter().map(|site| self.site(site, cut.block, batches)).sum();
        let phases = || cut.segments.iter().map(|segment| &segment.phase);
        let fetched: Work = phases().map(weights).sum();
        let run: Work = phases().map(|phase| self.run(phase, batches)).sum();
        let streams = if self.cross { 2.0 } else { 1.0 };
        if self.sequential || cut.sites.is_empty() {
            return sites + (fetched + run) * streams;
        }
        // All streams through the block as it was found, then one as it was written.
        let again = if is_last { 0.0 } else { 1.0 };
        sites + fetched * (1.0 + again) + run * (streams + again)
    }

    /// Running a phase on every batch, its weights at hand.
    fn run(&self, of: &Phase, batches: &Batches) -> Work {
        let on = |batch| phase(self.variant.program(), of, &batches.shape_of(batch));
        (0..batches.len()).map(on).sum()
    }

    /// Observing a site, and rewriting its matrices.
    pub(super) fn site(&self, site: &InputSite, block: &Block, batches: &Batches) -> Work {
        let adding = (0..batches.len()).map(|batch| self.adding(site, batches.rows_of(batch)));
        adding.sum::<Work>() + self.rewriting(site, block)
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
        let weights = rows * columns;
        let settings: Vec<Settings> =
            self.methods.iter().filter_map(|method| method.settings()).collect();
        if settings.is_empty() {
            return Work::of(Kind::Searched, weights);
        }
        let solved = |products: f64| Work::of(Kind::Feedback, products * weights * columns);
        let rounded = |times: f64| Work::of(Kind::Rounded, times * weights);
        // A column hears of half of the others on average, and so it does in the square of an output.
        let mut work = Work::of(Kind::Factors, columns.powi(3) / 3.0) + solved(0.5);
        let mut before = None;
        for Settings { correction, descent, .. } in settings {
            let corrects = correction != Correction::None;
            // What differs in descent alone goes on from the same rounding.
            if before.replace(correction) != Some(correction) {
                work += rounded(1.0) + solved(if corrects { 2.5 } else { 0.5 });
            }
            let rounds = descent.map_or(0.0, |descent| descent.rounds as f64);
            work += rounded(rounds) + solved(rounds);
            if self.judges {
                work += solved(if corrects { 1.0 } else { 0.5 });
            }
        }
        // The outputs on windows held out, and what their change adds to them.
        let changed = if self.cross { 1.5 } else { 0.5 };
        if self.judges { work + solved(changed) } else { work }
    }

    fn share(&self, site: &InputSite) -> f64 {
        match site.expert {
            Some(_) => share_of_expert(self.variant.program()),
            None => 1.0,
        }
    }
}

impl Calibration {
    /// What every block takes, as long as nothing of it is done. Behind the last site nothing is run.
    ///
    /// # Errors
    /// If the sites of a block cannot be found.
    pub(crate) fn blocks_work(&self, batches: &Batches) -> Result<Vec<Work>, Error> {
        let counting = self.calibrating();
        let blocks = &self.variant.program().blocks;
        let sites = blocks.iter().map(|block| self.sites(block)).collect::<Result<Vec<_>, _>>()?;
        let last = sites.iter().rposition(|sites| !sites.is_empty());
        let mut works = Vec::with_capacity(blocks.len());
        for (number, (block, sites)) in blocks.iter().zip(sites).enumerate() {
            let is_last = Some(number) == last;
            let cut = CutBlock::new(block, sites);
            let cut = if is_last { cut.up_to_last_site() } else { cut };
            works.push(match batches.len() {
                // Files have the sums.
                0 => cut.sites.iter().map(|site| counting.rewriting(site, block)).sum(),
                _ if last.is_none_or(|last| number > last) => Work::default(),
                _ => counting.block(&cut, is_last, batches),
            });
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
            sequential: self.sequential,
        }
    }

    /// Methods among which each site's is chosen.
    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The windows that are drawn from the model itself, and how many there are in all.
    pub(crate) fn self_generated(&self) -> Option<(&SelfGenerated, usize)> {
        match &self.basis {
            Basis::Data(set) => Some((set.self_generated()?, set.windows())),
            Basis::Saved(_) => None,
        }
    }
}

//! Taking the streams through a segment of a block, and observing the site at its end meanwhile.

use crate::calibration::cut::CutBlock;
use crate::calibration::streams::Streams;
use crate::calibration::sweep::Sweep;
use llmopt_arch::program::Phase;
use llmopt_calib::{Before, InputSite, Observation, Segment};
use llmopt_forward::{Matrix, Taps, Weights};
use llmopt_run::Error;
use llmopt_sweep::count;

/// What the inputs of a site were.
pub(super) struct Observed {
    /// On the windows that codes are fitted to.
    pub(super) fitted: Observation,
    /// On those that judge.
    pub(super) held_out: Option<Observation>,
}

impl Sweep<'_> {
    /// Takes every batch of the streams through a segment. Where it ends in a site that is open, the
    /// site's inputs are added up as they come, and its matrices rewritten before anything reads them.
    /// The rewritten stream goes through weights `as_found`, or as far as they are rewritten.
    pub(super) fn pass_segment(
        &self,
        cut: &CutBlock<'_>,
        segment: &Segment,
        as_found: bool,
        streams: &mut Streams,
    ) -> Result<(), Error> {
        let site = cut.site_of(segment).filter(|site| self.is_open(site));
        let mut seen = site.map(|site| (site, self.nothing_of(site)));
        let phase = &segment.phase;
        let weights = Weighed::fetch(self, phase, as_found, streams.original.is_some())?;
        let Streams { rewritten, original } = streams;
        for batch in 0..self.batches().len() {
            let runner = self.runner();
            let taps = rewritten.through(runner, phase, &weights.rewritten, batch)?;
            let before = match original {
                Some(stream) => Some(stream.through(runner, phase, weights.original(), batch)?),
                None => None,
            };
            if let Some((site, observed)) = &mut seen {
                self.add(observed, site, batch, &taps, before.as_ref());
            }
            rewritten.store.put(batch, taps)?;
            if let (Some(stream), Some(before)) = (original.as_mut(), before) {
                stream.store.put(batch, before)?;
            }
        }
        drop(weights);
        self.calibration.engine.release();
        if let Some((site, observed)) = seen {
            self.rewrite(cut.block, site, observed)?;
            // What solvers worked in must not lie beside the next segment's weights.
            self.calibration.engine.release();
        }
        Ok(())
    }

    /// Adds what the inputs of a site are in a batch, and what they were in the original's stream.
    fn add(
        &self,
        observed: &mut Observed,
        site: &InputSite,
        batch: usize,
        taps: &Taps,
        before: Option<&Taps>,
    ) {
        let sums = match &mut observed.held_out {
            _ if !self.batches().is_held_out(batch) => &mut observed.fitted,
            Some(sums) => sums,
            None => return,
        };
        let gemm = self.calibration.engine.gemm();
        // Different tokens go to an expert in the two streams.
        match before.filter(|_| site.expert.is_none()) {
            Some(before) => {
                // What outputs are added to is what the hidden state still is.
                let residual = before.hidden().zip(taps.hidden());
                let before = Before { inputs: inputs(site, before), residual };
                sums.add_beside(gemm, before, inputs(site, taps));
            }
            None => sums.add(gemm, inputs(site, taps)),
        }
        let tokens = self.batches().rows_of(batch);
        self.meter.did(self.calibration.calibrating().adding(site, tokens));
    }

    fn nothing_of(&self, site: &InputSite) -> Observed {
        let needs = self.calibration.needs_of(site);
        Observed {
            fitted: Observation::new(site.extent, needs),
            held_out: self.calibration.held_out.then(|| Observation::new(site.extent, needs)),
        }
    }
}

fn inputs<'t>(site: &InputSite, taps: &'t Taps) -> &'t Matrix {
    taps.get(site.tap).expect("a segment carries the inputs of the site at its end")
}

/// The weights of a phase in both streams.
struct Weighed {
    rewritten: Weights,
    /// The original's, where they are others.
    original: Option<Weights>,
}

impl Weighed {
    fn fetch(
        sweep: &Sweep<'_>,
        phase: &Phase,
        as_found: bool,
        compares: bool,
    ) -> Result<Self, Error> {
        let gemm = sweep.calibration.engine.gemm();
        let found = || {
            sweep.meter.did(count::weights(phase));
            sweep.variant().weights(phase, gemm)
        };
        if as_found {
            return Ok(Self { rewritten: found()?, original: None });
        }
        sweep.meter.did(count::weights(phase));
        let rewritten = sweep.variant().weights_under(&sweep.written(), phase, gemm)?;
        Ok(Self { rewritten, original: compares.then(found).transpose()? })
    }

    fn original(&self) -> &Weights {
        self.original.as_ref().unwrap_or(&self.rewritten)
    }
}

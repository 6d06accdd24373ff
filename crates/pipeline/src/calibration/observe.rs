//! Observing a block as it was found.

use crate::calibration::streams::Streams;
use crate::calibration::sweep::Sweep;
use llmopt_arch::program::{Block, Phase};
use llmopt_calib::{Before, InputSite, Needs, Observation, Watch, watches};
use llmopt_forward::{Matrix, Weights};
use llmopt_run::Error;

/// What the inputs of a site were.
pub(super) struct Observed {
    /// On the windows that codes are fitted to.
    pub(super) fitted: Observation,
    /// On those that judge.
    pub(super) held_out: Option<Observation>,
}

impl Sweep<'_> {
    /// What the sites of a block see: with the block as it was found or, in a sequential run, as it is
    /// rewritten so far.
    pub(super) fn observed(
        &self,
        block: &Block,
        sites: &[InputSite],
        streams: &Streams,
    ) -> Result<Vec<Observed>, Error> {
        let mut observed: Vec<Observed> = sites.iter().map(|site| self.nothing_of(site)).collect();
        let mut own = self.copied(&streams.own)?;
        let mut original = streams.original.as_ref().map(|store| self.copied(store)).transpose()?;
        for watch in watches(block, sites) {
            let Watch { phase, taps, sites: numbers } = &watch;
            let weights = Weighed::new(self, phase, original.is_some())?;
            let counting = self.calibration.calibrating();
            self.meter.did(counting.fetching(phase));
            for batch in 0..self.batches().len() {
                let runner = self.runner();
                // What outputs are added to is the hidden state with which their phase begins.
                let hidden = original.as_ref().map(|original| -> Result<_, Error> {
                    Ok((original.hidden(batch)?.into_owned(), own.hidden(batch)?.into_owned()))
                });
                let hidden = hidden.transpose()?;
                let seen = runner.observe(phase, &weights.own, &mut own, batch, taps)?;
                let before = match &mut original {
                    Some(store) => runner.observe(phase, weights.original(), store, batch, taps)?,
                    None => Vec::new(),
                };
                for (number, (&site, seen)) in numbers.iter().zip(&seen).enumerate() {
                    let before = before.get(number).map(|inputs| Before {
                        inputs,
                        residual: hidden.as_ref().map(|(before, now)| (before, now)),
                    });
                    self.add(&mut observed[site], &sites[site], batch, seen, before);
                    let tokens = self.batches().rows_of(batch);
                    self.meter.did(counting.adding(&sites[site], tokens));
                }
            }
            self.calibration.engine.release();
        }
        Ok(observed)
    }

    fn add(
        &self,
        observed: &mut Observed,
        site: &InputSite,
        batch: usize,
        seen: &Matrix,
        before: Option<Before<'_>>,
    ) {
        let gemm = self.calibration.engine.gemm();
        let held_out = self.batches().is_held_out(batch);
        let sums = match &mut observed.held_out {
            _ if !held_out => &mut observed.fitted,
            Some(sums) => sums,
            None => return,
        };
        // Different tokens go to an expert in the two streams.
        match before.filter(|_| site.expert.is_none()) {
            Some(before) => sums.add_beside(gemm, before, seen),
            None => sums.add(gemm, seen),
        }
    }

    fn nothing_of(&self, site: &InputSite) -> Observed {
        let needs = self.calibration.needs_of(site);
        Observed {
            fitted: Observation::new(site.extent, needs),
            held_out: self.calibration.held_out.then(|| Observation::new(site.extent, needs)),
        }
    }
}

/// The weights of a phase in both streams.
struct Weighed {
    own: Weights,
    /// The original's, where they are others.
    original: Option<Weights>,
}

impl Weighed {
    fn new(sweep: &Sweep<'_>, phase: &Phase, compares: bool) -> Result<Self, Error> {
        let gemm = sweep.calibration.engine.gemm();
        let original = || sweep.variant().weights(phase, gemm);
        if !sweep.calibration.sequential {
            return Ok(Self { own: original()?, original: None });
        }
        let own = sweep.variant().weights_under(&sweep.written(), phase, gemm)?;
        Ok(Self { own, original: compares.then(original).transpose()? })
    }

    fn original(&self) -> &Weights {
        self.original.as_ref().unwrap_or(&self.own)
    }
}

/// What is kept of a site when its method asks for `needs`.
pub(super) fn needs_of(site: &InputSite, needs: Needs) -> Needs {
    Needs { cross: needs.cross && site.expert.is_none(), ..needs }
}

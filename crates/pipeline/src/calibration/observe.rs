//! A site that is observed: what its inputs are, and what they were in the model before.

use crate::calibration::stage::CalibratedStage;
use llmopt_calib::{Before, InputSite, Observation};
use llmopt_forward::{Matrix, Taps};
use llmopt_rewrite::{Group, Seen, Streams};
use llmopt_run::Error;

/// What the inputs of a site were.
pub(super) struct Observed {
    /// On the windows that codes are fitted to.
    pub(super) fitted: Observation,
    /// On those that judge.
    pub(super) held_out: Option<Observation>,
}

/// The matrices of a site.
pub(super) struct SiteGroup<'s> {
    stage: &'s CalibratedStage<'s>,
    number: usize,
    observed: Observed,
}

impl<'s> SiteGroup<'s> {
    /// Nothing seen yet.
    pub(super) fn new(stage: &'s CalibratedStage<'s>, number: usize) -> Self {
        let (site, calibration) = (stage.site(number), stage.calibration);
        let needs = calibration.needs_of(site);
        let nothing = || Observation::new(site.extent, needs);
        let observed = Observed { fitted: nothing(), held_out: calibration.held_out.then(nothing) };
        Self { stage, number, observed }
    }
}

impl Group for SiteGroup<'_> {
    fn add(&mut self, seen: Seen<'_>) -> Result<(), Error> {
        let (stage, site) = (self.stage, self.stage.site(self.number));
        let batches = stage.context.batches;
        let sums = match &mut self.observed.held_out {
            _ if !batches.is_held_out(seen.batch) => &mut self.observed.fitted,
            Some(sums) => sums,
            None => return Ok(()),
        };
        let gemm = stage.calibration.engine.gemm();
        // Different tokens go to an expert in the two streams.
        match seen.before.filter(|_| site.expert.is_none()) {
            Some(before) => {
                let before = before.get(seen.batch)?;
                // What outputs are added to is what the hidden state still is.
                let residual = before.hidden().zip(seen.taps.hidden());
                let before = Before { inputs: inputs(site, &before), residual };
                sums.add_beside(gemm, before, inputs(site, seen.taps));
            }
            None => sums.add(gemm, inputs(site, seen.taps)),
        }
        let tokens = batches.rows_of(seen.batch);
        stage.context.meter.did(stage.calibration.calibrating().adding(site, tokens));
        Ok(())
    }

    fn rewrite(self: Box<Self>, _: Streams<'_>) -> Result<(), Error> {
        self.stage.rewrite(self.number, self.observed)
    }
}

fn inputs<'t>(site: &InputSite, taps: &'t Taps) -> &'t Matrix {
    taps.get(site.tap).expect("a part carries the inputs of the site at its end")
}

//! What finding scales takes.

use crate::calibration::observing::adding;
use crate::calibration::plan::Calibration;
use crate::calibration::smoothing::plan::PlannedSmoothing;
use llmopt_arch::program::{Block, Phase};
use llmopt_arch::smoothing::SmoothingPair;
use llmopt_calib::InputSite;
use llmopt_data::{held_out, in_batches};
use llmopt_sweep::count::{phase, weights};
use llmopt_sweep::{Batches, Kind, Work};

impl PlannedSmoothing {
    /// The whole sweep on windows, of which those that judge are left out.
    pub(crate) fn work(&self, calibration: &Calibration, windows: &[Vec<u32>]) -> Work {
        self.work_on(calibration, &calibration.fitted_batches(windows.to_vec()))
    }

    pub(super) fn work_on(&self, calibration: &Calibration, batches: &Batches) -> Work {
        let program = calibration.variant.program();
        let mut work = Work::default();
        for (number, block) in program.blocks.iter().enumerate().take(self.reached()) {
            let sites = self.sites(number, block);
            for (of, shown) in phases(block, &sites) {
                work += weights(of);
                for batch in 0..batches.len() {
                    work += phase(program, of, &batches.shape_of(batch));
                    let adding =
                        |&site: &usize| adding(program, &sites[site], batches.rows_of(batch));
                    work += shown.iter().map(adding).sum();
                }
            }
            work += self.blocks[number].iter().map(|pair| looking(calibration, pair)).sum();
        }
        work
    }

    /// How many blocks are read: as far as the last that has pairs.
    pub(super) fn reached(&self) -> usize {
        self.blocks.iter().rposition(|pairs| !pairs.is_empty()).map_or(0, |last| last + 1)
    }
}

impl Calibration {
    /// The windows that do not judge, in batches.
    pub(super) fn fitted_batches(&self, mut windows: Vec<Vec<u32>>) -> Batches {
        if self.held_out {
            windows.truncate(windows.len() - held_out(windows.len()));
        }
        in_batches(windows, false)
    }
}

/// The phases of a block, each with the numbers of the sites that it shows.
fn phases<'b>(block: &'b Block, sites: &[InputSite]) -> Vec<(&'b Phase, Vec<usize>)> {
    let shown = |number: usize| -> Vec<usize> {
        let here = sites.iter().enumerate().filter(|(_, site)| site.phase == number);
        here.map(|(site, _)| site).collect()
    };
    block.phases.iter().enumerate().map(|(number, phase)| (phase, shown(number))).collect()
}

/// Reading the matrices that read some channels.
pub(super) fn looking(calibration: &Calibration, pair: &SmoothingPair) -> Work {
    let source = calibration.variant.source();
    let elements = |reader: &String| source.meta(reader).map_or(0, |meta| meta.elements());
    Work::of(Kind::Decoded, pair.readers.iter().map(elements).sum::<u64>() as f64)
}

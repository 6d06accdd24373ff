//! A block as a calibrated sweep goes through it: cut at its sites.

use llmopt_arch::program::Block;
use llmopt_calib::{InputSite, Segment, segments};

/// A block's program in segments, each of which may end where a site's inputs are whole.
pub(super) struct CutBlock<'b> {
    pub(super) block: &'b Block,
    /// In the order of the program.
    pub(super) sites: Vec<InputSite>,
    pub(super) segments: Vec<Segment>,
}

impl<'b> CutBlock<'b> {
    /// Cut at these sites of the block.
    pub(super) fn new(block: &'b Block, sites: Vec<InputSite>) -> Self {
        Self { block, segments: segments(block, &sites), sites }
    }

    /// As far as the last site.
    pub(super) fn up_to_last_site(mut self) -> Self {
        let shows = |segment: &Segment| segment.site.is_some();
        let length = self.segments.iter().rposition(shows).map_or(0, |last| last + 1);
        self.segments.truncate(length);
        self
    }

    /// The site whose inputs are whole when a segment ends.
    pub(super) fn site_of(&self, segment: &Segment) -> Option<&InputSite> {
        segment.site.map(|site| &self.sites[site])
    }
}

//! Which sums are kept of a site.

use llmopt_calib::{InputSite, Needs};

/// What is kept of a site when its method asks for `needs`.
pub(super) fn needs_of(site: &InputSite, needs: Needs) -> Needs {
    Needs { cross: needs.cross && site.expert.is_none(), ..needs }
}

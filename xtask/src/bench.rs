//! Soon.
use crate::options::Options;
use anyhow::Result;
pub(crate) fn run(options: Options) -> Result<()> {
    options.done()
}

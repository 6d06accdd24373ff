//! Room on a disk.

use crate::error::Error;
use serde::Serialize;
use std::path::Path;

/// Room on the disk that the output goes to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Disk {
    /// Bytes that will be written there.
    pub needed: u64,
    /// Bytes that are free; none if the system does not tell.
    pub free: Option<u64>,
}

/// Refuses a folder without room for hidden states.
///
/// # Errors
/// A refusal, if the system tells that there is less room than needed.
pub fn check_room(room: &Disk, scratch: &Path) -> Result<(), Error> {
    let Disk { needed, free } = *room;
    match free.filter(|&free| free < needed) {
        None => Ok(()),
        Some(free) => Err(Error::RefusedWithHint {
            what: format!(
                "hidden states take {needed} bytes in `{}`, and there are {free} free",
                scratch.display()
            ),
            hint: "`--scratch` takes another folder; more `--memory` or fewer `--samples` need \
                   less"
                .to_owned(),
        }),
    }
}

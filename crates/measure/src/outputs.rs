//! On which windows the outputs of an artifact's matrices were compared.

use serde::Serialize;

/// Windows on which outputs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgedOn {
    /// Those that nothing was fitted to.
    HeldOut,
    /// Those that codes were fitted to, where none was held out: the error elsewhere is greater.
    Calibration,
}

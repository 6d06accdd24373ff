//! What computes products, and what inputs become.

use llmopt_linalg::{Gemm, InputCodes, KernelChoice, Precision};
use llmopt_model::Variant;
use llmopt_run::Error;

/// The product asked for.
///
/// # Errors
/// If this machine lacks the kernel, or it does not compute in `precision`.
pub(crate) fn gemm(
    precision: Precision,
    kernel: KernelChoice,
    code_inputs: InputCodes,
) -> Result<Gemm, Error> {
    let gemm = Gemm::new(precision, kernel).map_err(|error| Error::Refused(error.to_string()))?;
    Ok(gemm.with_code_inputs(code_inputs))
}

/// Refuses inputs of eight bits where no model has codes that would meet them.
pub(crate) fn check_code_inputs(gemm: Gemm, variants: &[&Variant]) -> Result<(), Error> {
    let asked = gemm.code_inputs() == InputCodes::Int8;
    if !asked || variants.iter().any(|variant| variant.has_free_code_inputs()) {
        return Ok(());
    }
    Err(Error::RefusedWithHint {
        what: "`--activations int8` does nothing here: no weight is integer codes whose inputs are free"
            .to_owned(),
        hint: "it is for artifacts that quantize weights alone, such as w8a16 and w4a16".to_owned(),
    })
}

/// As reports name inputs that are not what the artifact promises.
pub(crate) fn told(gemm: Gemm) -> Option<&'static str> {
    (gemm.code_inputs() == InputCodes::Int8).then_some("int8")
}

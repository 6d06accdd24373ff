//! On-disk layouts of quantized matrices, the configuration that announces them, and the rules of
//! the runtimes that load them.
//!
//! A codec turns codes and scales into named byte parts and back. This crate never opens a file,
//! never asks how codes were chosen, and knows a layer only by the name it is matched with.

#![forbid(unsafe_code)]

mod arguments;
mod bits;
mod codec;
mod config;
mod float;
mod int;
mod lint;
mod matching;
mod packed;
mod rules;
mod runtime;
mod scales;
mod stacked;
#[cfg(test)]
mod testing;
mod unknown;

pub use codec::{Codec, DecodeError, FormatRow, Part, PartRow, Span, Unsupported};
pub use config::{ConfigError, ConfigGroup, QuantizationConfig};
pub use lint::{Fault, lint};
pub use matching::{FusedConflict, NamePattern, PatternError, any_matches};
pub use packed::stored_shape;
pub use rules::{
    Facts, Fused, Refusal, check, check_dense, check_embedding, check_scheme, runtimes_for,
};
pub use runtime::{Runtime, UnknownRuntime};
pub use stacked::check_stacked;
pub use unknown::stops_at_unknown;

use float::FloatQuantized;
use int::IntQuantized;
use llmopt_scheme::{Activations, Numeric, Scheme};
use packed::PackQuantized;

/// Every codec there is.
const CODECS: [&dyn Codec; 3] = [&PackQuantized, &IntQuantized, &FloatQuantized];

/// The codec that `scheme` is written with. Whether it can express all of it is for
/// [`Codec::layout`] to say.
pub fn for_scheme(scheme: &Scheme) -> &'static dyn Codec {
    match (scheme.weights, scheme.activations) {
        // vLLM takes int8 weights without quantized activations only as pack-quantized.
        (Numeric::Int { .. }, Activations::None) => &PackQuantized,
        (Numeric::Int { .. }, _) => &IntQuantized,
        (Numeric::E4m3, _) => &FloatQuantized,
    }
}

/// The codec of a format, by the name that a `quantization_config` calls it.
pub fn for_format(format: &str) -> Option<&'static dyn Codec> {
    CODECS.into_iter().find(|codec| codec.format() == format)
}

/// Every layout as text, for the reference documentation.
pub fn formats() -> Vec<FormatRow> {
    CODECS.iter().map(|codec| codec.describe()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_a_codec_that_can_lay_it_out() {
        let check = |name, format| {
            let scheme = Scheme::preset(name).expect("a preset");
            let codec = for_scheme(&scheme);
            assert_eq!(codec.format(), format);
            assert_eq!(for_format(format).map(Codec::format), Some(format));
            let parts = codec.layout(&scheme, llmopt_tensor::Dtype::BF16, 384, 256);
            let described: Vec<_> = codec.describe().parts.iter().map(|part| part.name).collect();
            for part in parts.expect("supported") {
                assert!(described.contains(&part.suffix), "{} is not described", part.suffix);
            }
        };
        check("w8a16", "pack-quantized");
        check("w4a16", "pack-quantized");
        check("w3a16", "pack-quantized");
        check("w2a16", "pack-quantized");
        check("w8a8", "int-quantized");
        check("fp8", "float-quantized");
        check("fp8-block", "float-quantized");
        assert!(for_format("marlin-24").is_none());
    }
}

//! What a reader should know of a model before it is quantized.

use crate::Plan;
use llmopt_model::notes::{dequantized, of_model, tensors};
use llmopt_tensor::Dtype;

impl Plan {
    /// Of what is quantized, as far as it is not told when that is done.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = of_model(&self.source, &self.model);
        notes.extend(dequantized(&self.model));
        notes
    }

    /// All that is to be known before.
    pub fn all_notes(&self) -> Vec<String> {
        let rounded = self
            .places()
            .filter(|(entry, place)| place.scheme().is_some() && entry.meta.dtype() == Dtype::F64);
        let doubles = rounded.count();
        let mut notes = self.notes();
        notes.extend((doubles > 0).then(|| {
            format!("F64 weights of {} to be quantized are rounded to F32", tensors(doubles))
        }));
        notes
    }
}

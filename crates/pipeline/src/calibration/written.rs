//! The block as it was rewritten: weights read back from where they were written.
//!
//! What goes on through the model is what a loader will decode, and a run that goes on after a break
//! finds it in the same place.

use crate::calibration::sweep::Sweep;
use crate::place::{Action, Place};
use llmopt_checkpoint::HeaderEntry;
use llmopt_codec::for_scheme;
use llmopt_model::Overlay;
use llmopt_run::Error;
use llmopt_scheme::Activations;
use llmopt_tensor::decode;
use std::ops::Range;

/// Weights of the artifact that is being written.
pub(super) struct Written<'a>(&'a Sweep<'a>);

impl Sweep<'_> {
    pub(super) fn written(&self) -> Written<'_> {
        Written(self)
    }
}

impl Overlay for Written<'_> {
    fn activations(&self, weight: &str) -> Option<Activations> {
        // What is not rewritten yet is still as it was found.
        let location = self.0.locations.get(weight).filter(|_| self.0.is_done(weight))?;
        self.0.place(*location).1.scheme().map(|scheme| scheme.activations)
    }

    fn read(&self, weight: &str, rows: Range<usize>, weights: &mut Vec<f32>) -> Result<(), Error> {
        let location = self.0.locations[weight];
        let (entry, place) = self.0.place(location);
        let parts = self.parts(location.shard, entry, place, &rows)?;
        let unsound = |message: String| {
            let subject = weight.to_owned();
            Error::Unsound(vec![llmopt_run::Fault { code: "read-back", subject, message }])
        };
        weights.resize(rows.len() * place.columns, 0.0);
        match &place.action {
            Action::Quantize(scheme) => {
                let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                let (dtype, columns) = (place.scale_dtype, place.columns);
                let codec = for_scheme(scheme);
                let matrix = codec.decode(scheme, dtype, rows.len(), columns, &slices);
                matrix.map_err(|error| unsound(error.to_string()))?.dequantize_into(weights);
            }
            _ => {
                let bytes = parts.first().map_or(&[][..], Vec::as_slice);
                decode(place.dense_dtype, bytes, weights)
                    .map_err(|error| unsound(error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl Written<'_> {
    fn parts(
        &self,
        shard: usize,
        entry: &HeaderEntry,
        place: &Place,
        rows: &Range<usize>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let file = &self.0.files[shard];
        let read = |placed: crate::place::PlacedPart| {
            let range = placed.part.range(rows.clone(), place.rows);
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_at(placed.begin + range.start, &mut bytes)?;
            Ok(bytes)
        };
        place.placed(entry).map(read).collect()
    }
}

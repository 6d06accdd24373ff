//! Kernels for weights that stay codes. All of them give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vnni;

use crate::choice::KernelChoice;
use crate::codes::CodeKernel;

/// The kernel that goes with a choice for dense weights: the fastest of no wider instructions.
pub(crate) fn of(choice: KernelChoice) -> &'static dyn CodeKernel {
    #[cfg(target_arch = "x86_64")]
    {
        let vnni = || vnni::find();
        let found = match choice {
            KernelChoice::Portable => None,
            KernelChoice::Avx2 => avx2::find(),
            _ => vnni().or_else(avx2::find),
        };
        if let Some(found) = found {
            return found;
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = choice;
    &portable::Portable
}

/// Every kernel that this machine has.
#[cfg(test)]
pub(crate) fn all() -> Vec<&'static dyn CodeKernel> {
    let portable: &'static dyn CodeKernel = &portable::Portable;
    #[cfg(target_arch = "x86_64")]
    let found = [avx2::find(), vnni::find()].into_iter().flatten();
    #[cfg(not(target_arch = "x86_64"))]
    let found = std::iter::empty();
    std::iter::once(portable).chain(found).collect()
}

/// A kernel once it has shown on this machine that it gives the portable one's bits.
#[cfg(target_arch = "x86_64")]
fn checked(kernel: impl CodeKernel + 'static) -> Option<&'static dyn CodeKernel> {
    use crate::codes::{CodeFormat, CodedInputs, InputCodes, Panel, STRIP, fill};
    let columns = 160;
    let mixed = |i: usize| (i * 2_654_435_761) >> 7;
    let inputs: Vec<f32> = (0..3 * columns).map(|i| (mixed(i) % 509) as f32 - 254.0).collect();
    for (bits, group) in [(8, columns), (8, 32), (4, 32), (2, 16)] {
        let format = CodeFormat::new(bits, group, columns, group < columns)?;
        let groups = format.groups(columns);
        let codes: Vec<i8> =
            (0..16 * columns).map(|i| (mixed(i + 7) as i8) >> (8 - bits)).collect();
        let scales: Vec<f32> = (0..16 * groups).map(|i| 0.5 + i as f32 / 64.0).collect();
        let zero_points: Vec<i8> = (0..16 * groups).map(|i| (i % 3) as i8 - 1).collect();
        let mut lines = vec![[0; 16]; format.lines(columns)];
        fill(format, columns, (&codes, &scales, &zero_points), &mut lines);
        let panel = Panel { format, columns, lines: &lines };
        for to in [InputCodes::Int16, InputCodes::Int8] {
            let inputs = CodedInputs::new(&inputs, columns, format, to);
            for strip in inputs.strips() {
                let (mut found, mut expected) = ([[0.0; 16]; STRIP], [[0.0; 16]; STRIP]);
                kernel.tile(strip, panel, &mut found);
                portable::Portable.tile(strip, panel, &mut expected);
                if found != expected {
                    return None;
                }
            }
        }
    }
    Some(Box::leak(Box::new(kernel)))
}

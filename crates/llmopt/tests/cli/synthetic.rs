//! Safetensors files made by hand, right ones and wrong ones.

use crate::dir::Dir;
use serde_json::Value;

/// A tensor of a file to be made: name, dtype, shape, bytes.
pub(crate) type Tensor<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

/// A file with any header, and any data behind it.
pub(crate) fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// A right file.
pub(crate) fn safetensors(tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut entries = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let (begin, end) = (data.len(), data.len() + bytes.len());
        data.extend_from_slice(bytes);
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
        ));
    }
    file(&format!("{{{}}}", entries.join(",")), &data)
}

/// `count` BF16 weights between 2^-9 and 2^-2 in size, always the same for a seed.
pub(crate) fn bf16(count: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut weight = || {
        let bits = random.next();
        let exponent = 118 + (bits >> 8) % 7;
        ((bits & 0x8000) | exponent << 7 | (bits & 0x7f)) as u16
    };
    (0..count).flat_map(|_| weight().to_le_bytes()).collect()
}

/// Writes a file without a config: a norm, and so many square matrices of BF16.
pub(crate) fn bare(dir: &Dir, name: &str, matrices: usize, side: usize) {
    let names: Vec<String> =
        (0..matrices).map(|layer| format!("model.layers.{layer}.mlp.up_proj.weight")).collect();
    let shape = [side, side];
    let mut tensors: Vec<Tensor<'_>> =
        vec![("model.norm.weight", "BF16", &shape[..1], bf16(side, 1))];
    for (seed, name) in (2..).zip(&names) {
        tensors.push((name, "BF16", &shape, bf16(side * side, seed)));
    }
    dir.write(name, &safetensors(&tensors));
}

/// A file of token ids.
pub(crate) fn ids(ids: impl Iterator<Item = i64>) -> Vec<u8> {
    let bytes: Vec<u8> = ids.flat_map(i64::to_le_bytes).collect();
    safetensors(&[("input_ids", "I64", &[bytes.len() / 8], bytes)])
}

/// Rewrites the BF16 tensors of a file whose names end in `ending`, each as rows of numbers.
pub(crate) fn edit(dir: &Dir, name: &str, ending: &str, change: impl Fn(&mut [Vec<f32>])) {
    let mut file = dir.read(name);
    let data = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..data]).unwrap();
    let tensors = header.as_object().unwrap().iter().filter(|(name, _)| name.ends_with(ending));
    let mut found = 0;
    for (_, tensor) in tensors {
        let offset = |end: usize| data + tensor["data_offsets"][end].as_u64().unwrap() as usize;
        let bytes = &mut file[offset(0)..offset(1)];
        let columns = match tensor["shape"].as_array().unwrap().as_slice() {
            [_, columns] => columns.as_u64().unwrap() as usize,
            _ => 1,
        };
        let number = |bytes: &[u8]| f32::from_bits(u32::from_le_bytes([0, 0, bytes[0], bytes[1]]));
        let mut rows: Vec<Vec<f32>> = bytes
            .chunks(2 * columns)
            .map(|row| row.chunks_exact(2).map(number).collect())
            .collect();
        change(&mut rows);
        let changed =
            rows.iter().flatten().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes());
        bytes.iter_mut().zip(changed).for_each(|(byte, changed)| *byte = changed);
        found += 1;
    }
    assert!(found > 0, "no tensor of {name} ends in {ending}");
    dir.write(name, &file);
}

/// Numbers without pattern: a multiplicative generator modulo 2^64, of which the upper half is used.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }
}

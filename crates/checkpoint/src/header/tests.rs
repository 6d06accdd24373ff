//! The header against arithmetic by hand, the reference writer's bytes and the reference reader.

use super::*;
use crate::fixtures::raw_shard;
use proptest::prelude::*;
use safetensors::SafeTensors;

/// What of a tensor matters: name, meta, begin.
type Row<'a> = (&'a str, &'a str, u64);

fn check(json: &str, data: u64, expected: Result<&[Row<'_>], &str>) {
    let found = Header::parse(json.as_bytes(), data);
    let found = found.map_err(|error| error.to_string()).map(|header| {
        let row = |entry: &HeaderEntry| (entry.name.clone(), entry.meta.to_string(), entry.begin);
        header.tensors().iter().map(row).collect::<Vec<_>>()
    });
    let expected = expected.map_err(str::to_owned).map(|rows| {
        rows.iter().map(|&(name, meta, begin)| (name.to_owned(), meta.to_owned(), begin)).collect()
    });
    assert_eq!(found, expected, "{json}");
}

/// One tensor's entry.
fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn header(entries: &[String]) -> String {
    format!("{{{}}}", entries.join(","))
}

#[test]
fn tensors_come_in_the_order_of_their_data() {
    let json = header(&[
        entry("b", "BF16", "[1]", 8, 10),
        entry("a", "I32", "[1,2]", 0, 8),
        entry("empty", "F32", "[3,0]", 8, 8),
        entry("scalar", "F4", "[2]", 10, 11),
    ]);
    let rows = [
        ("a", "I32 [1, 2]", 0),
        ("empty", "F32 [3, 0]", 8),
        ("b", "BF16 [1]", 8),
        ("scalar", "F4 [2]", 10),
    ];
    check(&json, 11, Ok(&rows));
    // Padding and an odd length are both legal.
    check(&format!("{json}     "), 11, Ok(&rows));
    check("{}", 0, Ok(&[]));
    check(&header(&[entry("x", "F64", "[]", 0, 8)]), 8, Ok(&[("x", "F64 []", 0)]));
    check(r#"{"__metadata__":null}"#, 0, Ok(&[]));
    let metadata = Header::parse(br#"{"__metadata__":{"format":"pt"}}"#, 0).unwrap();
    assert_eq!(metadata.metadata(), &BTreeMap::from([("format".into(), "pt".into())]));
}

#[test]
fn every_other_header_is_refused_by_name() {
    let a = || entry("a", "U8", "[4]", 0, 4);
    let one = |entry: String| header(&[entry]);
    let cases = [
        (String::new(), 0, "the header does not begin with `{`"),
        (" {}".into(), 0, "the header does not begin with `{`"),
        (
            "{\"a\"".into(),
            0,
            "the header is not what safetensors allows: tensor `a`: EOF while parsing an object at line 1 column 4",
        ),
        (
            "{} x".into(),
            0,
            "the header is not what safetensors allows: trailing characters at line 1 column 4",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[4]}}"#.into(),
            4,
            "the header is not what safetensors allows: tensor `a`: missing field `data_offsets` at line 1 column 31",
        ),
        (
            one(entry("a", "U8", "[-4]", 0, 4)),
            4,
            "the header is not what safetensors allows: tensor `a`: invalid value: integer `-4`, expected usize at line 1 column 30",
        ),
        (
            one(entry("a", "U8", &format!("[{}1]", "1,".repeat(64)), 0, 1)),
            1,
            "the header is not what safetensors allows: tensor `a`: more than 64 axes at line 1 column 158",
        ),
        (header(&[a(), entry("b", "U8", "[1]", 4, 5), a()]), 5, "tensor `a` is there twice"),
        (
            r#"{"__metadata__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.into(),
            1,
            "a tensor is named `__metadata__`, which the format keeps for itself",
        ),
        (
            r#"{"__metadata__":{"format":"pt","n":7}}"#.into(),
            0,
            "`__metadata__` maps `n` to something that is no string",
        ),
        (
            r#"{"__metadata__":{"n":[{"a":1.5}]}}"#.into(),
            0,
            "`__metadata__` maps `n` to something that is no string",
        ),
        (
            r#"{"__metadata__":{"n":-1.5e99}}"#.into(),
            0,
            "`__metadata__` maps `n` to something that is no string",
        ),
        (
            r#"{"__metadata__":{"n":"1","n":"2"}}"#.into(),
            0,
            "the header is not what safetensors allows: `n` occurs twice in `__metadata__` at line 1 column 33",
        ),
        (
            r#"{"__metadata__":{},"__metadata__":{}}"#.into(),
            0,
            "the header is not what safetensors allows: `__metadata__` occurs twice at line 1 column 33",
        ),
        (one(entry("a", "I4", "[4]", 0, 2)), 2, "tensor `a` has the unknown dtype `I4`"),
        (
            one(entry("a", "U8", "[4294967296,4294967296,0]", 0, 0)),
            0,
            "tensor `a` has U8 [4294967296, 4294967296, 0], which is no tensor: the shape's product overflows",
        ),
        (
            one(entry("a", "F4", "[3]", 0, 2)),
            2,
            "tensor `a` has F4 [3], which is no tensor: its 3 elements of 4 bits end inside a byte",
        ),
        (
            one(entry("a", "F32", "[2,3]", 0, 20)),
            20,
            "tensor `a` is F32 [2, 3], which takes 24 bytes, but its offsets span 20",
        ),
        (
            one(entry("a", "U8", "[4]", 4, 0)),
            4,
            "tensor `a` begins at byte 4 of the data and ends before it, at 0",
        ),
        (
            header(&[a(), entry("b", "U8", "[2]", 3, 5)]),
            5,
            "tensor `b` begins at byte 3 of the data, inside `a`, which ends at 4",
        ),
        (
            header(&[a(), entry("b", "U8", "[4]", 0, 4)]),
            4,
            "tensor `b` begins at byte 0 of the data, inside `a`, which ends at 4",
        ),
        (
            header(&[a(), entry("b", "U8", "[0]", 2, 2)]),
            4,
            "tensor `b` begins at byte 2 of the data, inside `a`, which ends at 4",
        ),
        (
            header(&[a(), entry("b", "U8", "[1]", 6, 7)]),
            7,
            "tensor `b` begins at byte 6 of the data, but what comes before it ends at 4",
        ),
        (
            one(entry("a", "U8", "[1]", 1, 2)),
            2,
            "tensor `a` begins at byte 1 of the data, but what comes before it ends at 0",
        ),
        (one(a()), 3, "tensor `a` ends at byte 4 of the data, but the file has only 3"),
        (
            one(entry("a", "U8", "[18446744073709551615]", 0, u64::MAX)),
            3,
            "tensor `a` has U8 [18446744073709551615], which is no tensor: the shape's product overflows",
        ),
        (one(a()), 9, "the last 5 bytes of the file belong to no tensor"),
        (
            one(entry(r"a\u001b[2J", "?", "[]", 0, 0)),
            0,
            r"tensor `a\u{1b}[2J` has the unknown dtype `?`",
        ),
    ];
    for (json, data, expected) in cases {
        check(&json, data, Err(expected));
    }
    assert_eq!(Header::parse(b"{\"\xff", 0), Err(HeaderError::NotUtf8 { at: 2 }));
}

/// The vector that the reference writer made (docs/formats.md).
#[test]
fn encoding_gives_the_reference_writers_bytes() {
    let meta = |dtype, shape: &[usize]| TensorMeta::new(dtype, shape).unwrap();
    let mut tensors =
        [("b".to_owned(), meta(Dtype::BF16, &[1])), ("a".to_owned(), meta(Dtype::I32, &[1, 2]))];
    Header::reference_order(&mut tensors);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let (mut file, begins) = Header::encode(&metadata, &tensors).unwrap();
    assert_eq!(begins, [0, 8]);
    file.extend([1i32, -2].iter().flat_map(|value| value.to_le_bytes()));
    file.extend([0x80, 0x3f]);
    let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "90000000000000007b225f5f6d657461646174615f5f223a7b22666f726d6174223a227074227d2c2261223a\
         7b226474797065223a22493332222c227368617065223a5b312c325d2c22646174615f6f666673657473223a\
         5b302c385d7d2c2262223a7b226474797065223a2242463136222c227368617065223a5b315d2c2264617461\
         5f6f666673657473223a5b382c31305d7d7d202001000000feffffff803f"
    );
}

#[test]
fn names_that_make_a_file_unreadable_are_not_written() {
    let byte = TensorMeta::new(Dtype::U8, [1]).unwrap();
    let huge = TensorMeta::new(Dtype::U8, [1 << 60]).unwrap();
    let check = |tensors: &[(&str, &TensorMeta)], expected| {
        let tensors: Vec<_> =
            tensors.iter().map(|&(name, meta)| (name.to_owned(), meta.clone())).collect();
        assert_eq!(Header::encode(&BTreeMap::new(), &tensors), Err(expected));
    };
    check(&[("a", &byte), ("__metadata__", &byte)], HeaderError::Reserved);
    check(&[("a", &byte), ("b", &byte), ("a", &byte)], HeaderError::Twice { tensor: "a".into() });
    let names: Vec<String> = (0..17).map(|name| name.to_string()).collect();
    let seventeen: Vec<_> = names.iter().map(|name| (name.as_str(), &huge)).collect();
    check(&seventeen, HeaderError::Total);
    let long = "x".repeat(100_000_000);
    check(&[(long.as_str(), &byte)], HeaderError::TooLong { length: 100_000_056 });
}

fn tensors() -> impl Strategy<Value = BTreeMap<String, TensorMeta>> {
    let dtype = prop::sample::select(Dtype::ALL.to_vec());
    let meta = (dtype, prop::collection::vec(0usize..5, 0..4))
        .prop_filter_map("ends inside a byte", |(dtype, shape)| TensorMeta::new(dtype, shape).ok());
    prop::collection::btree_map(any::<String>(), meta, 0..8)
}

proptest! {
    #[test]
    fn the_reference_reader_finds_what_was_encoded(
        tensors in tensors(), metadata: BTreeMap<String, String>
    ) {
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        Header::reference_order(&mut tensors);
        let (mut file, begins) = Header::encode(&metadata, &tensors).unwrap();
        let json = file[8..].to_vec();
        let data: u64 = tensors.iter().map(|(_, meta)| meta.bytes()).sum();
        file.resize(file.len() + data as usize, 7);

        let (_, seen) = SafeTensors::read_metadata(&file).unwrap();
        let texts: BTreeMap<_, _> = seen.metadata().clone().unwrap_or_default().into_iter().collect();
        prop_assert_eq!(&texts, &metadata);
        prop_assert_eq!(seen.tensors().len(), tensors.len());
        for ((name, meta), &begin) in tensors.iter().zip(&begins) {
            let info = seen.info(name).unwrap();
            prop_assert_eq!(info.dtype.to_string(), meta.dtype().name());
            prop_assert_eq!(&info.shape[..], meta.shape());
            let end = begin + meta.bytes();
            prop_assert_eq!(info.data_offsets, (begin as usize, end as usize));
        }

        let header = Header::parse(&json, data).unwrap();
        prop_assert_eq!(header.metadata(), &metadata);
        for entry in header.tensors() {
            let at = tensors.iter().position(|(name, _)| *name == entry.name).unwrap();
            prop_assert_eq!((&entry.meta, entry.begin), (&tensors[at].1, begins[at]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn damage_never_panics_and_what_passes_suits_the_reference_reader(
        at in 0usize..150, bytes in prop::collection::vec(any::<u8>(), 0..3),
        digit in 0usize..150, value in b'0'..=b'9', cut in 60usize..400
    ) {
        let mut json = header(&[
            r#""__metadata__":{"format":"pt"}"#.into(),
            entry("a", "BF16", "[2,1]", 0, 4),
            entry("b", "F4", "[2]", 4, 5),
            entry("c", "U8", "[0]", 4, 4),
        ])
        .into_bytes();
        if json[digit].is_ascii_digit() {
            json[digit] = value;
        }
        json.splice(at..at + bytes.len(), bytes);
        json.truncate(cut);
        for data in [0, 4, 5] {
            if Header::parse(&json, data).is_ok() {
                let text = String::from_utf8(json.clone()).unwrap();
                let file = raw_shard(&text, &vec![0; data as usize]);
                prop_assert!(SafeTensors::deserialize(&file).is_ok(), "{}", text);
            }
        }
    }
}

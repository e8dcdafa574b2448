//! Records that prove which version they are: key and version are encoded in the vector, in the
//! metadata and in the filterable attributes, each of which alone tells the version.

use bytes::Bytes;
use vb_engine::{IndexSettings, PutBatch, VectorColumn};
use vb_search::{Attributes, Filter, Metric, Number, Scalar, Schema, Test, Value, VectorField};

/// A version is the number of the call that put it.
pub(super) type Version = u64;

const DIMENSION: u32 = 4;
const COLORS: [&str; 3] = ["red", "green", "blue"];

pub(super) fn schema() -> Schema {
    let field =
        VectorField { name: "float32".into(), dimension: DIMENSION, metric: Metric::Euclidean };
    Schema { vector_fields: vec![field], non_filterable: Vec::new() }
}

/// An index's settings carry the number of the call that created it.
pub(super) fn settings(creation: u64) -> IndexSettings {
    IndexSettings { schema: schema(), wire: Bytes::copy_from_slice(&creation.to_le_bytes()) }
}

/// The creating call of an index with these settings.
pub(super) fn creation(settings: &IndexSettings) -> Result<u64, String> {
    let bytes = settings.wire.as_ref().try_into();
    bytes.map(u64::from_le_bytes).map_err(|_| format!("settings not of a creation: {settings:?}"))
}

pub(super) fn key_bytes(key: u64) -> Box<[u8]> {
    format!("key-{key}").into_bytes().into()
}

pub(super) fn key_of(bytes: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix("key-"));
    let key = text.and_then(|digits| digits.parse().ok());
    key.ok_or_else(|| format!("a key that was never put: {:?}", bytes.escape_ascii().to_string()))
}

/// Small whole numbers, so that every distance is exact.
pub(super) fn vector(key: u64, version: Version) -> [f32; DIMENSION as usize] {
    let mixed = (key.wrapping_mul(31) + version.wrapping_mul(17)) % 23;
    [key as f32, (version % 64) as f32, (version / 64) as f32, mixed as f32]
}

pub(super) fn metadata(key: u64, version: Version) -> Bytes {
    format!("{{\"key\":{key},\"version\":{version}}}").into()
}

pub(super) fn metadata_version(key: u64, metadata: Option<&Bytes>) -> Result<Version, String> {
    let text = metadata.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let digits = text.rsplit_once("\"version\":").and_then(|(_, rest)| rest.strip_suffix('}'));
    let version = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    match metadata {
        Some(bytes) if *bytes == self::metadata(key, version) => Ok(version),
        _ => Err(format!("key {key} has metadata that was never put: {text:?}")),
    }
}

fn color(version: Version) -> Scalar {
    Scalar::String(COLORS[(version % 3) as usize].into())
}

fn attributes(version: Version) -> Attributes {
    let number = i64::try_from(version).expect("versions are small");
    Attributes::from_pairs(vec![
        ("color".into(), Value::One(color(version))),
        ("version".into(), Value::One(Scalar::Integer(number))),
    ])
}

pub(super) fn batch(keys: &[u64], version: Version) -> PutBatch {
    PutBatch {
        keys: keys.iter().map(|key| key_bytes(*key)).collect(),
        vectors: vec![VectorColumn {
            values: keys.iter().flat_map(|key| vector(*key, version)).collect(),
            present: None,
        }],
        metadata: keys.iter().map(|key| Some(metadata(*key, version))).collect(),
        attributes: keys.iter().map(|_| attributes(version)).collect(),
    }
}

/// What a query asks of the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wish {
    All,
    Color(u64),
    From(Version),
}

impl Wish {
    pub(super) fn filter(self) -> Filter {
        match self {
            Self::All => Filter::All,
            Self::Color(number) => {
                Filter::Test { key: "color".into(), test: Test::Eq(color(number)) }
            }
            Self::From(version) => {
                let number = i64::try_from(version).expect("versions are small");
                Filter::Test { key: "version".into(), test: Test::Gte(Number::Integer(number)) }
            }
        }
    }

    pub(super) fn matches(self, version: Version) -> bool {
        match self {
            Self::All => true,
            Self::Color(number) => version % 3 == number % 3,
            Self::From(from) => version >= from,
        }
    }
}

/// What a query must order a record by: the distance it is answered with, and the key.
pub(super) fn rank(target: &[f32], key: u64, version: Version) -> (f32, Box<[u8]>) {
    let vector = vector(key, version);
    let squares = target.iter().zip(vector).map(|(a, b)| (a - b) * (a - b));
    (Metric::Euclidean.distance(f64::from(squares.sum::<f32>())), key_bytes(key))
}

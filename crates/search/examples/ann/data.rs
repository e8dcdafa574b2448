//! Data sets of `bench/data`, made ones, and their exactly nearest rows.

use rayon::prelude::*;
use vb_kernel::Kernels;

/// A data set in memory; vectors are of unit length, and near is by inner product.
pub(crate) struct Set {
    pub(crate) dimension: usize,
    pub(crate) base: Vec<f32>,
    pub(crate) queries: Vec<f32>,
}

impl Set {
    /// A set of `bench/data`, or `clusteredD`: 100,000 made rows of D dimensions.
    pub(crate) fn load(name: &str, rows: usize) -> Self {
        if let Some(dimension) = name.strip_prefix("clustered") {
            return Self::clustered(dimension.parse().expect("a dimension"), rows.min(100_000));
        }
        let folder = std::env::var("ANN_DATA").unwrap_or_else(|_| "bench/data/work".into());
        let read = |part: &str| Npy::read(&format!("{folder}/{name}_{part}.npy"));
        let (base, queries) = (read("base"), read("query"));
        let mut set =
            Self { dimension: base.columns, base: base.floats(), queries: queries.floats() };
        set.base.truncate(rows.saturating_mul(set.dimension));
        set
    }

    /// Rows around 2,000 centres, which lie around 40 themselves, as embeddings do; seeded.
    fn clustered(dimension: usize, rows: usize) -> Self {
        let mut random = Random(17);
        let mut around = |from: &[f32], count: usize, spread: f32| -> Vec<f32> {
            let centres = from.len() / dimension;
            let mut out = Vec::with_capacity(count * dimension);
            for _ in 0..count {
                let start = random.below(centres) * dimension;
                let value = |i: usize| from[start + i] + spread * random.normal();
                out.extend((0..dimension).map(value));
            }
            out
        };
        let origin = vec![0.0; dimension];
        let coarse = around(&origin, 40, 1.0);
        let fine = around(&coarse, 2000, 0.7);
        let (mut base, mut queries) = (around(&fine, rows, 0.6), around(&fine, 1000, 0.6));
        base.chunks_mut(dimension).chain(queries.chunks_mut(dimension)).for_each(normalise);
        Self { dimension, base, queries }
    }

    pub(crate) fn rows(&self) -> usize {
        self.base.len() / self.dimension
    }

    pub(crate) fn row(&self, row: u32) -> &[f32] {
        &self.base[row as usize * self.dimension..][..self.dimension]
    }

    /// The vectors with only the first values, or with zeros after them, at unit length.
    pub(crate) fn resized(vectors: &[f32], from: usize, to: usize) -> Vec<f32> {
        let resize = |vector: &[f32]| {
            let mut vector = vector.to_vec();
            vector.resize(to, 0.0);
            normalise(&mut vector);
            vector
        };
        vectors.chunks(from).flat_map(resize).collect()
    }
}

pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length.max(f32::MIN_POSITIVE));
}

/// The `k` exactly nearest rows of each query: for each of `filters`, among those for which it holds.
pub(crate) fn exact(
    base: &[f32],
    queries: &[f32],
    dimension: usize,
    k: usize,
    filters: &[Vec<bool>],
    kernels: Kernels,
) -> Vec<Vec<Vec<u32>>> {
    let rows = base.len() / dimension;
    let nearest = |query: &[f32]| -> Vec<Vec<u32>> {
        let mut scores = vec![0.0; rows];
        kernels.dot_rows(query, base, &mut scores);
        let by_score =
            |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        let of = |filter: &Vec<bool>| {
            let mut order: Vec<u32> =
                (0..rows as u32).filter(|row| filter[*row as usize]).collect();
            if k < order.len() {
                order.select_nth_unstable_by(k, by_score);
                order.truncate(k);
            }
            order.sort_unstable_by(by_score);
            order
        };
        filters.iter().map(of).collect()
    };
    let by_query: Vec<Vec<Vec<u32>>> = queries.par_chunks(dimension).map(nearest).collect();
    let of = |filter: usize| by_query.iter().map(|query| query[filter].clone()).collect();
    (0..filters.len()).map(of).collect()
}

/// Numbers that are always the same.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// About normal: the sum of twelve.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1u32 << 24) as f32).sum::<f32>() - 6.0
    }
}

/// A NumPy array of two dimensions.
struct Npy {
    bytes: Vec<u8>,
    columns: usize,
}

impl Npy {
    fn read(path: &str) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|cause| panic!("{path}: {cause}"));
        let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[..header_end]).into_owned();
        let (_, shape) = header.split_once("'shape': (").expect("a shape");
        let columns = shape.split([',', ')']).nth(1).and_then(|text| text.trim().parse().ok());
        Self { bytes: bytes[header_end..].to_vec(), columns: columns.expect("two dimensions") }
    }

    fn floats(&self) -> Vec<f32> {
        self.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

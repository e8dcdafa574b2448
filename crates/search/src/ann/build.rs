//! From vectors to sections.
//!
//! Rows are encoded as they come; their floats are not kept. Clustering and the lists work on those codes, so that an
//! index is a function of its CODES section, and indexes can be merged without their floats.

use rayon::prelude::*;
use vb_kernel::Kernels;

use super::cluster::{Clusters, Vectors, cluster};
use super::codes::{ListEncoder, encode_row};
use super::index::{Index, List, rotate};
use super::order::permute;
use super::params::{Params, Shape};
use super::recall::Model;
use super::rotation::Rotation;
use super::{FLAT_LIST_ROWS, FLAT_ROWS};

/// Rows that the centre is the mean of at first.
const CENTRE_ROWS: usize = 4096;
/// The centre moves if the mean is further from it than this share of the mean squared length: rows are encoded anew then.
pub(super) const FAR: f64 = 0.002;
/// That of merged rows of 4 bits, to which encoding adds an error each time.
pub(super) const FAR_OF_FOUR_BITS: f64 = 0.05;
/// Rows whose mean is one job.
const MEAN_CHUNK: usize = 4096;
/// Rows encoded by one job.
const CHUNK: usize = 512;

/// The sections of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// Opened by [`Index::open`].
    pub tree: Vec<u8>,
    /// A run per list, [`Index::list_place`].
    pub lists: Vec<u8>,
    /// A row after the other, list by list, [`Index::rows_place`].
    pub codes: Vec<u8>,
    /// How many rows there are.
    pub rows: u32,
}

/// Collects the vectors of an index.
#[derive(Debug)]
pub struct Builder {
    params: Params,
    kernels: Kernels,
    rotation: Rotation,
    /// What rows are around; `None` before the first.
    centre: Option<Vec<f32>>,
    codes: Vec<u8>,
}

impl Builder {
    /// Without vectors. The work of all methods is done by the calling thread pool.
    pub fn new(params: Params, kernels: Kernels) -> Self {
        let rotation = Rotation::new(params.dimension);
        Self { params, kernels, rotation, centre: None, codes: Vec::new() }
    }

    /// Adds row-major vectors.
    ///
    /// # Panics
    /// If they are not whole vectors of the dimension.
    pub fn push(&mut self, vectors: &[f32]) {
        assert!(vectors.len().is_multiple_of(self.params.dimension), "whole vectors");
        let shape = self.params.shape();
        let rotate =
            |vector: &[f32], out: &mut [f32]| rotate(shape.metric, &self.rotation, vector, out);
        if self.centre.is_none() && !vectors.is_empty() {
            self.centre = Some(mean_of_first(vectors, shape, rotate));
        }
        let Some(centre) = &self.centre else { return };
        let encoder = RowEncoder { shape, centre, kernels: self.kernels };
        let (dimension, row_bytes) = (shape.dimension, shape.row_bytes());
        let start = self.codes.len();
        self.codes.resize(start + vectors.len() / dimension * row_bytes, 0);
        let out = self.codes[start..].par_chunks_mut(CHUNK * row_bytes);
        out.zip(vectors.par_chunks(CHUNK * dimension)).for_each(|(out, vectors)| {
            encoder.encode(vectors.chunks_exact(dimension), rotate, out);
        });
    }

    /// The sections of all vectors added. Equal vectors in equal order, pushed in equal pieces, and equal params give equal
    /// bytes, whatever the number of threads or the level.
    pub fn finish(mut self) -> Built {
        let shape = self.params.shape();
        let mut centre = self.centre.unwrap_or_else(|| vec![0.0; shape.padded()]);
        recentre(shape, &mut centre, &mut self.codes, FAR, self.kernels);
        let vectors = Vectors { bytes: &self.codes, shape };
        let clusters =
            (vectors.rows() >= FLAT_ROWS).then(|| cluster(vectors, self.kernels, self.params.seed));
        assemble(&self.params, centre, self.codes, clusters.as_ref(), self.kernels)
    }
}

/// Builds an index of row-major vectors; see [`Builder`].
pub fn build(vectors: &[f32], params: Params, kernels: Kernels) -> Built {
    let mut builder = Builder::new(params, kernels);
    builder.push(vectors);
    builder.finish()
}

/// Turns vectors into rows of CODES.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowEncoder<'a> {
    pub(super) shape: Shape,
    pub(super) centre: &'a [f32],
    pub(super) kernels: Kernels,
}

impl RowEncoder<'_> {
    /// Fills `out` with the rows of `vectors`, each of which `rotate` puts into a rotated vector.
    pub(super) fn encode<V>(
        &self,
        vectors: impl Iterator<Item = V>,
        rotate: impl Fn(V, &mut [f32]),
        out: &mut [u8],
    ) {
        let row_bytes = self.shape.row_bytes();
        let mut rotated = vec![0.0; self.shape.padded()];
        let mut row = Vec::with_capacity(row_bytes);
        for (out, vector) in out.chunks_exact_mut(row_bytes).zip(vectors) {
            rotate(vector, &mut rotated);
            rotated.iter_mut().zip(self.centre).for_each(|(value, centre)| *value -= centre);
            row.clear();
            encode_row(&rotated, self.shape.row_bits, self.kernels, &mut row);
            out.copy_from_slice(&row);
        }
    }
}

/// The mean of the first vectors, rotated.
fn mean_of_first(vectors: &[f32], shape: Shape, rotate: impl Fn(&[f32], &mut [f32])) -> Vec<f32> {
    let mut sum = vec![0.0f64; shape.padded()];
    let mut rotated = vec![0.0; shape.padded()];
    let first = vectors.chunks_exact(shape.dimension).take(CENTRE_ROWS);
    let count = first.len() as f64;
    for vector in first {
        rotate(vector, &mut rotated);
        sum.iter_mut().zip(&rotated).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sum.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// Moves the centre to the mean of all rows, if it is far from it: the first vectors may have been unlike the others. Returns
/// by how much.
pub(super) fn recentre(
    shape: Shape,
    centre: &mut [f32],
    codes: &mut [u8],
    far: f64,
    kernels: Kernels,
) -> Option<Vec<f32>> {
    let vectors = Vectors { bytes: codes, shape };
    let (shift, length) = mean_and_length(vectors)?;
    if f64::from(kernels.norm_squared(&shift)) <= far * length {
        return None;
    }
    let encoder = RowEncoder { shape, centre: &shift, kernels };
    codes.par_chunks_mut(CHUNK * shape.row_bytes()).for_each(|rows| {
        let old = rows.to_vec();
        let old = Vectors { bytes: &old, shape };
        encoder.encode(0..old.rows() as u32, |row, out| old.decode(row, out), rows);
    });
    centre.iter_mut().zip(&shift).for_each(|(centre, shift)| *centre += shift);
    Some(shift)
}

/// The mean of all rows, and their mean squared length.
fn mean_and_length(vectors: Vectors<'_>) -> Option<(Vec<f32>, f64)> {
    let rows: Vec<u32> = (0..vectors.rows() as u32).collect();
    let part = |rows: &[u32]| {
        let mut vector = vec![0.0; vectors.shape.padded()];
        let (mut sum, mut squares) = (vec![0.0f64; vector.len()], 0.0f64);
        for row in rows {
            vectors.decode(*row, &mut vector);
            sum.iter_mut().zip(&vector).for_each(|(sum, value)| *sum += f64::from(*value));
            squares += vector.iter().map(|value| f64::from(value * value)).sum::<f64>();
        }
        (sum, squares)
    };
    let parts: Vec<(Vec<f64>, f64)> = rows.par_chunks(MEAN_CHUNK).map(part).collect();
    let count = rows.len() as f64;
    let mean = |place| (parts.iter().map(|part| part.0[place]).sum::<f64>() / count) as f32;
    let length = parts.iter().map(|part| part.1).sum::<f64>() / count;
    (count > 0.0).then(|| ((0..vectors.shape.padded()).map(mean).collect(), length))
}

/// Lists of clustered rows, or those of a flat index.
pub(super) fn assemble(
    params: &Params,
    centre: Vec<f32>,
    mut codes: Vec<u8>,
    clusters: Option<&Clusters>,
    kernels: Kernels,
) -> Built {
    let shape = params.shape();
    let rows = codes.len() / shape.row_bytes();
    let tree = clusters.map(|clusters| clusters.tree(shape, kernels, params.seed));
    let centroids = match &tree {
        Some(tree) => tree.centroids(),
        None => vec![0.0; rows.div_ceil(FLAT_LIST_ROWS) * shape.padded()],
    };
    let members = match clusters {
        Some(clusters) => clusters.members(shape.padded()),
        None => flat_members(rows),
    };
    let vectors = Vectors { bytes: &codes, shape };
    let runs = encode_lists(vectors, &centroids, &members);
    let entries = runs.iter().zip(&members).map(|((run, spread), members)| List {
        start: 0,
        count: members.rows.len() as u32,
        firsts: members.firsts as u32,
        before: 0,
        crc: crc32c::crc32c(run),
        codes_crc: 0,
        spread: *spread,
    });
    let entries = entries.collect();
    let mut index = Index::new(shape, rows as u32, centre, Model::default(), tree, entries);
    let mut lists = vec![0; index.lists_bytes() as usize];
    for ((run, _), list) in runs.iter().zip(&index.lists) {
        lists[list.start as usize..][..run.len()].copy_from_slice(run);
    }
    index.model = super::calibrate::model(&mut index, &lists, &codes, params.seed, kernels);
    let firsts = members.iter().flat_map(|list| &list.rows[..list.firsts]);
    permute(&mut codes, shape.row_bytes(), &firsts.copied().collect::<Vec<_>>());
    let places: Vec<_> = (0..index.lists()).filter_map(|list| index.rows_place(list)).collect();
    for (list, place) in index.lists.iter_mut().zip(places) {
        list.codes_crc = crc32c::crc32c(&codes[place.start as usize..place.end as usize]);
    }
    Built { tree: index.encode(), lists, codes, rows: rows as u32 }
}

/// The rows of a list: those that are nearest to its centroid, then those of which it is the second list.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub(super) rows: Vec<u32>,
    pub(super) firsts: usize,
}

fn flat_members(rows: usize) -> Vec<Members> {
    let all: Vec<u32> = (0..rows as u32).collect();
    let part = |rows: &[u32]| Members { rows: rows.to_vec(), firsts: rows.len() };
    all.chunks(FLAT_LIST_ROWS).map(part).collect()
}

fn encode_lists(
    vectors: Vectors<'_>,
    centroids: &[f32],
    members: &[Members],
) -> Vec<(Vec<u8>, f32)> {
    let padded = vectors.shape.padded();
    let encode = |(members, centroid): (&Members, &[f32])| {
        let mut list = ListEncoder::new(vectors.shape, centroid);
        let mut vector = vec![0.0; padded];
        for &row in &members.rows {
            vectors.decode(row, &mut vector);
            list.push(row, &vector);
        }
        list.finish()
    };
    members.par_iter().zip(centroids.par_chunks(padded)).map(encode).collect()
}

//! From vectors to sections.
//!
//! Rows are encoded as they come; their floats are not kept. Clustering and the lists work on those codes, so that an
//! index is a function of its CODES section, and indexes can be merged without their floats.

use rayon::prelude::*;
use vb_kernel::Kernels;

use super::cluster::{Clusters, Vectors, cluster};
use super::codes::{ListEncoder, encode_row};
use super::index::{Index, List, tame, unit_scale};
use super::params::{Params, RowOrder, Shape};
use super::recall::Model;
use super::rotation::Rotation;
use super::{FLAT_LIST_ROWS, FLAT_ROWS};

/// Rows that the centre is the mean of: the first.
const CENTRE_ROWS: usize = 8192;
/// Rows encoded by one job.
const CHUNK: usize = 512;

/// The sections of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// Opened by [`Index::open`].
    pub tree: Vec<u8>,
    /// A run per list, [`Index::list_place`].
    pub lists: Vec<u8>,
    /// A row after the other, [`Index::row_place`].
    pub codes: Vec<u8>,
    /// Which of the pushed rows each row is: all in turn, unless they are [`RowOrder::Clustered`].
    pub order: Vec<u32>,
}

/// Collects the vectors of an index.
#[derive(Debug)]
pub struct Builder {
    params: Params,
    kernels: Kernels,
    rotation: Rotation,
    /// Vectors that came before the centre was known.
    early: Vec<f32>,
    encoder: Option<RowEncoder>,
    codes: Vec<u8>,
}

impl Builder {
    /// Without vectors. The work of all methods is done by the calling thread pool.
    pub fn new(params: Params, kernels: Kernels) -> Self {
        let rotation = Rotation::new(params.dimension);
        Self { params, kernels, rotation, early: Vec::new(), encoder: None, codes: Vec::new() }
    }

    /// Adds row-major vectors.
    ///
    /// # Panics
    /// If they are not whole vectors of the dimension.
    pub fn push(&mut self, vectors: &[f32]) {
        assert!(vectors.len().is_multiple_of(self.params.dimension), "whole vectors");
        if let Some(encoder) = &self.encoder {
            return encoder.encode(vectors, self.kernels, &mut self.codes);
        }
        self.early.extend_from_slice(vectors);
        if self.early.len() >= CENTRE_ROWS * self.params.dimension {
            self.start();
        }
    }

    /// The sections of all vectors added. Equal vectors in equal order and params give equal bytes, whatever the number of
    /// threads, the level, or how many were pushed at a time.
    pub fn finish(mut self) -> Built {
        if self.encoder.is_none() {
            self.start();
        }
        let encoder = self.encoder.expect("it was just made");
        let shape = self.params.shape();
        let vectors = Vectors { bytes: &self.codes, shape };
        let clusters = (vectors.rows() >= FLAT_ROWS)
            .then(|| cluster(vectors, self.kernels, self.params.seed));
        assemble(&self.params, encoder.centre, self.codes, clusters, self.kernels)
    }

    fn start(&mut self) {
        let early = std::mem::take(&mut self.early);
        let shape = self.params.shape();
        let first = &early[..early.len().min(CENTRE_ROWS * shape.dimension)];
        let encoder = RowEncoder::new(shape, mean(shape, first), self.rotation.clone());
        encoder.encode(&early, self.kernels, &mut self.codes);
        self.encoder = Some(encoder);
    }
}

/// Builds an index of row-major vectors; see [`Builder`].
pub fn build(vectors: &[f32], params: Params, kernels: Kernels) -> Built {
    let mut builder = Builder::new(params, kernels);
    builder.push(vectors);
    builder.finish()
}

/// Turns vectors into rows of CODES.
#[derive(Clone, Debug)]
pub(super) struct RowEncoder {
    shape: Shape,
    pub(super) centre: Vec<f32>,
    rotation: Rotation,
    centre_rotated: Vec<f32>,
}

impl RowEncoder {
    pub(super) fn new(shape: Shape, centre: Vec<f32>, rotation: Rotation) -> Self {
        let mut centre_rotated = vec![0.0; shape.padded()];
        centre_rotated[..shape.dimension].copy_from_slice(&centre);
        rotation.apply(&mut centre_rotated);
        Self { shape, centre, rotation, centre_rotated }
    }

    /// The rotated vector around the centre, at unit length for cosine.
    pub(super) fn transform(&self, vector: &[f32], out: &mut [f32]) {
        let scale = unit_scale(self.shape.metric, vector);
        out.fill(0.0);
        out.iter_mut().zip(vector).for_each(|(out, value)| *out = tame(*value * scale));
        self.rotation.apply(out);
        out.iter_mut().zip(&self.centre_rotated).for_each(|(out, centre)| *out -= centre);
    }

    fn encode(&self, vectors: &[f32], kernels: Kernels, codes: &mut Vec<u8>) {
        let (dimension, row_bytes) = (self.shape.dimension, self.shape.row_bytes());
        let start = codes.len();
        codes.resize(start + vectors.len() / dimension * row_bytes, 0);
        let out = codes[start..].par_chunks_mut(CHUNK * row_bytes);
        out.zip(vectors.par_chunks(CHUNK * dimension)).for_each(|(out, vectors)| {
            let mut rotated = vec![0.0; self.shape.padded()];
            let mut row = Vec::with_capacity(row_bytes);
            let rows = out.chunks_exact_mut(row_bytes).zip(vectors.chunks_exact(dimension));
            for (out, vector) in rows {
                self.transform(vector, &mut rotated);
                row.clear();
                encode_row(&rotated, self.shape.row_bits, kernels, &mut row);
                out.copy_from_slice(&row);
            }
        });
    }
}

/// The mean, of vectors at unit length for cosine.
fn mean(shape: Shape, vectors: &[f32]) -> Vec<f32> {
    let mut sum = vec![0.0f64; shape.dimension];
    for row in vectors.chunks_exact(shape.dimension) {
        let scale = unit_scale(shape.metric, row);
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(tame(*value * scale)));
    }
    let count = (vectors.len() / shape.dimension).max(1) as f64;
    sum.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// Lists of clustered rows, or those of a flat index.
pub(super) fn assemble(
    params: &Params,
    centre: Vec<f32>,
    mut codes: Vec<u8>,
    clusters: Option<Clusters>,
    kernels: Kernels,
) -> Built {
    let shape = params.shape();
    let rows = codes.len() / shape.row_bytes();
    let tree = clusters.as_ref().map(|clusters| clusters.tree(shape, kernels, params.seed));
    let centroids = match &tree {
        Some(tree) => tree.centroids(),
        None => vec![0.0; rows.div_ceil(FLAT_LIST_ROWS) * shape.padded()],
    };
    let mut members = match &clusters {
        Some(clusters) => clusters.members(shape.padded()),
        None => flat_members(rows),
    };
    let order = match params.order {
        RowOrder::AsGiven => (0..rows as u32).collect(),
        RowOrder::Clustered => renumber(&mut members, rows, &mut codes, shape),
    };
    let vectors = Vectors { bytes: &codes, shape };
    let runs = encode_lists(vectors, &centroids, &members);
    let entries = runs.iter().zip(&members).map(|((run, spread), members)| List {
        start: 0,
        count: members.rows.len() as u32,
        firsts: members.firsts as u32,
        crc: crc32c::crc32c(run),
        spread: *spread,
    });
    let entries = entries.collect();
    let mut index = Index::new(shape, rows as u32, centre, Model::default(), tree, entries);
    let mut lists = vec![0; index.lists_bytes() as usize];
    for ((run, _), list) in runs.iter().zip(&index.lists) {
        lists[list.start as usize..][..run.len()].copy_from_slice(run);
    }
    index.model = super::calibrate::model(&mut index, &lists, &codes, params.seed, kernels);
    Built { tree: index.encode(), lists, codes, order }
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

/// Numbers rows list by list; returns the old number of each.
fn renumber(members: &mut [Members], rows: usize, codes: &mut Vec<u8>, shape: Shape) -> Vec<u32> {
    let firsts = members.iter().flat_map(|list| &list.rows[..list.firsts]);
    let order: Vec<u32> = firsts.copied().collect();
    let mut new = vec![0u32; rows];
    (0..).zip(&order).for_each(|(row, &old)| new[old as usize] = row);
    members.iter_mut().flat_map(|list| &mut list.rows).for_each(|row| *row = new[*row as usize]);
    let bytes = shape.row_bytes();
    let row = |&old: &u32| &codes[old as usize * bytes..][..bytes];
    let sorted: Vec<u8> = order.iter().flat_map(row).copied().collect();
    *codes = sorted;
    order
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


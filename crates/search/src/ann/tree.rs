//! The tree over centroids: coarse groups, each centroid in the two nearest of them.
//!
//! Looking at the children of a few groups finds the nearest centroids while reading a fraction of
//! them; standing in two groups is what keeps it from missing those near a border. A child is 8-bit codes
//! with their own scale, `value = low + step x code`; a list's centroid *is* what its codes say, so that
//! distances to centroids are exact.

use vb_kernel::Kernels;

use super::cluster::{Matrix, coarse};
use super::codes::{Rounded, encode_bytes};
use super::ranked::Ranked;
use crate::decode::{Corrupt, Input};

/// Groups that each centroid stands in.
const GROUPS_EACH: usize = 2;
/// Bytes of a centroid beside its codes.
const CENTROID_BYTES: usize = 12;
/// Those of a child where each had a centroid of its own.
const CHILD_BYTES: usize = 16;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    dimension: usize,
    centroids: usize,
    /// `groups x dimension`.
    coarse: Vec<f32>,
    coarse_norms: Vec<f32>,
    /// Where each group's children start; one more than there are groups.
    starts: Vec<u32>,
    children: Vec<Child>,
    /// `children x dimension`.
    codes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    centroid: u32,
    low: f32,
    step: f32,
    norm: f32,
}

impl Tree {
    pub(super) fn build(centroids: Matrix<'_>, kernels: Kernels, seed: u64) -> Self {
        let count = centroids.rows();
        let groups = count.isqrt().max(1);
        let coarse = coarse(centroids, groups, kernels, seed);
        let coarse_norms = norms(&coarse, centroids.dimension, kernels);
        let mut members = vec![Vec::new(); groups];
        let mut scores = vec![0.0; groups];
        for centroid in 0..count as u32 {
            kernels.dot_rows(centroids.row(centroid), &coarse, &mut scores);
            let mut order: Vec<(f32, usize)> = (0..groups)
                .map(|group| (coarse_norms[group] - 2.0 * scores[group], group))
                .collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            order.iter().take(GROUPS_EACH).for_each(|(_, group)| members[*group].push(centroid));
        }
        let mut tree = Self {
            dimension: centroids.dimension,
            centroids: count,
            coarse,
            coarse_norms,
            starts: vec![0],
            children: Vec::new(),
            codes: Vec::new(),
        };
        for group in members {
            group
                .iter()
                .for_each(|&centroid| tree.push(centroid, centroids.row(centroid), kernels));
            tree.starts.push(tree.children.len() as u32);
        }
        tree
    }

    fn push(&mut self, centroid: u32, row: &[f32], kernels: Kernels) {
        let start = self.codes.len();
        let (low, step) = encode_bytes(row, 255, &mut self.codes);
        let decoded: Vec<f32> = decode(low, step, &self.codes[start..]).collect();
        self.children.push(Child { centroid, low, step, norm: kernels.norm_squared(&decoded) });
    }

    pub(super) fn groups(&self) -> usize {
        self.coarse_norms.len()
    }

    pub(super) fn children(&self) -> usize {
        self.children.len()
    }

    /// The centroids, as queries see them: `centroids x dimension`.
    pub(super) fn centroids(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.centroids * self.dimension];
        let codes = self.codes.chunks_exact(self.dimension);
        for (child, codes) in self.children.iter().zip(codes) {
            let row = &mut values[child.centroid as usize * self.dimension..][..self.dimension];
            row.iter_mut().zip(decode(child.low, child.step, codes)).for_each(|(row, v)| *row = v);
        }
        values
    }

    /// Appends coarse centroids, starts, children, and each centroid once: in memory children of different groups have copies.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.coarse.iter().flat_map(|value| value.to_le_bytes()));
        out.extend(self.starts.iter().flat_map(|value| value.to_le_bytes()));
        out.extend(self.children.iter().flat_map(|child| child.centroid.to_le_bytes()));
        let mut places = vec![0; self.centroids];
        let children = self.children.iter().enumerate();
        children.for_each(|(place, child)| places[child.centroid as usize] = place);
        for &place in &places {
            let Child { low, step, norm, .. } = self.children[place];
            out.extend([low, step, norm].map(f32::to_le_bytes).as_flattened());
        }
        let codes = |place: &usize| &self.codes[place * self.dimension..][..self.dimension];
        out.extend(places.iter().flat_map(codes));
    }

    /// Reads what [`Tree::encode`] appends.
    pub(super) fn decode(
        input: &mut Input<'_>,
        sizes: TreeSizes,
        kernels: Kernels,
    ) -> Result<Self, Corrupt> {
        let (coarse, starts) = groups_of(input, &sizes)?;
        let TreeSizes { dimension, centroids, .. } = sizes;
        let numbers = words(input, sizes.children)?;
        check_children(input, centroids, numbers.iter().copied())?;
        let (rows, _) = take(input, centroids, CENTROID_BYTES)?.as_chunks::<CENTROID_BYTES>();
        let once = take(input, centroids, dimension)?;
        let child = |&centroid: &u32| Child::decode(centroid, &rows[centroid as usize]);
        let children = numbers.iter().map(child).collect();
        let of = |&centroid: &u32| &once[centroid as usize * dimension..][..dimension];
        let mut codes = Vec::with_capacity(numbers.len() * dimension);
        numbers.iter().for_each(|centroid| codes.extend_from_slice(of(centroid)));
        let coarse_norms = norms(&coarse, dimension, kernels);
        Ok(Self { dimension, centroids, coarse, coarse_norms, starts, children, codes })
    }

    /// Reads what version 1 of the section has: a centroid for each child.
    pub(super) fn decode_by_child(
        input: &mut Input<'_>,
        sizes: TreeSizes,
        kernels: Kernels,
    ) -> Result<Self, Corrupt> {
        let (coarse, starts) = groups_of(input, &sizes)?;
        let TreeSizes { dimension, centroids, children, .. } = sizes;
        let (rows, _) = take(input, children, CHILD_BYTES)?.as_chunks::<CHILD_BYTES>();
        let child = |bytes: &[u8; CHILD_BYTES]| {
            let (number, rest) = bytes.split_first_chunk::<4>().expect("the bytes of a child");
            let rest = rest.first_chunk().expect("those of its centroid");
            Child::decode(u32::from_le_bytes(*number), rest)
        };
        let children: Vec<Child> = rows.iter().map(child).collect();
        check_children(input, centroids, children.iter().map(|child| child.centroid))?;
        let codes = take(input, children.len(), dimension)?.to_vec();
        let coarse_norms = norms(&coarse, dimension, kernels);
        Ok(Self { dimension, centroids, coarse, coarse_norms, starts, children, codes })
    }

    /// Adds the centroids in the `groups` groups nearest to `vector` to `found`, by squared distance or
    /// negated inner product, each once, in no order.
    ///
    /// `rounded` is `vector` in whole numbers.
    pub(super) fn find(
        &self,
        vector: &[f32],
        rounded: &Rounded,
        request: &Lookup,
        scratch: &mut Scratch,
    ) {
        scratch.begin(self.centroids);
        self.nearest_groups(vector, request, scratch);
        let squared = request.kernels.norm_squared(vector);
        for place in 0..scratch.groups.len() {
            let group = scratch.groups[place].number() as usize;
            self.look_into(group, rounded, squared, request, scratch);
        }
    }

    fn nearest_groups(&self, vector: &[f32], request: &Lookup, scratch: &mut Scratch) {
        scratch.scores.resize(self.coarse_norms.len(), 0.0);
        request.kernels.dot_rows(vector, &self.coarse, &mut scratch.scores);
        let by_product = request.by_product;
        let cost = |(norm, dot): (&f32, &f32)| if by_product { -dot } else { norm - 2.0 * dot };
        let costs = self.coarse_norms.iter().zip(&scratch.scores).map(cost);
        scratch.groups.clear();
        scratch.groups.extend(costs.zip(0..).map(|(cost, group)| Ranked::new(cost, group)));
        if request.groups < scratch.groups.len() {
            scratch.groups.select_nth_unstable(request.groups);
            scratch.groups.truncate(request.groups);
        }
    }

    fn look_into(
        &self,
        group: usize,
        vector: &Rounded,
        squared: f32,
        request: &Lookup,
        scratch: &mut Scratch,
    ) {
        let range = self.starts[group] as usize..self.starts[group + 1] as usize;
        let codes = &self.codes[range.start * self.dimension..range.end * self.dimension];
        scratch.sums.resize(range.len().max(scratch.sums.len()), 0);
        let sums = &mut scratch.sums[..range.len()];
        request.kernels.dot_u8_rows(&vector.values, codes, sums);
        for (child, sum) in self.children[range].iter().zip(sums) {
            let seen = &mut scratch.seen[child.centroid as usize];
            if std::mem::replace(seen, scratch.round) != scratch.round {
                let dot = vector.dot(child.low, child.step, *sum);
                let distance = (squared + child.norm - 2.0 * dot).max(0.0);
                let cost = if request.by_product { -dot } else { distance };
                scratch.found.push(Ranked::new(cost, child.centroid));
            }
        }
    }
}

/// How many of what a tree has.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeSizes {
    pub(super) dimension: usize,
    pub(super) centroids: usize,
    pub(super) groups: usize,
    pub(super) children: usize,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    pub(super) groups: usize,
    /// Those with the largest inner product instead of the nearest.
    pub(super) by_product: bool,
    pub(super) kernels: Kernels,
}

/// What lookups keep between them, so that none allocates.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// What the last lookup found.
    pub(super) found: Vec<Ranked>,
    /// The last round that met each centroid.
    seen: Vec<u32>,
    round: u32,
    groups: Vec<Ranked>,
    /// Of groups.
    scores: Vec<f32>,
    /// Of children.
    sums: Vec<i32>,
}

impl Scratch {
    fn begin(&mut self, centroids: usize) {
        self.found.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.seen.fill(0);
            self.round = 1;
        }
        self.seen.resize(centroids.max(self.seen.len()), 0);
    }

    /// Keeps the `count` nearest, sorted.
    pub(super) fn nearest(&mut self, count: usize) -> &[Ranked] {
        if count < self.found.len() {
            self.found.select_nth_unstable(count);
            self.found.truncate(count);
        }
        self.found.sort_unstable();
        &self.found
    }
}

impl Child {
    fn decode(centroid: u32, bytes: &[u8; CENTROID_BYTES]) -> Self {
        let (parts, _) = bytes.as_chunks::<4>();
        let [low, step, norm] = [0, 1, 2].map(|place: usize| f32::from_le_bytes(parts[place]));
        Self { centroid, low, step, norm }
    }
}

/// Coarse centroids, and where each group's children start.
fn groups_of(input: &mut Input<'_>, sizes: &TreeSizes) -> Result<(Vec<f32>, Vec<u32>), Corrupt> {
    let coarse = floats(input, sizes.groups, sizes.dimension)?;
    let starts = words(input, sizes.groups + 1)?;
    let ends = starts[0] == 0 && starts[sizes.groups] as usize == sizes.children;
    check(input, starts.is_sorted() && ends, "starts of groups")?;
    Ok((coarse, starts))
}

/// Checks that children are of lists, and that each list has one, and not more than there are groups for.
fn check_children(
    input: &Input<'_>,
    centroids: usize,
    children: impl Iterator<Item = u32>,
) -> Result<(), Corrupt> {
    let mut seen = vec![0; centroids];
    for child in children {
        let seen = seen.get_mut(child as usize);
        *seen.ok_or(input.corrupt("a child of no list"))? += 1;
    }
    check(input, !seen.contains(&0), "a list without a centroid")?;
    check(input, seen.iter().all(|seen| *seen <= GROUPS_EACH), "a list in too many groups")
}

fn decode(low: f32, step: f32, codes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    codes.iter().map(move |code| step * f32::from(*code) + low)
}

fn norms(rows: &[f32], dimension: usize, kernels: Kernels) -> Vec<f32> {
    rows.chunks_exact(dimension).map(|row| kernels.norm_squared(row)).collect()
}

fn check(input: &Input<'_>, holds: bool, what: &'static str) -> Result<(), Corrupt> {
    if holds { Ok(()) } else { Err(input.corrupt(what)) }
}

/// `count` items of `bytes` each.
pub(super) fn take<'a>(
    input: &mut Input<'a>,
    count: usize,
    bytes: usize,
) -> Result<&'a [u8], Corrupt> {
    let length = count.checked_mul(bytes).ok_or(input.corrupt("sizes"))?;
    input.take(length)
}

pub(super) fn words(input: &mut Input<'_>, count: usize) -> Result<Vec<u32>, Corrupt> {
    let (words, _) = take(input, count, 4)?.as_chunks::<4>();
    Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

pub(super) fn floats(
    input: &mut Input<'_>,
    rows: usize,
    dimension: usize,
) -> Result<Vec<f32>, Corrupt> {
    let count = rows.checked_mul(dimension).ok_or(input.corrupt("sizes"))?;
    let (words, _) = take(input, count, 4)?.as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

//! The specification: what every level computes, in plain code.

/// Lanes of the canonical summation order; see the crate's opening.
pub(crate) const LANES: usize = 32;

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |x, y, lane| x.mul_add(y, lane))
}

pub(crate) fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |x, y, lane| (x - y).mul_add(x - y, lane))
}

pub(crate) fn dot_rows(query: &[f32], rows: &[f32], out: &mut [f32]) {
    each_row(query, rows, out, dot);
}

pub(crate) fn l2_squared_rows(query: &[f32], rows: &[f32], out: &mut [f32]) {
    each_row(query, rows, out, l2_squared);
}

fn each_row(query: &[f32], rows: &[f32], out: &mut [f32], kernel: fn(&[f32], &[f32]) -> f32) {
    for (index, out) in out.iter_mut().enumerate() {
        *out = kernel(query, &rows[index * query.len()..][..query.len()]);
    }
}

fn sum(a: &[f32], b: &[f32], step: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        add_block(&mut lanes, a, b, &step);
    }
    if !a_tail.is_empty() {
        add_block(&mut lanes, &padded(a_tail), &padded(b_tail), &step);
    }
    reduce(lanes)
}

fn add_block(
    lanes: &mut [f32; LANES],
    a: &[f32; LANES],
    b: &[f32; LANES],
    step: impl Fn(f32, f32, f32) -> f32,
) {
    for (lane, (&x, &y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
        *lane = step(x, y, *lane);
    }
}

fn padded(tail: &[f32]) -> [f32; LANES] {
    let mut block = [0.0; LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

fn reduce(mut lanes: [f32; LANES]) -> f32 {
    for width in [16, 8, 4, 2, 1] {
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    lanes[0]
}

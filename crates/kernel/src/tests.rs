//! Every level against the scalar specification, bit for bit.

use crate::{BLOCK, CodeBlocks, CodeQuery, Kernels, Level, Survivor, TABLE_MAX, block_bytes};
use proptest::prelude::*;

const DIMENSION_MAX: usize = 4100;

/// Finite values of every size: ordinary ones, huge ones whose squares overflow, subnormals, zeros
/// of both signs.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -1.0f32..1.0,
        1 => any::<u32>().prop_map(|bits| finite(f32::from_bits(bits))),
        1 => (1u32..0x0080_0000).prop_map(f32::from_bits),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(f32::MAX), Just(f32::MIN), Just(1e-30f32)],
    ]
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 1.0 }
}

/// `count` vectors of one random dimension, each in a buffer that starts at a random alignment.
fn vectors(count: usize) -> impl Strategy<Value = Vec<(Vec<f32>, usize)>> {
    let dimension = prop_oneof![0..130usize, 0..=DIMENSION_MAX];
    dimension.prop_flat_map(move |dimension| {
        let shifted = (0..16usize).prop_flat_map(move |shift| {
            (prop::collection::vec(value(), dimension + shift), Just(shift))
        });
        prop::collection::vec(shifted, count)
    })
}

fn levels() -> impl Iterator<Item = Kernels> {
    Level::ALL.into_iter().filter_map(Kernels::at)
}

fn scalar() -> Kernels {
    Kernels::at(Level::Scalar).expect("the scalar level is everywhere")
}

/// Equal bits, or NaN on both sides.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn levels_agree_on_pairs(vectors in vectors(2)) {
        let [(a, a_shift), (b, b_shift)] = &vectors[..] else { unreachable!() };
        let (a, b) = (&a[*a_shift..], &b[*b_shift..]);
        for kernels in levels() {
            let level = kernels.level();
            prop_assert!(same(kernels.dot(a, b), scalar().dot(a, b)), "dot at {level}");
            let l2 = (kernels.l2_squared(a, b), scalar().l2_squared(a, b));
            prop_assert!(same(l2.0, l2.1), "l2_squared at {level}");
            let norm = (kernels.norm_squared(a), scalar().norm_squared(a));
            prop_assert!(same(norm.0, norm.1), "norm_squared at {level}");
        }
    }

    #[test]
    fn rows_agree_with_pairs(
        count in 0..9usize,
        shift in 0..16usize,
        query in prop::collection::vec(value(), 0..200),
        seed in any::<u64>(),
    ) {
        let dimension = query.len();
        let buffer = random(seed, count * dimension + shift);
        let rows = &buffer[shift..];
        for kernels in levels() {
            let mut dots = vec![f32::NAN; count];
            let mut squares = vec![f32::NAN; count];
            kernels.dot_rows(&query, rows, &mut dots);
            kernels.l2_squared_rows(&query, rows, &mut squares);
            for index in 0..count {
                let row = &rows[index * dimension..][..dimension];
                prop_assert!(same(dots[index], scalar().dot(&query, row)));
                prop_assert!(same(squares[index], scalar().l2_squared(&query, row)));
            }
        }
    }

    #[test]
    fn the_specification_is_close_to_exact_sums(
        pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 0..500),
    ) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let wide = |x: f32| f64::from(x);
        let dot: f64 = a.iter().zip(&b).map(|(&x, &y)| wide(x) * wide(y)).sum();
        let l2: f64 = a.iter().zip(&b).map(|(&x, &y)| (wide(x) - wide(y)).powi(2)).sum();
        let slack = 1e-6 * (1.0 + a.len() as f64);
        prop_assert!((wide(scalar().dot(&a, &b)) - dot).abs() < slack);
        prop_assert!((wide(scalar().l2_squared(&a, &b)) - l2).abs() < slack);
    }
}

/// Reproducible values in -1..1 (xorshift).
fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn every_length_up_to_the_largest_agrees() {
    let (a, b) = (random(1, DIMENSION_MAX), random(2, DIMENSION_MAX));
    for length in 0..=DIMENSION_MAX {
        let (a, b) = (&a[..length], &b[DIMENSION_MAX - length..]);
        for kernels in levels() {
            assert!(same(kernels.dot(a, b), scalar().dot(a, b)), "dot of {length}");
            assert!(same(kernels.l2_squared(a, b), scalar().l2_squared(a, b)), "l2 of {length}");
        }
    }
}

/// The two places where padding shows: a lane holding -0.0 (from an underflow) and the empty sum.
#[test]
fn signs_of_zero_agree() {
    let tiny = f32::from_bits(1);
    for length in [0, 1, 7, 31, 32, 33, 48, 64, 65] {
        let (a, b) = (vec![tiny; length], vec![-tiny; length]);
        for kernels in levels() {
            assert!(same(kernels.dot(&a, &b), scalar().dot(&a, &b)), "length {length}");
        }
    }
}

#[test]
fn overflow_is_infinite_or_nan_at_every_level() {
    let huge = vec![f32::MAX; 100];
    let mixed: Vec<f32> = (0..100).map(|i| if i % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
    for kernels in levels() {
        assert_eq!(kernels.norm_squared(&huge), f32::INFINITY);
        assert_eq!(kernels.l2_squared(&huge, &mixed), f32::INFINITY);
        assert!(kernels.dot(&huge, &mixed).is_nan());
    }
}

#[test]
fn level_names_round_trip() {
    for level in Level::ALL {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    assert!("AVX2".parse::<Level>().is_err());
    assert!("".parse::<Level>().is_err());
}

#[test]
fn detection_finds_the_highest_supported_level() {
    let best = levels().map(Kernels::level).max();
    assert_eq!(Some(Kernels::detect().level()), best);
}

#[test]
#[should_panic(expected = "vectors of one dimension")]
fn unequal_lengths_panic() {
    Kernels::detect().dot(&[1.0], &[1.0, 2.0]);
}

#[test]
#[should_panic(expected = "rows x dimension")]
fn rows_of_another_shape_panic() {
    Kernels::detect().dot_rows(&[1.0, 2.0], &[1.0; 5], &mut [0.0; 2]);
}

/// Code blocks and a table from one seed.
struct Codes {
    blocks: Vec<u8>,
    table: Vec<u8>,
    allowed: Vec<u32>,
    count: usize,
}

impl Codes {
    fn list(&self) -> CodeBlocks<'_> {
        CodeBlocks { bytes: &self.blocks, count: self.count, next: &self.table[1..] }
    }
}

/// Numbers of 40 bits (xorshift).
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 24
    }
}

fn codes(seed: u64, groups: usize, count: usize) -> Codes {
    let mut next = numbers(seed);
    let blocks = count.div_ceil(BLOCK);
    // No sum may exceed 65,535.
    let largest = (65_535 / groups as u64).min(u64::from(TABLE_MAX)) + 1;
    let mut bytes: Vec<u8> = (0..blocks * block_bytes(groups)).map(|_| next() as u8).collect();
    for block in bytes.chunks_exact_mut(block_bytes(groups)) {
        let numbers = [-1.0f32, 3e-5, 0.1, 1e-5].map(f32::to_le_bytes);
        block[groups * 16 + 4 * BLOCK..].copy_from_slice(numbers.as_flattened());
    }
    Codes {
        blocks: bytes,
        table: (0..groups * 16).map(|_| (next() % largest) as u8).collect(),
        allowed: (0..blocks)
            .map(|_| if next().is_multiple_of(3) { 0 } else { next() as u32 })
            .collect(),
        count,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn levels_agree_on_codes(
        seed in any::<u64>(), pairs in 1..70usize, count in 0..200usize, masked in any::<bool>(),
        threshold in prop_oneof![Just(f32::INFINITY), -2.0f32..2.0],
    ) {
        let made = codes(seed, pairs * 2, count);
        let query = CodeQuery { table: &made.table, scale: 1e-4, bias: -0.5, base: 0.3 };
        let allowed = masked.then_some(&made.allowed[..]);
        let scan = |kernels: Kernels| -> Vec<Survivor> {
            let mut found = Vec::new();
            kernels.scan_codes(&made.list(), &query, allowed, threshold, &mut found);
            found
        };
        let expected = scan(scalar());
        if threshold == f32::INFINITY && !masked {
            prop_assert_eq!(expected.len(), count);
        }
        for kernels in levels() {
            prop_assert_eq!(&scan(kernels), &expected, "at {}", kernels.level());
        }
    }

    #[test]
    fn levels_agree_on_bytes(
        query in prop::collection::vec(-2047i16..=2047, 0..300), seed in any::<u64>(), count in 0..10usize,
    ) {
        let mut next = numbers(seed);
        let rows: Vec<u8> = (0..count * query.len()).map(|_| next() as u8).collect();
        let product = |row: usize| -> i64 {
            let codes = rows[row * query.len()..].iter();
            codes.zip(&query).map(|(code, value)| i64::from(*code) * i64::from(*value)).sum()
        };
        for kernels in levels() {
            let mut found = vec![0; count];
            kernels.dot_u8_rows(&query, &rows, &mut found);
            for (row, found) in found.iter().enumerate() {
                prop_assert_eq!(i64::from(*found), product(row), "at {}", kernels.level());
                let bytes = &rows[row * query.len()..][..query.len()];
                prop_assert_eq!(kernels.dot_u8(bytes, &query), *found);
            }
        }
    }

    #[test]
    fn levels_agree_on_halves_of_bytes(
        half in prop::collection::vec(-2047i16..=2047, 0..150), seed in any::<u64>(),
    ) {
        let query: Vec<i16> = half.iter().chain(&half).copied().collect();
        let mut next = numbers(seed);
        let codes: Vec<u8> = (0..half.len()).map(|_| next() as u8).collect();
        let expected = scalar().dot_u4(&codes, &query);
        for kernels in levels() {
            prop_assert_eq!(kernels.dot_u4(&codes, &query), expected, "at {}", kernels.level());
        }
    }
}

/// One bound worked out by hand: sums, factors and the mask of places.
#[test]
fn a_bound_is_the_formula() {
    let mut block = vec![0u8; block_bytes(2)];
    block[3] = 0x05; // vector 3, group 0: value 5
    block[16 + 3] = 0x70; // vector 19, group 1: value 7
    for place in 0..BLOCK {
        block[32 + 2 * place] = 10;
        block[32 + 2 * (BLOCK + place)] = 3;
    }
    let numbers = [60.0f32, 1.0, 0.0, 1.0].map(f32::to_le_bytes);
    block[32 + 4 * BLOCK..].copy_from_slice(numbers.as_flattened());
    let table: Vec<u8> = (0..32).collect();
    let list = CodeBlocks { bytes: &block, count: 20, next: &[] };
    let query = CodeQuery { table: &table, scale: 2.0, bias: 1.0, base: 40.0 };
    for kernels in levels() {
        let mut found = Vec::new();
        kernels.scan_codes(&list, &query, None, f32::INFINITY, &mut found);
        assert_eq!(found.len(), 20);
        let bound = |place: usize| found[place].bound;
        // Sums: 0 + 16 where nothing is set, 5 + 16, 0 + 23.
        assert_eq!(bound(0), 110.0 - 3.0 * 33.0);
        assert_eq!(bound(3), 110.0 - 3.0 * 43.0);
        assert_eq!(bound(19), 110.0 - 3.0 * 47.0);
    }
}

/// Code 0 is in the low half of byte 0; in a short run, the second half of the codes is in the high halves.
#[test]
fn four_bit_codes_lie_as_documented() {
    let mut codes = vec![0u8; 18];
    (codes[0], codes[15], codes[16], codes[17]) = (0x21, 0x43, 0x65, 0x87);
    let mut query = vec![0; 36];
    let places = [(0, 1), (16, 2), (15, 3), (31, 4), (32, 5), (34, 6), (33, 7), (35, 8)];
    for (place, code) in places {
        query.fill(0);
        query[place] = 1;
        for kernels in levels() {
            assert_eq!(kernels.dot_u4(&codes, &query), code, "place {place}");
        }
    }
}

#[test]
fn levels_agree_on_masks() {
    let mut next = numbers(5);
    for (words, count) in [(0, 5), (1, 1), (3, 16), (40, 31), (700, 32), (5000, 333)] {
        let mask: Vec<u64> = (0..words).map(|_| next() << 32 ^ next()).collect();
        // Inside, at the end, beyond it, and no row.
        let rows: Vec<[u8; 4]> = (0..count)
            .map(|place| match place % 5 {
                0..3 => (next() % (words as u64 * 64).max(1)) as u32,
                3 => words as u32 * 64 - u32::from(next().is_multiple_of(2) && words > 0),
                _ => [u32::MAX, 1 << 31, next() as u32][place % 3],
            })
            .map(u32::to_le_bytes)
            .collect();
        let mut expected = Vec::new();
        scalar().mask_words(&rows, &mask, &mut expected);
        for (place, row) in rows.iter().enumerate() {
            let row = u32::from_le_bytes(*row) as usize;
            let is_set = row < words * 64 && mask[row / 64] >> (row % 64) & 1 == 1;
            assert_eq!(expected[place / 32] >> (place % 32) & 1 == 1, is_set, "{row}");
        }
        for kernels in levels() {
            let mut found = Vec::new();
            kernels.mask_words(&rows, &mask, &mut found);
            assert_eq!(found, expected, "{}", kernels.level());
        }
    }
}

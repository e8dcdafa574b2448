//! Distance kernels over plain slices, one set per CPU level, chosen once at start.
//!
//! Slices of numbers in, numbers out: nothing here knows what a vector belongs to.
//!
//! # One summation order
//!
//! Floating point addition is not associative, so the order of a sum is part of its result. Every
//! level follows the same one, and therefore returns the same bits:
//!
//! ```text
//! both inputs are padded with +0.0 to a multiple of 32
//! lane[0..32] = +0.0
//! for each block of 32:  lane[i] = fma(x[i], y[i], lane[i])         one rounding per step
//! for w in 16, 8, 4, 2, 1:  lane[i] += lane[i + w]  for i < w       a fixed tree
//! result = lane[0]
//! ```
//!
//! The module `scalar` is that text as code: the specification that the other levels are tested
//! against. Results agree in every bit, except that a NaN (possible only when a sum overflows
//! to infinities of both signs) is a NaN at every level without a promise about its payload.
//! Subnormal numbers are computed, never flushed to zero.
//!
//! # Unsafe
//!
//! All `unsafe` of the workspace's arithmetic lives here, in two forms only: calling into a level
//! whose CPU features a [`Kernels`] value proves, and loading from memory that an array reference
//! or a mask bounds.

mod codes;
mod ints;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

pub use codes::{
    BLOCK, CodeBlocks, CodeQuery, FACTOR_BYTES, GROUP_BYTES, Survivor, TABLE_MAX, block_bytes,
};
use std::fmt;
use std::str::FromStr;

/// A set of CPU features that kernels are compiled for, in ascending order of speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain code without any CPU feature: the specification, correct everywhere and slow.
    Scalar,
    /// AVX2 and FMA: 8 lanes per register.
    Avx2,
    /// AVX-512 F, BW and VL: 16 lanes per register, masked tails.
    Avx512,
}

impl Level {
    /// Every level, slowest first.
    pub const ALL: [Level; 3] = [Level::Scalar, Level::Avx2, Level::Avx512];

    fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_supported(self) -> bool {
        match self {
            Level::Scalar => true,
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Level::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_supported(self) -> bool {
        self == Level::Scalar
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Reads the name that `Display` writes.
    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        Level::ALL.into_iter().find(|level| level.name() == name).ok_or(UnknownLevel)
    }
}

/// The text names no [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown CPU level: use scalar, avx2 or avx512")
    }
}

impl std::error::Error for UnknownLevel {}

/// The kernels of one level that this CPU has.
///
/// A value is the proof that the CPU supports its level: it is made by [`Kernels::detect`] or
/// [`Kernels::at`] only. Copy it freely.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// Invariant: `level.is_supported()`.
    level: Level,
}

/// Calls the one of three kernels that is for the level of `$self`.
macro_rules! at_level {
    ($self:ident, [$scalar:path, $avx2:path, $avx512:path] ( $($argument:expr),* )) => {
        match $self.level {
            Level::Scalar => $scalar($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                #[expect(unsafe_code, reason = "enters the level's CPU features")]
                // SAFETY: a Kernels of this level exists only if the CPU has AVX2 and FMA.
                unsafe { $avx2($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                #[expect(unsafe_code, reason = "enters the level's CPU features")]
                // SAFETY: a Kernels of this level exists only if the CPU has AVX-512 F, BW and VL.
                unsafe { $avx512($($argument),*) }
            }
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => unreachable!("a level that this CPU lacks"),
        }
    };
}

impl Kernels {
    /// The fastest level this CPU has.
    pub fn detect() -> Self {
        Level::ALL.into_iter().rev().find_map(Self::at).expect("the scalar level is everywhere")
    }

    /// The given level, or `None` if this CPU lacks it.
    pub fn at(level: Level) -> Option<Self> {
        level.is_supported().then_some(Self { level })
    }

    /// The level that these kernels are compiled for.
    pub fn level(self) -> Level {
        self.level
    }

    /// Inner product: the sum of `a[i] * b[i]`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of one dimension");
        at_level!(self, [scalar::dot, x86::avx2::dot, x86::avx512::dot](a, b))
    }

    /// Squared euclidean distance: the sum of `(a[i] - b[i])^2`, each difference rounded once.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn l2_squared(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of one dimension");
        at_level!(self, [scalar::l2_squared, x86::avx2::l2_squared, x86::avx512::l2_squared](a, b))
    }

    /// Squared euclidean norm: `dot(a, a)`.
    pub fn norm_squared(self, a: &[f32]) -> f32 {
        at_level!(self, [scalar::dot, x86::avx2::dot, x86::avx512::dot](a, a))
    }

    /// [`Kernels::dot`] of `query` with each row of the row-major matrix `rows`, which is
    /// `out.len()` rows of `query.len()` values.
    ///
    /// # Panics
    /// If `rows` is not of that shape.
    pub fn dot_rows(self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        assert_shape(query, rows, out);
        at_level!(
            self,
            [scalar::dot_rows, x86::avx2::dot_rows, x86::avx512::dot_rows](query, rows, out)
        );
    }

    /// [`Kernels::l2_squared`] of `query` with each row of the row-major matrix `rows`, which is
    /// `out.len()` rows of `query.len()` values.
    ///
    /// # Panics
    /// If `rows` is not of that shape.
    pub fn l2_squared_rows(self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        assert_shape(query, rows, out);
        at_level!(
            self,
            [scalar::l2_squared_rows, x86::avx2::l2_squared_rows, x86::avx512::l2_squared_rows](
                query, rows, out
            )
        );
    }

    /// Finds the vectors of `list` whose bound is below `threshold`, in order of place, and appends them
    /// to `survivors`. `allowed` has a word per block, a bit per place; blocks without an allowed
    /// place are not read.
    ///
    /// # Panics
    /// If the slices are not of the documented shapes.
    pub fn scan_codes(
        self,
        list: &CodeBlocks<'_>,
        query: &CodeQuery<'_>,
        allowed: Option<&[u32]>,
        threshold: f32,
        survivors: &mut Vec<Survivor>,
    ) {
        codes::assert_shapes(list, query, allowed);
        at_level!(
            self,
            [codes::scalar::scan_codes, x86::codes2::scan_codes, x86::codes512::scan_codes](
                list, query, allowed, threshold, survivors
            )
        );
    }

    /// Appends a word for each 32 of `rows`, little-endian row numbers: a bit per row, whether bit `row % 64` of word
    /// `row / 64` of `mask` is set. Rows beyond the mask are not.
    ///
    /// # Panics
    /// If the mask has more than 2^30 bits.
    pub fn mask_words(self, rows: &[[u8; 4]], mask: &[u64], words: &mut Vec<u32>) {
        codes::assert_mask(mask);
        at_level!(
            self,
            [codes::scalar::mask_words, x86::codes2::mask_words, x86::codes512::mask_words](
                rows, mask, words
            )
        );
    }

    /// The sum of `codes[i] * query[i]`. It is exact if 255 times the sum of all `|query[i]|` is below 2^31, and wraps around
    /// otherwise.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn dot_u8(self, codes: &[u8], query: &[i16]) -> i32 {
        assert_eq!(codes.len(), query.len(), "codes of one dimension");
        at_level!(
            self,
            [ints::scalar::dot_u8, x86::ints2::dot_u8, x86::ints512::dot_u8](codes, query)
        )
    }

    /// The same for codes of 4 bits, two to a byte; the crate's source shows their order. The query's
    /// length is even.
    ///
    /// # Panics
    /// If there are not half as many bytes as values.
    pub fn dot_u4(self, codes: &[u8], query: &[i16]) -> i32 {
        assert_eq!(codes.len() * 2, query.len(), "codes of one dimension");
        at_level!(
            self,
            [ints::scalar::dot_u4, x86::ints2::dot_u4, x86::ints512::dot_u4](codes, query)
        )
    }

    /// [`Kernels::dot_u8`] of `query` with each row of the row-major matrix `rows`, which is `out.len()` rows of
    /// `query.len()` codes.
    ///
    /// # Panics
    /// If `rows` is not of that shape.
    pub fn dot_u8_rows(self, query: &[i16], rows: &[u8], out: &mut [i32]) {
        assert_eq!(Some(rows.len()), query.len().checked_mul(out.len()), "rows x dimension codes");
        at_level!(
            self,
            [ints::scalar::dot_u8_rows, x86::ints2::dot_u8_rows, x86::ints512::dot_u8_rows](
                query, rows, out
            )
        );
    }

    /// Asks the CPU to bring `bytes` into its cache; a hint without any other effect.
    pub fn prefetch_bytes(self, bytes: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        x86::prefetch_bytes(bytes);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = bytes;
    }

    /// Asks the CPU to bring `row` into its cache; a hint without any other effect.
    pub fn prefetch(self, row: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        x86::prefetch(row);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = row;
    }
}

fn assert_shape(query: &[f32], rows: &[f32], out: &[f32]) {
    assert_eq!(Some(rows.len()), query.len().checked_mul(out.len()), "rows x dimension values");
}

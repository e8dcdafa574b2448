//! Distance kernels per CPU level over plain slices.
#![allow(clippy::unimplemented, reason = "signatures first")]
use std::fmt;
use std::str::FromStr;

/// A CPU level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level { /// Portable.
    Scalar, /// AVX2 and FMA.
    Avx2, /// AVX-512 F.
    Avx512 }

/// The text is not a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;
impl fmt::Display for UnknownLevel { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("not one of scalar, avx2, avx512") } }
impl std::error::Error for UnknownLevel {}
impl FromStr for Level { type Err = UnknownLevel; fn from_str(_: &str) -> Result<Self, UnknownLevel> { unimplemented!() } }
impl fmt::Display for Level { fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { unimplemented!() } }

/// The kernels of one level.
#[derive(Clone, Copy, Debug)]
pub struct Kernels { level: Level }
#[allow(missing_docs, unused_variables, reason = "signatures first")]
impl Kernels {
    pub fn detect() -> Self { Self { level: Level::Scalar } }
    pub fn at(level: Level) -> Option<Self> { unimplemented!() }
    pub fn level(self) -> Level { self.level }
    pub fn dot(self, a: &[f32], b: &[f32]) -> f32 { unimplemented!() }
    pub fn l2_squared(self, a: &[f32], b: &[f32]) -> f32 { unimplemented!() }
    pub fn norm_squared(self, a: &[f32]) -> f32 { unimplemented!() }
    pub fn dot_rows(self, query: &[f32], rows: &[f32], out: &mut [f32]) { unimplemented!() }
    pub fn l2_squared_rows(self, query: &[f32], rows: &[f32], out: &mut [f32]) { unimplemented!() }
    pub fn prefetch(self, row: &[f32]) {}
}

//! Reads the two-dimensional arrays of the real data sets.

use std::fs;
use std::path::Path;

use crate::Outcome;

/// A row-major array of `rows` x `columns` numbers.
pub(crate) struct Array {
    pub(crate) columns: usize,
    pub(crate) values: Vec<f32>,
}

impl Array {
    /// Reads a little-endian float32 `.npy` file of version 1, C order.
    ///
    /// # Errors
    /// When it is missing or of another kind.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        parse(&bytes)
            .ok_or_else(|| format!("{} is not a two-dimensional float32 .npy", path.display()))
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    pub(crate) fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.columns)
    }
}

fn parse(bytes: &[u8]) -> Option<Array> {
    let rest = bytes.strip_prefix(b"\x93NUMPY\x01\x00")?;
    let length = usize::from(u16::from_le_bytes([*rest.first()?, *rest.get(1)?]));
    let header = std::str::from_utf8(rest.get(2..2 + length)?).ok()?;
    let body = rest.get(2 + length..)?;
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return None;
    }
    let shape = header.split_once('(')?.1.split_once(')')?.0;
    let mut sizes = shape.split(',').map_while(|size| size.trim().parse::<usize>().ok());
    let (rows, columns) = (sizes.next()?, sizes.next()?);
    let values: Vec<f32> = body
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    (values.len() == rows * columns).then_some(Array { columns, values })
}

//! What the records of an index look like.

use crate::decode::{Corrupt, Input, write_length, write_text};

/// How near two vectors are. Smaller distances are nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The straight-line distance.
    Euclidean,
    /// One minus the cosine of the angle: 0 for one direction, 2 for opposite ones.
    Cosine,
    /// The negated inner product.
    InnerProduct,
}

/// A named vector of every record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorField {
    /// Opaque to this crate.
    pub name: Box<str>,
    /// Values per vector, at least 1.
    pub dimension: u32,
    /// The metric that queries over this field use.
    pub metric: Metric,
}

/// The vector fields of an index and the metadata keys that filters may not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// 1 to 3 fields.
    pub vector_fields: Vec<VectorField>,
    /// Keys that are stored with the metadata only: they never become [`crate::Attributes`].
    pub non_filterable: Vec<Box<str>>,
}

/// The most vector fields a schema may have.
pub const VECTOR_FIELDS_MAX: usize = 3;

const VERSION: u8 = 1;

impl Schema {
    /// Appends the encoding that [`Schema::decode`] reads.
    ///
    /// ```text
    /// u8 version = 1
    /// length fields, each:  text name, u32 dimension, u8 metric (0 euclidean, 1 cosine, 2 inner product)
    /// length keys, each:    text key
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        write_length(self.vector_fields.len(), out);
        for field in &self.vector_fields {
            field.encode(out);
        }
        write_length(self.non_filterable.len(), out);
        for key in &self.non_filterable {
            write_text(key, out);
        }
    }

    /// Reads one encoding, which must be the whole of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut input = Input::new("schema", bytes);
        if input.u8()? != VERSION {
            return Err(input.corrupt("version"));
        }
        let fields = input.item_count()?;
        if !(1..=VECTOR_FIELDS_MAX).contains(&fields) {
            return Err(input.corrupt("number of vector fields"));
        }
        let vector_fields =
            (0..fields).map(|_| VectorField::decode(&mut input)).collect::<Result<_, _>>()?;
        let keys = input.item_count()?;
        let non_filterable =
            (0..keys).map(|_| Ok(input.text()?.into())).collect::<Result<_, _>>()?;
        input.end()?;
        Ok(Self { vector_fields, non_filterable })
    }
}

impl VectorField {
    fn encode(&self, out: &mut Vec<u8>) {
        write_text(&self.name, out);
        out.extend_from_slice(&self.dimension.to_le_bytes());
        out.push(match self.metric {
            Metric::Euclidean => 0,
            Metric::Cosine => 1,
            Metric::InnerProduct => 2,
        });
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Corrupt> {
        let name = input.text()?.into();
        let dimension = input.u32()?;
        if dimension == 0 {
            return Err(input.corrupt("dimension is zero"));
        }
        let metric = match input.u8()? {
            0 => Metric::Euclidean,
            1 => Metric::Cosine,
            2 => Metric::InnerProduct,
            _ => return Err(input.corrupt("metric")),
        };
        Ok(Self { name, dimension, metric })
    }
}

#[cfg(test)]
mod tests {
    use super::{Metric, Schema, VectorField};
    use crate::testing::metric;
    use proptest::prelude::*;

    fn schema() -> impl Strategy<Value = Schema> {
        let field = (".{0,8}", 1..5000u32, metric()).prop_map(|(name, dimension, metric)| {
            VectorField { name: name.into(), dimension, metric }
        });
        let keys = prop::collection::vec(".{0,8}".prop_map(Box::from), 0..5);
        (prop::collection::vec(field, 1..4), keys)
            .prop_map(|(vector_fields, non_filterable)| Schema { vector_fields, non_filterable })
    }

    proptest! {
        #[test]
        fn encoding_round_trips(schema in schema()) {
            let mut bytes = Vec::new();
            schema.encode(&mut bytes);
            prop_assert_eq!(Schema::decode(&bytes), Ok(schema));
            for cut in 0..bytes.len() {
                prop_assert!(Schema::decode(&bytes[..cut]).is_err(), "cut at {}", cut);
            }
        }
    }

    #[test]
    fn schemas_without_fields_or_dimensions_are_corrupt() {
        let encoded = |fields: Vec<VectorField>| {
            let mut bytes = Vec::new();
            Schema { vector_fields: fields, non_filterable: Vec::new() }.encode(&mut bytes);
            bytes
        };
        let field =
            |dimension| VectorField { name: "v".into(), dimension, metric: Metric::Euclidean };
        assert!(Schema::decode(&encoded(Vec::new())).is_err());
        assert!(Schema::decode(&encoded(vec![field(0)])).is_err());
        assert!(Schema::decode(&encoded(vec![field(1); 4])).is_err());
        assert!(Schema::decode(&encoded(vec![field(1); 3])).is_ok());
    }
}

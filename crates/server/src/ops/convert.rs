//! Between the wire's types and the engine's: the same meaning on both sides, no rule of either.

use vb_api::oss::request::{self, IndexShape, PutVectorIndex};
use vb_api::oss::response::Explanation;
use vb_api::oss::{self, Metric};
use vb_engine::{Explain, IndexSettings, Precision};
use vb_search::{Attributes, Filter, Number, Scalar, Schema, Test, Value, VectorField};

/// Name of the one vector field of a Standard index.
const STANDARD_FIELD: &str = "float32";

/// What the engine keeps for us with a Standard index; another dialect or mode writes another.
const STANDARD: &[u8] = b"oss/standard/1";

/// What a Standard index is created with.
pub(crate) fn index_settings(request: &PutVectorIndex) -> IndexSettings {
    let field = VectorField {
        name: STANDARD_FIELD.into(),
        dimension: request.dimension,
        metric: match request.metric {
            Metric::Euclidean => vb_search::Metric::Euclidean,
            Metric::Cosine => vb_search::Metric::Cosine,
        },
    };
    let non_filterable = request.non_filterable.clone();
    let schema = Schema { vector_fields: vec![field], non_filterable };
    IndexSettings { schema, wire: bytes::Bytes::from_static(STANDARD) }
}

/// What requests on a Standard index are checked against; `None` for an index of another kind.
pub(crate) fn shape(settings: &IndexSettings) -> Option<IndexShape<'_>> {
    let [field] = settings.schema.vector_fields.as_slice() else { return None };
    let metric = match field.metric {
        vb_search::Metric::Euclidean => Metric::Euclidean,
        vb_search::Metric::Cosine => Metric::Cosine,
        vb_search::Metric::InnerProduct => return None,
    };
    let non_filterable = settings.schema.non_filterable.as_slice();
    let shape = IndexShape { dimension: field.dimension, metric, non_filterable };
    (settings.wire == STANDARD).then_some(shape)
}

/// How sure a query is to be.
pub(crate) fn precision(precision: request::Precision) -> Precision {
    match precision {
        request::Precision::Usual => Precision::Usual,
        request::Precision::Recall(share) => Precision::Recall(share),
        request::Precision::Exact => Precision::Exact,
    }
}

/// How an answer was found.
pub(crate) fn explanation(explain: &Explain) -> Explanation {
    let count = |count: usize| count as u64;
    Explanation {
        segments: [
            explain.segments_probed,
            explain.segments_matched,
            explain.segments_scanned,
            explain.segments_skipped,
        ]
        .map(count),
        rows_scanned: count(explain.rows_scanned),
        lists: [explain.lists, explain.lists_skipped].map(count),
        codes: [explain.codes, explain.row_codes].map(count),
        candidates: count(explain.candidates),
        bytes: explain.bytes,
        reads: [count(explain.waves), count(explain.reads), explain.bytes_read],
        recall: explain.recall,
    }
}

/// The filterable metadata of one record.
pub(crate) fn attributes(list: Vec<oss::Attribute>) -> Attributes {
    let pairs = list.into_iter().map(|a| (a.key, value(a.value))).collect();
    Attributes::from_pairs(pairs)
}

fn value(value: oss::Value) -> Value {
    match value {
        oss::Value::One(one) => Value::One(scalar(one)),
        oss::Value::Many(many) => Value::Many(many.into_iter().map(scalar).collect()),
    }
}

fn scalar(scalar: oss::Scalar) -> Scalar {
    match scalar {
        oss::Scalar::String(text) => Scalar::String(text),
        oss::Scalar::Integer(number) => Scalar::Integer(number),
        oss::Scalar::Float(number) => Scalar::Float(number),
        oss::Scalar::Bool(truth) => Scalar::Bool(truth),
    }
}

fn number(number: oss::Number) -> Number {
    match number {
        oss::Number::Integer(number) => Number::Integer(number),
        oss::Number::Float(number) => Number::Float(number),
    }
}

/// A filter; its nesting is bounded by the wire's limit.
pub(crate) fn filter(wire: oss::Filter) -> Filter {
    match wire {
        oss::Filter::All => Filter::All,
        oss::Filter::And(parts) => Filter::And(parts.into_iter().map(filter).collect()),
        oss::Filter::Or(parts) => Filter::Or(parts.into_iter().map(filter).collect()),
        oss::Filter::Test { key, test: condition } => Filter::Test { key, test: test(condition) },
    }
}

fn test(test: oss::Test) -> Test {
    let scalars = |list: Vec<oss::Scalar>| list.into_iter().map(scalar).collect();
    match test {
        oss::Test::Eq(value) => Test::Eq(scalar(value)),
        oss::Test::Ne(value) => Test::Ne(scalar(value)),
        oss::Test::Gt(bound) => Test::Gt(number(bound)),
        oss::Test::Gte(bound) => Test::Gte(number(bound)),
        oss::Test::Lt(bound) => Test::Lt(number(bound)),
        oss::Test::Lte(bound) => Test::Lte(number(bound)),
        oss::Test::In(list) => Test::In(scalars(list)),
        oss::Test::NotIn(list) => Test::NotIn(scalars(list)),
        oss::Test::Exists(present) => Test::Exists(present),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_index_reads_back_as_it_was_asked_for() {
        let request = PutVectorIndex {
            index: oss::IndexName::parse("i1").unwrap(),
            dimension: 7,
            metric: Metric::Cosine,
            non_filterable: vec!["note".into()],
        };
        let mut settings = index_settings(&request);
        let shape = shape(&settings).unwrap();
        assert_eq!((shape.dimension, shape.metric), (7, Metric::Cosine));
        assert_eq!(shape.non_filterable, ["note".into()]);
        settings.wire = bytes::Bytes::from_static(b"other");
        assert!(super::shape(&settings).is_none());
    }
}

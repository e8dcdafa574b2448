//! What several tests draw their values from: small pools, so that values meet.

use crate::{Attributes, Filter, Metric, Number, Scalar, Test, Value};
use proptest::prelude::*;
use vb_kernel::{Kernels, Level};

pub(crate) fn kernels() -> impl Strategy<Value = Kernels> {
    let levels: Vec<Kernels> = Level::ALL.into_iter().filter_map(Kernels::at).collect();
    prop::sample::select(levels)
}

pub(crate) fn metric() -> impl Strategy<Value = Metric> {
    prop::sample::select(vec![Metric::Euclidean, Metric::Cosine, Metric::InnerProduct])
}

fn integer() -> impl Strategy<Value = i64> {
    const TWO_TO_53: i64 = 1 << 53;
    prop_oneof![
        4 => -2i64..4,
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]),
        1 => TWO_TO_53 - 1..TWO_TO_53 + 3,
    ]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-4i32..8).prop_map(|halves| f64::from(halves) / 2.0),
        1 => prop::sample::select(vec![-0.0, 0.0, 1e39, -1e39, 1e308, 5e-324, f64::INFINITY, f64::NEG_INFINITY]),
        2 => integer().prop_map(|value| value as f64),
    ]
}

fn string() -> impl Strategy<Value = Box<str>> {
    prop::sample::select(vec!["", "1", "a", "ab", "b", "true", "\u{e9}", "\u{1F600}"])
        .prop_map(Box::from)
}

pub(crate) fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        integer().prop_map(Scalar::Integer),
        float().prop_map(Scalar::Float),
        string().prop_map(Scalar::String),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

pub(crate) fn number() -> impl Strategy<Value = Number> {
    prop_oneof![integer().prop_map(Number::Integer), float().prop_map(Number::Float)]
}

fn key() -> impl Strategy<Value = Box<str>> {
    prop::sample::select(vec!["", "a", "b", "key"]).prop_map(Box::from)
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => scalar().prop_map(Value::One),
        1 => prop::collection::vec(scalar(), 0..5).prop_map(|scalars| Value::Many(scalars.into())),
    ]
}

pub(crate) fn attributes() -> impl Strategy<Value = Attributes> {
    prop::collection::vec((key(), value()), 0..5).prop_map(Attributes::from_pairs)
}

pub(crate) fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        scalar().prop_map(Test::Eq),
        scalar().prop_map(Test::Ne),
        number().prop_map(Test::Gt),
        number().prop_map(Test::Gte),
        number().prop_map(Test::Lt),
        number().prop_map(Test::Lte),
        prop::collection::vec(scalar(), 0..6).prop_map(Test::In),
        prop::collection::vec(scalar(), 0..6).prop_map(Test::NotIn),
        any::<bool>().prop_map(Test::Exists),
        Just(Test::Gt(Number::Float(f64::NAN))),
        Just(Test::Ne(Scalar::Float(f64::NAN))),
    ]
}

pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let known_or_not = prop_oneof![8 => key(), 1 => Just(Box::from("unknown"))];
    let leaf = prop_oneof![
        1 => Just(Filter::All),
        12 => (known_or_not, test()).prop_map(|(key, test)| Filter::Test { key, test }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let filters = prop::collection::vec(inner, 0..4);
        prop_oneof![filters.clone().prop_map(Filter::And), filters.prop_map(Filter::Or)]
    })
}

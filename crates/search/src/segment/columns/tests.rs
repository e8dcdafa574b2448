//! Columns answer filters exactly as rows do.

use super::{AttributesBuilder, Columns};
use crate::testing::{attributes, filter, test};
use crate::{Attributes, Filter, Number, Scalar, Test, Value};
use bytes::Bytes;
use proptest::prelude::*;

fn columns(rows: &[Attributes]) -> Columns {
    let mut builder = AttributesBuilder::default();
    rows.iter().for_each(|row| builder.push(row));
    Columns::open(rows.len() as u32, &Bytes::from(builder.finish())).expect("valid")
}

fn matching(rows: &[Attributes], filter: &Filter) -> Vec<u32> {
    (0..).zip(rows).filter(|(_, row)| filter.matches(row)).map(|(doc, _)| doc).collect()
}

fn selected(columns: &Columns, filter: &Filter) -> Vec<u32> {
    columns.select(filter).iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn columns_agree_with_rows(
        rows in prop::collection::vec(attributes(), 0..40),
        filters in prop::collection::vec(filter(), 1..8),
    ) {
        let columns = columns(&rows);
        for filter in &filters {
            prop_assert_eq!(selected(&columns, filter), matching(&rows, filter), "{:?}", filter);
        }
    }

    #[test]
    fn attributes_given_back_answer_alike(
        rows in prop::collection::vec(attributes(), 0..20),
        filters in prop::collection::vec(filter(), 1..8),
    ) {
        let back = columns(&rows).attributes();
        prop_assert_eq!(back.len(), rows.len());
        for filter in &filters {
            prop_assert_eq!(matching(&back, filter), matching(&rows, filter), "{:?}", filter);
        }
    }
}

/// Rows whose key `v` has thousands of distinct values of all types: columns kept as runs.
fn many_values(seed: u64) -> Vec<Attributes> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 20
    };
    let mut scalar = move || match next() % 5 {
        0 => Scalar::String(format!("s{}", next() % 900).into()),
        1 | 2 => Scalar::Integer((next() % 1200) as i64 - 600),
        3 => Scalar::Float((next() % 2400) as f64 / 2.0 - 600.0),
        _ => Scalar::Bool(next() % 2 == 0),
    };
    let value = move |doc: u32| match doc % 7 {
        0 => Value::Many((0..doc % 5).map(|_| scalar()).collect()),
        _ => Value::One(scalar()),
    };
    let mut value = value;
    let row = move |doc: u32| match doc % 11 {
        0 => Attributes::default(),
        _ => Attributes::from_pairs(vec![("v".into(), value(doc))]),
    };
    (0..9000).map(row).collect()
}

#[test]
fn columns_of_many_values_agree_with_rows() {
    let rows = many_values(7);
    let columns = columns(&rows);
    let distinct = columns.column("v").expect("the key").distinct_values();
    assert!(distinct > 2000, "runs are meant to be tested, not {distinct} bitmaps");
    for step in -13..13 {
        let (integer, float) = (step * 50, step as f64 * 47.5);
        for test in [
            Test::Eq(Scalar::Integer(integer)),
            Test::Ne(Scalar::Float(float)),
            Test::Gt(Number::Integer(integer)),
            Test::Gte(Number::Float(float)),
            Test::Lt(Number::Float(float)),
            Test::Lte(Number::Integer(integer)),
            Test::In(vec![
                Scalar::Integer(integer),
                Scalar::Float(float),
                Scalar::String(format!("s{}", integer + 600).into()),
                Scalar::Bool(step % 2 == 0),
            ]),
            Test::NotIn(vec![Scalar::Float(integer as f64), Scalar::Bool(true)]),
        ] {
            let filter = Filter::Test { key: "v".into(), test };
            assert_eq!(selected(&columns, &filter), matching(&rows, &filter), "{filter:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn random_tests_agree_over_many_values(
        seed in any::<u64>(),
        tests in prop::collection::vec(test(), 12),
    ) {
        let rows = many_values(seed);
        let columns = columns(&rows);
        for test in tests {
            let filter = Filter::Test { key: "v".into(), test };
            prop_assert_eq!(selected(&columns, &filter), matching(&rows, &filter), "{:?}", filter);
        }
    }
}

#[test]
fn numbers_beyond_float_precision_stay_apart() {
    let one = |scalar| Attributes::from_pairs(vec![("n".into(), Value::One(scalar))]);
    let rows = [
        one(Scalar::Integer((1 << 53) + 1)),
        one(Scalar::Integer(1 << 53)),
        one(Scalar::Float(9_007_199_254_740_992.0)),
        one(Scalar::Integer(i64::MAX)),
        one(Scalar::Float(9_223_372_036_854_775_808.0)),
    ];
    let columns = columns(&rows);
    let check = |test: Test, expected: &[u32]| {
        let filter = Filter::Test { key: "n".into(), test };
        assert_eq!(selected(&columns, &filter), expected, "{filter:?}");
        assert_eq!(matching(&rows, &filter), expected, "{filter:?}");
    };
    check(Test::Eq(Scalar::Integer(1 << 53)), &[1, 2]);
    check(Test::Eq(Scalar::Integer((1 << 53) + 1)), &[0]);
    check(Test::Gt(Number::Float(9_007_199_254_740_992.0)), &[0, 3, 4]);
    check(Test::Gt(Number::Integer(i64::MAX)), &[4]);
    check(Test::Lt(Number::Float(9_223_372_036_854_775_808.0)), &[0, 1, 2, 3]);
}

//! Columns answer filters exactly as rows do.

use super::{
    AttributeSections, AttributesBuilder, Block, Blocks, Columns, Heads, NumberRange, Pick,
    open_all,
};
use crate::testing::{attributes, filter, test};
use crate::{Attributes, Filter, Number, Scalar, Test, Value};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::sync::Arc;

fn sections(rows: &[Attributes]) -> AttributeSections {
    let mut builder = AttributesBuilder::default();
    rows.iter().for_each(|row| builder.push(row));
    builder.sections()
}

/// Columns of which a filter sees no more than the blocks it asked for.
struct Table {
    heads: Heads,
    blocks: Arc<[Arc<Block>]>,
    asked: BTreeSet<u32>,
}

impl Table {
    fn columns(&mut self, filter: &Filter) -> Columns<'_> {
        self.asked = self.heads.parts(filter);
        Columns { heads: &self.heads, blocks: self }
    }

    fn select(&mut self, filter: &Filter) -> RoaringBitmap {
        self.columns(filter).select(filter)
    }
}

impl Blocks for Table {
    fn block(&self, number: u32) -> &Block {
        assert!(self.asked.contains(&number), "a block that was asked for");
        &self.blocks[number as usize]
    }
}

fn columns(rows: &[Attributes]) -> Table {
    let (heads, blocks) = open_all(rows.len() as u32, sections(rows)).expect("valid");
    Table { heads, blocks, asked: BTreeSet::new() }
}

fn matching(rows: &[Attributes], filter: &Filter) -> Vec<u32> {
    (0..).zip(rows).filter(|(_, row)| filter.matches(row)).map(|(doc, _)| doc).collect()
}

fn selected(columns: &mut Table, filter: &Filter) -> Vec<u32> {
    columns.select(filter).iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn columns_agree_with_rows(
        rows in prop::collection::vec(attributes(), 0..40),
        filters in prop::collection::vec(filter(), 1..8),
    ) {
        let mut columns = columns(&rows);
        for filter in &filters {
            prop_assert_eq!(selected(&mut columns, filter), matching(&rows, filter), "{:?}", filter);
        }
    }

    #[test]
    fn attributes_given_back_answer_alike(
        rows in prop::collection::vec(attributes(), 0..20),
        filters in prop::collection::vec(filter(), 1..8),
    ) {
        let mut table = columns(&rows);
        table.asked = (0..table.heads.count()).collect();
        let back = Columns { heads: &table.heads, blocks: &table }.attributes();
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
    let mut columns = columns(&rows);
    assert!(
        columns.heads.count() > 8,
        "several blocks are meant to be tested, not {}",
        columns.heads.count()
    );
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
            assert_eq!(selected(&mut columns, &filter), matching(&rows, &filter), "{filter:?}");
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
        let mut columns = columns(&rows);
        for test in tests {
            let filter = Filter::Test { key: "v".into(), test };
            prop_assert_eq!(selected(&mut columns, &filter), matching(&rows, &filter), "{:?}", filter);
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
    let mut columns = columns(&rows);
    let mut check = |test: Test, expected: &[u32]| {
        let filter = Filter::Test { key: "n".into(), test };
        assert_eq!(selected(&mut columns, &filter), expected, "{filter:?}");
        assert_eq!(matching(&rows, &filter), expected, "{filter:?}");
    };
    check(Test::Eq(Scalar::Integer(1 << 53)), &[1, 2]);
    check(Test::Eq(Scalar::Integer((1 << 53) + 1)), &[0]);
    check(Test::Gt(Number::Float(9_007_199_254_740_992.0)), &[0, 3, 4]);
    check(Test::Gt(Number::Integer(i64::MAX)), &[4]);
    check(Test::Lt(Number::Float(9_223_372_036_854_775_808.0)), &[0, 1, 2, 3]);
}

/// Numbers of one document each, a word in three, and a text in one of a hundred.
fn usual(count: u32) -> Vec<Attributes> {
    let text = |text: String| Value::One(Scalar::String(text.into()));
    let row = |doc: u32| {
        let mut pairs = vec![
            ("number".into(), Value::One(Scalar::Integer(i64::from(doc * 7919 % count)))),
            ("half".into(), Value::One(Scalar::Float(f64::from(doc) / 2.0))),
            ("word".into(), text(["alpha", "beta", "gamma"][doc as usize % 3].into())),
        ];
        if doc.is_multiple_of(100) {
            pairs
                .push(("text".into(), text(format!("{}-{}", "long".repeat(9), doc * 31 % 10_007))));
        }
        Attributes::from_pairs(pairs)
    };
    (0..count).map(row).collect()
}

#[test]
fn a_test_reads_little_of_a_column() {
    let rows = usual(20_000);
    let sections = sections(&rows);
    assert!(sections.directory.len() < 6_000, "directory of {} bytes", sections.directory.len());
    assert!(sections.blocks.len() < 320_000, "blocks of {} bytes", sections.blocks.len());
    let mut columns = columns(&rows);
    let one = |key: &str, test| Filter::Test { key: key.into(), test };
    let text = |text: &str| Scalar::String(text.into());
    let some_text = text(&format!("{}-{}", "long".repeat(9), 3100));
    for (filter, blocks_max, docs) in [
        (one("number", Test::Eq(Scalar::Integer(77))), 2, 1),
        (one("number", Test::Lt(Number::Integer(200))), 1, 200),
        (one("number", Test::Gte(Number::Float(19_800.0))), 2, 200),
        (one("half", Test::Eq(Scalar::Integer(77))), 2, 1),
        (one("word", Test::Eq(text("beta"))), 1, 6_667),
        (one("word", Test::Eq(text("bet"))), 0, 0),
        (one("word", Test::Ne(text("beta"))), 1, 13_333),
        (one("text", Test::Exists(true)), 1, 200),
        (one("text", Test::Eq(some_text)), 1, 1),
        (one("missing", Test::Exists(false)), 0, 20_000),
    ] {
        let found = columns.select(&filter);
        assert_eq!(found.len(), docs, "{filter:?}");
        assert_eq!(found.iter().collect::<Vec<_>>(), matching(&rows, &filter), "{filter:?}");
        assert!(columns.asked.len() <= blocks_max, "{filter:?} reads {:?}", columns.asked);
        let estimate = columns.heads.estimate(&filter) * 20_000.0;
        let (least, most) = (docs as f64 / 3.0 - 1.0, 3.0 * docs as f64 + 600.0);
        assert!((least..=most).contains(&estimate), "{filter:?}: about {estimate}");
    }
}

#[test]
fn wide_ranges_go_by_the_other_side_where_each_document_has_one_number() {
    let rows = usual(20_000);
    let columns = columns(&rows);
    let blocks = |key: &str, bound, range| {
        let pick = Pick::Side(Number::Integer(bound), range);
        columns.heads.column(key).expect("the key").lookup(pick).parts().count()
    };
    let few = blocks("number", 1_000, NumberRange::Lt);
    assert!(few < 4, "{few} blocks");
    assert_eq!(blocks("number", 1_000, NumberRange::Gte), few);
    assert!(blocks("number", 10_000, NumberRange::Gt) > 2 * few);
    let twice = |n| Value::Many([Scalar::Integer(n), Scalar::Integer(n + 1)].into());
    let arrays = |doc: u32| match doc % 2 {
        0 => Attributes::from_pairs(vec![("n".into(), twice(i64::from(doc)))]),
        _ => Attributes::from_pairs(vec![("n".into(), Value::Many([].into()))]),
    };
    let rows: Vec<Attributes> = (0..5_000).map(arrays).collect();
    let mut columns = self::columns(&rows);
    for bound in [-1, 0, 1, 2_500, 4_999, 5_000] {
        for test in [Test::Gt(Number::Integer(bound)), Test::Lte(Number::Integer(bound))] {
            let filter = Filter::Test { key: "n".into(), test };
            assert_eq!(selected(&mut columns, &filter), matching(&rows, &filter), "{filter:?}");
        }
    }
}

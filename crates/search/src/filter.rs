//! Which records a request asks for.

mod rows;

pub use rows::RowFilter;

use crate::attributes::{Attributes, Number, Scalar, Value};
use std::cmp::Ordering;

/// A condition on the attributes of a record.
///
/// [`Filter::matches`] is its meaning; a [`RowFilter`] answers the same for many records one by one,
/// and the columns of a segment for all documents at once ([`crate::Segment::select`]). All recurse
/// as deep as the filter nests, so whoever parses filters bounds their depth.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every record.
    All,
    /// All of them; an empty list means every record.
    And(Vec<Filter>),
    /// At least one of them; an empty list means no record.
    Or(Vec<Filter>),
    /// The value of one key.
    Test {
        /// The metadata key.
        key: Box<str>,
        /// What is asked of its value.
        test: Test,
    },
}

/// A question about the value of one key. A record that lacks the key answers yes to `Ne`, `NotIn`
/// and `Exists(false)` only. Of an array, `Eq`, `In` and the ranges ask for any element.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Equal to it.
    Eq(Scalar),
    /// Not `Eq`.
    Ne(Scalar),
    /// A number greater than it.
    Gt(Number),
    /// A number greater than or equal to it.
    Gte(Number),
    /// A number less than it.
    Lt(Number),
    /// A number less than or equal to it.
    Lte(Number),
    /// Equal to one of them.
    In(Vec<Scalar>),
    /// Not `In`.
    NotIn(Vec<Scalar>),
    /// Whether the key is present.
    Exists(bool),
}

impl Filter {
    /// How many tests there are.
    pub fn tests(&self) -> usize {
        match self {
            Filter::All => 0,
            Filter::And(filters) | Filter::Or(filters) => filters.iter().map(Filter::tests).sum(),
            Filter::Test { .. } => 1,
        }
    }

    /// Whether a record with these attributes is asked for.
    pub fn matches(&self, attributes: &Attributes) -> bool {
        match self {
            Filter::All => true,
            Filter::And(filters) => filters.iter().all(|filter| filter.matches(attributes)),
            Filter::Or(filters) => filters.iter().any(|filter| filter.matches(attributes)),
            Filter::Test { key, test } => test.matches(attributes.get(key)),
        }
    }
}

impl Test {
    fn matches(&self, value: Option<&Value>) -> bool {
        let scalars = value.map_or(&[][..], Value::scalars);
        match self {
            Test::Eq(operand) => scalars.iter().any(|scalar| scalar.equals(operand)),
            Test::Ne(operand) => !scalars.iter().any(|scalar| scalar.equals(operand)),
            Test::In(operands) => contains_any(scalars, operands),
            Test::NotIn(operands) => !contains_any(scalars, operands),
            Test::Gt(bound) => any_ordered(scalars, *bound, Ordering::is_gt),
            Test::Gte(bound) => any_ordered(scalars, *bound, Ordering::is_ge),
            Test::Lt(bound) => any_ordered(scalars, *bound, Ordering::is_lt),
            Test::Lte(bound) => any_ordered(scalars, *bound, Ordering::is_le),
            Test::Exists(present) => value.is_some() == *present,
        }
    }
}

fn contains_any(scalars: &[Scalar], operands: &[Scalar]) -> bool {
    scalars.iter().any(|scalar| operands.iter().any(|operand| scalar.equals(operand)))
}

fn any_ordered(scalars: &[Scalar], bound: Number, wanted: fn(Ordering) -> bool) -> bool {
    let numbers = scalars.iter().filter_map(Scalar::number);
    numbers.filter_map(|number| number.compare(bound)).any(wanted)
}

#[cfg(test)]
mod tests {
    use super::{Filter, Test};
    use crate::attributes::{Attributes, Number, Scalar, Value};

    fn attributes() -> Attributes {
        Attributes::from_pairs(vec![
            ("city".into(), Value::One(Scalar::String("hangzhou".into()))),
            ("year".into(), Value::One(Scalar::Integer(2020))),
            ("tags".into(), Value::Many([Scalar::String("a".into()), Scalar::Float(2.5)].into())),
            ("none".into(), Value::Many([].into())),
        ])
    }

    fn check(key: &str, test: Test, expected: bool) {
        let filter = Filter::Test { key: key.into(), test };
        assert_eq!(filter.matches(&attributes()), expected, "{filter:?}");
    }

    fn text(text: &str) -> Scalar {
        Scalar::String(text.into())
    }

    #[test]
    fn tests_of_single_values() {
        check("city", Test::Eq(text("hangzhou")), true);
        check("city", Test::Ne(text("hangzhou")), false);
        check("year", Test::Eq(Scalar::Float(2020.0)), true);
        check("year", Test::Eq(text("2020")), false);
        check("year", Test::Gt(Number::Float(2019.5)), true);
        check("year", Test::Gte(Number::Integer(2020)), true);
        check("year", Test::Lt(Number::Integer(2020)), false);
        check("year", Test::Lte(Number::Float(2020.0)), true);
        check("city", Test::Gt(Number::Integer(0)), false);
        check("city", Test::In(vec![Scalar::Integer(1), text("hangzhou")]), true);
        check("city", Test::NotIn(vec![text("beijing")]), true);
    }

    #[test]
    fn tests_of_arrays_ask_for_any_element() {
        check("tags", Test::Eq(text("a")), true);
        check("tags", Test::Ne(text("a")), false);
        check("tags", Test::Ne(text("b")), true);
        check("tags", Test::Lt(Number::Integer(3)), true);
        check("tags", Test::In(vec![text("b"), Scalar::Float(2.5)]), true);
        check("tags", Test::NotIn(vec![text("b")]), true);
    }

    #[test]
    fn tests_of_absent_keys_and_empty_arrays() {
        for key in ["absent", "none"] {
            check(key, Test::Eq(text("a")), false);
            check(key, Test::Ne(text("a")), true);
            check(key, Test::In(vec![text("a")]), false);
            check(key, Test::NotIn(vec![text("a")]), true);
            check(key, Test::Gt(Number::Integer(0)), false);
            check(key, Test::Exists(true), key == "none");
            check(key, Test::Exists(false), key == "absent");
        }
    }

    #[test]
    fn connectives() {
        let (yes, no) = (Filter::All, Filter::Or(Vec::new()));
        let matches = |filter: &Filter| filter.matches(&attributes());
        assert!(matches(&yes) && !matches(&no));
        assert!(matches(&Filter::And(Vec::new())));
        assert!(matches(&Filter::And(vec![yes.clone(), yes.clone()])));
        assert!(!matches(&Filter::And(vec![yes.clone(), no.clone()])));
        assert!(matches(&Filter::Or(vec![no.clone(), yes])));
        assert!(!matches(&Filter::Or(vec![no.clone(), no])));
    }
}

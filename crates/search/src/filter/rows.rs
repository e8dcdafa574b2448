//! A filter made ready to be asked about many records one by one.
//!
//! [`Filter::matches`] looks at every operand for every record. Here operands are sorted once, and
//! conditions on one key that stand side by side are joined, so that a record costs a logarithm of
//! what the filter lists:
//!
//! ```text
//! in an or:    = and $in         one set of values       in an and:  != and $nin
//! in both:     > and > (and so on)  the bound that decides
//! ```
//!
//! Joining bounds is right for arrays, too: some element is above a and some element is above b
//! exactly if some element, the largest, is above both.

use super::{Filter, Test};
use crate::attributes::{Attributes, Number, Scalar};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A filter for records one by one. Answers as [`Filter::matches`] does, faster.
#[derive(Debug)]
pub struct RowFilter<'a>(Node<'a>);

#[derive(Debug)]
enum Node<'a> {
    All,
    And(Vec<Node<'a>>),
    Or(Vec<Node<'a>>),
    Test {
        key: &'a str,
        test: &'a Test,
    },
    /// Whether any value is in the set must be `wanted`.
    Among {
        key: &'a str,
        set: ScalarSet<'a>,
        wanted: bool,
    },
}

impl<'a> RowFilter<'a> {
    /// Sorts the operands of the filter.
    pub fn new(filter: &'a Filter) -> Self {
        Self(Node::new(filter))
    }

    /// Whether a record with these attributes is asked for.
    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.0.matches(attributes)
    }
}

impl<'a> Node<'a> {
    fn new(filter: &'a Filter) -> Self {
        match filter {
            Filter::All => Node::All,
            Filter::And(filters) => Node::And(Parts::new(filters, false).into_nodes()),
            Filter::Or(filters) => Node::Or(Parts::new(filters, true).into_nodes()),
            Filter::Test { key, test } => Self::of_test(key, test),
        }
    }

    fn of_test(key: &'a str, test: &'a Test) -> Self {
        match test {
            Test::In(values) => Self::among(key, values.iter().collect(), true),
            Test::NotIn(values) => Self::among(key, values.iter().collect(), false),
            _ => Node::Test { key, test },
        }
    }

    fn among(key: &'a str, values: Vec<&'a Scalar>, wanted: bool) -> Self {
        Node::Among { key, set: ScalarSet::new(values), wanted }
    }

    fn matches(&self, attributes: &Attributes) -> bool {
        match self {
            Node::All => true,
            Node::And(nodes) => nodes.iter().all(|node| node.matches(attributes)),
            Node::Or(nodes) => nodes.iter().any(|node| node.matches(attributes)),
            Node::Test { key, test } => test.matches(attributes.get(key)),
            Node::Among { key, set, wanted } => {
                let scalars = attributes.get(key).map_or(&[][..], |value| value.scalars());
                scalars.iter().any(|scalar| set.contains(scalar)) == *wanted
            }
        }
    }
}

/// What stands side by side in an `and` or an `or`.
struct Parts<'a> {
    is_or: bool,
    /// By key: values of which any must (or, in an `and`, none may) be there.
    sets: BTreeMap<&'a str, Vec<&'a Scalar>>,
    /// By key and direction: the bound that decides.
    bounds: BTreeMap<(&'a str, Side), &'a Test>,
    others: Vec<Node<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Gt,
    Gte,
    Lt,
    Lte,
}

impl<'a> Parts<'a> {
    fn new(filters: &'a [Filter], is_or: bool) -> Self {
        let (sets, bounds) = (BTreeMap::new(), BTreeMap::new());
        let mut parts = Self { is_or, sets, bounds, others: Vec::new() };
        filters.iter().for_each(|filter| parts.add(filter));
        parts
    }

    fn add(&mut self, filter: &'a Filter) {
        match filter {
            Filter::And(filters) if !self.is_or || filters.len() == 1 => {
                filters.iter().for_each(|filter| self.add(filter));
            }
            Filter::Or(filters) if self.is_or || filters.len() == 1 => {
                filters.iter().for_each(|filter| self.add(filter));
            }
            Filter::Test { key, test } => self.add_test(key, test),
            _ => self.others.push(Node::new(filter)),
        }
    }

    fn add_test(&mut self, key: &'a str, test: &'a Test) {
        let values = match (test, self.is_or) {
            (Test::Eq(value), true) | (Test::Ne(value), false) => std::slice::from_ref(value),
            (Test::In(values), true) | (Test::NotIn(values), false) => values,
            _ => return self.add_bound(key, test),
        };
        self.sets.entry(key).or_default().extend(values);
    }

    fn add_bound(&mut self, key: &'a str, test: &'a Test) {
        let Some((side, bound)) = bound_of(test) else {
            return self.others.push(Node::of_test(key, test));
        };
        let decides = self.bounds.entry((key, side)).or_insert(test);
        let before = bound_of(decides).and_then(|(_, before)| bound.compare(before));
        let wider = match side {
            Side::Gt | Side::Gte => Ordering::Less,
            Side::Lt | Side::Lte => Ordering::Greater,
        };
        match before {
            Some(order) if (order == wider) == self.is_or && order.is_ne() => *decides = test,
            Some(_) => {}
            // A NaN does not compare: it stays a condition of its own.
            None => self.others.push(Node::Test { key, test }),
        }
    }

    fn into_nodes(self) -> Vec<Node<'a>> {
        let bounds = self.bounds.into_iter().map(|((key, _), test)| Node::Test { key, test });
        let sets = self.sets.into_iter().map(|(key, set)| Node::among(key, set, self.is_or));
        bounds.chain(sets).chain(self.others).collect()
    }
}

fn bound_of(test: &Test) -> Option<(Side, Number)> {
    match test {
        Test::Gt(bound) => Some((Side::Gt, *bound)),
        Test::Gte(bound) => Some((Side::Gte, *bound)),
        Test::Lt(bound) => Some((Side::Lt, *bound)),
        Test::Lte(bound) => Some((Side::Lte, *bound)),
        _ => None,
    }
}

/// Values by type, sorted.
#[derive(Debug)]
struct ScalarSet<'a> {
    strings: Vec<&'a str>,
    numbers: Vec<Number>,
    /// Whether false and true are in it.
    bools: [bool; 2],
}

impl<'a> ScalarSet<'a> {
    fn new(values: Vec<&'a Scalar>) -> Self {
        let mut set = Self { strings: Vec::new(), numbers: Vec::new(), bools: [false; 2] };
        for value in values {
            match (value, value.number()) {
                (Scalar::String(text), _) => set.strings.push(text),
                (Scalar::Bool(value), _) => set.bools[usize::from(*value)] = true,
                // A NaN equals nothing.
                (_, Some(number)) if number.compare(number).is_some() => set.numbers.push(number),
                _ => {}
            }
        }
        set.strings.sort_unstable();
        set.numbers.sort_unstable_by(|a, b| a.compare(*b).unwrap_or(Ordering::Equal));
        set
    }

    fn contains(&self, scalar: &Scalar) -> bool {
        match (scalar, scalar.number()) {
            (Scalar::String(text), _) => self.strings.binary_search(&&**text).is_ok(),
            (Scalar::Bool(value), _) => self.bools[usize::from(*value)],
            (_, Some(number)) if number.compare(number).is_some() => {
                let order = |other: &Number| other.compare(number).unwrap_or(Ordering::Less);
                self.numbers.binary_search_by(order).is_ok()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, RowFilter};
    use crate::testing::{attributes, filter, test};
    use crate::{Attributes, Filter, Number, Scalar, Test, Value};
    use proptest::prelude::*;

    /// Conditions on few keys side by side, so that many are joined.
    fn flat() -> impl Strategy<Value = Filter> {
        let key = prop::sample::select(vec!["a", "b"]).prop_map(Box::from);
        let condition = (key, test()).prop_map(|(key, test)| Filter::Test { key, test });
        let list = prop::collection::vec(condition, 0..9);
        (list, any::<bool>())
            .prop_map(|(list, or)| if or { Filter::Or(list) } else { Filter::And(list) })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn rows_are_judged_as_the_filter_says(
            rows in prop::collection::vec(attributes(), 1..12),
            filters in prop::collection::vec(prop_oneof![filter(), flat()], 1..6),
        ) {
            for filter in &filters {
                let ready = RowFilter::new(filter);
                for row in &rows {
                    prop_assert_eq!(ready.matches(row), filter.matches(row), "{:?} {:?}", filter, row);
                }
            }
        }
    }

    /// A filter as long as the wire lets through does not multiply with the number of records: its
    /// operands become one sorted set.
    #[test]
    fn long_lists_become_one_sorted_set() {
        let name = |n: usize| Scalar::String(format!("s{n:05}").into());
        let one = |test| Filter::Test { key: "a".into(), test };
        let names = || (0..8000).rev().map(name);
        let long = [
            one(Test::NotIn(names().collect())),
            Filter::And(names().map(|name| one(Test::Ne(name))).collect()),
        ];
        let row = |n| Attributes::from_pairs(vec![("a".into(), Value::One(name(n)))]);
        let rows: Vec<Attributes> = (0..9000).map(row).collect();
        for filter in &long {
            let ready = RowFilter::new(filter);
            let node = match &ready.0 {
                Node::And(nodes) if nodes.len() == 1 => &nodes[0],
                node => node,
            };
            let Node::Among { set, wanted: false, .. } = node else { panic!("{node:?}") };
            assert_eq!(set.strings.len(), 8000);
            assert!(set.strings.is_sorted());
            assert_eq!(rows.iter().filter(|row| ready.matches(row)).count(), 1000);
        }
    }

    #[test]
    fn bounds_on_one_key_become_one() {
        let above = |n| Filter::Test { key: "a".into(), test: Test::Gt(Number::Integer(n)) };
        for (filter, expected) in [
            (Filter::Or((3..2000).map(above).collect()), 3),
            (Filter::And((3..2000).map(above).collect()), 1999),
        ] {
            let ready = RowFilter::new(&filter);
            let (Node::And(nodes) | Node::Or(nodes)) = &ready.0 else { panic!("{ready:?}") };
            let [Node::Test { test, .. }] = nodes.as_slice() else { panic!("{nodes:?}") };
            assert_eq!(**test, Test::Gt(Number::Integer(expected)));
        }
    }
}

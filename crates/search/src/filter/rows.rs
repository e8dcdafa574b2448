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
    use super::RowFilter;
    use crate::testing::{attributes, filter, test};
    use crate::{Attributes, Filter, Scalar, Test, Value};
    use proptest::prelude::*;
    use std::time::Instant;

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

    /// A filter as long as the wire lets through does not multiply with the number of records.
    #[test]
    fn long_lists_cost_a_logarithm_per_record() {
        let name = |n: usize| Scalar::String(format!("s{n:05}").into());
        let row = |n| Attributes::from_pairs(vec![("a".into(), Value::One(name(n)))]);
        let rows: Vec<Attributes> = (0..20_000).map(|n| row(n + 7000)).collect();
        let one = |test| Filter::Test { key: "a".into(), test };
        let long = [
            one(Test::NotIn((0..8000).map(name).collect())),
            Filter::And((0..8000).map(|n| one(Test::Ne(name(n)))).collect()),
        ];
        for filter in &long {
            let ready = RowFilter::new(filter);
            let started = Instant::now();
            assert_eq!(rows.iter().filter(|row| ready.matches(row)).count(), 19_000);
            // 160 million comparisons would take seconds; 20,000 searches take milliseconds.
            assert!(started.elapsed().as_millis() < 500, "{:?}", started.elapsed());
        }
    }
}

//! The filter grammar of Standard indexes.

use crate::oss::metadata::Scalar;

/// A filter, ready for evaluation. `All` stands for `{}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Matches everything.
    All,
    /// Matches when every part does; not empty.
    And(Vec<Filter>),
    /// Matches when some part does; not empty.
    Or(Vec<Filter>),
    /// A condition on one metadata key.
    Test {
        /// The key, not empty.
        key: Box<str>,
        /// The condition.
        test: Test,
    },
}

/// A number of a range condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
}

/// A condition on one metadata key.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `$eq`, also the shorthand.
    Eq(Scalar),
    /// `$ne`.
    Ne(Scalar),
    /// `$gt`.
    Gt(Number),
    /// `$gte`.
    Gte(Number),
    /// `$lt`.
    Lt(Number),
    /// `$lte`.
    Lte(Number),
    /// `$in`, not empty.
    In(Vec<Scalar>),
    /// `$nin`, not empty.
    NotIn(Vec<Scalar>),
    /// `$exists`.
    Exists(bool),
}

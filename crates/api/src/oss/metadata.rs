//! Metadata of a vector: the JSON as written, and its filterable members as typed attributes.
//!
//! Every top level member not declared non-filterable is filterable: a string, a number, a
//! boolean, or an array of those. A number written without fraction and exponent that fits into
//! an `i64` is an integer; every other number is a float.

/// One scalar of an attribute or of a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Text.
    String(Box<str>),
    /// An integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A single scalar.
    One(Scalar),
    /// An array, in written order, possibly empty.
    Many(Vec<Scalar>),
}

/// One filterable metadata member.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The member's name, not empty.
    pub key: Box<str>,
    /// Its value.
    pub value: Value,
}

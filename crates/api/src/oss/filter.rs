//! The filter grammar of Standard indexes.
//!
//! ```text
//! filter   := {}                                   matches everything
//!           | { "$and": [filter, ..] }             not empty
//!           | { "$or":  [filter, ..] }             not empty
//!           | { key: scalar }                      shorthand of $eq
//!           | { key: { operator: operand, .. } }   not empty
//! operand  := scalar                               $eq $ne
//!           | number                               $gt $gte $lt $lte
//!           | [scalar, ..]                         $in $nin, not empty
//!           | boolean                              $exists
//! ```
//!
//! Several members of one object, and several operators of one key, must all hold. `$not` does not
//! exist here. Limits: 64 KB as compact JSON, 1,024 conditions, `$and` / `$or` nested 8 deep.

use crate::oss::json::{Kind, Reader, write_string};
use crate::oss::metadata::{Scalar, scalar};
use crate::oss::{Error, Fault, Limits};

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

impl Filter {
    /// Takes a filter object. Errors: `MalformedJson`, [`Fault::Filter`],
    /// [`Fault::FilterTooLarge`].
    pub(crate) fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, Error> {
        let start = reader.mark();
        let filter = Parser { limits, items: 0 }.filter(reader, 0)?;
        match reader.since(start).1 > limits.filter_bytes_max {
            true => Err(Error::new(Fault::FilterTooLarge)),
            false => Ok(filter),
        }
    }

    /// Refuses keys that are kept out of filters. Error: [`Fault::FilterKey`].
    pub fn check_keys(&self, non_filterable: &[Box<str>]) -> Result<(), Error> {
        match self {
            Filter::All => Ok(()),
            Filter::And(parts) | Filter::Or(parts) => {
                parts.iter().try_for_each(|part| part.check_keys(non_filterable))
            }
            Filter::Test { key, .. } if non_filterable.contains(key) => {
                Err(Error::new(Fault::FilterKey).within(key))
            }
            Filter::Test { .. } => Ok(()),
        }
    }

    /// The filter as JSON, without shorthand and implicit `$and`: equal for equal filters.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (operator, parts) = match self {
            Filter::All => return out.extend_from_slice(b"{}"),
            Filter::And(parts) => ("{\"$and\":[", parts),
            Filter::Or(parts) => ("{\"$or\":[", parts),
            Filter::Test { key, test } => {
                out.push(b'{');
                write_string(out, key);
                out.extend_from_slice(b":{\"");
                out.extend_from_slice(test.operator().as_bytes());
                out.extend_from_slice(b"\":");
                test.write_operand(out);
                return out.extend_from_slice(b"}}");
            }
        };
        out.extend_from_slice(operator.as_bytes());
        write_list(out, parts, |out, part| part.write(out));
        out.extend_from_slice(b"]}");
    }
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

fn write_scalar(out: &mut Vec<u8>, scalar: &Scalar) {
    match scalar {
        Scalar::String(text) => write_string(out, text),
        Scalar::Integer(number) => write_number(out, Number::Integer(*number)),
        Scalar::Float(number) => write_number(out, Number::Float(*number)),
        Scalar::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
    }
}

fn write_number(out: &mut Vec<u8>, number: Number) {
    match number {
        Number::Integer(integer) => out.extend_from_slice(integer.to_string().as_bytes()),
        Number::Float(float) => {
            serde_json::to_writer(out, &float).expect("an f64 serialises into memory");
        }
    }
}

impl Test {
    /// The operator's name.
    pub const fn operator(&self) -> &'static str {
        match self {
            Test::Eq(_) => "$eq",
            Test::Ne(_) => "$ne",
            Test::Gt(_) => "$gt",
            Test::Gte(_) => "$gte",
            Test::Lt(_) => "$lt",
            Test::Lte(_) => "$lte",
            Test::In(_) => "$in",
            Test::NotIn(_) => "$nin",
            Test::Exists(_) => "$exists",
        }
    }

    fn write_operand(&self, out: &mut Vec<u8>) {
        match self {
            Test::Eq(scalar) | Test::Ne(scalar) => write_scalar(out, scalar),
            Test::Gt(number) | Test::Gte(number) | Test::Lt(number) | Test::Lte(number) => {
                write_number(out, *number);
            }
            Test::In(scalars) | Test::NotIn(scalars) => {
                out.push(b'[');
                write_list(out, scalars, write_scalar);
                out.push(b']');
            }
            Test::Exists(value) => out.extend_from_slice(value.to_string().as_bytes()),
        }
    }
}

fn invalid(text: &'static str) -> Error {
    Error::with_message(Fault::Filter, text)
}

fn unknown_operator(name: &str) -> Error {
    let text = "Unknown filter operator; there are $and, $or, $eq, $ne, $gt, $gte, $lt, $lte, $in, \
                $nin and $exists.";
    invalid(text).within(name)
}

struct Parser<'l> {
    limits: &'l Limits,
    /// Conditions so far.
    items: usize,
}

impl Parser<'_> {
    /// `depth` counts the `$and` and `$or` around.
    fn filter(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<Filter, Error> {
        if reader.peek()? != Kind::Object {
            return Err(invalid("A filter must be a JSON object."));
        }
        let mut parts = Vec::new();
        let mut members = reader.members()?;
        while let Some(name) = members.next(reader)? {
            match &*name {
                "$and" => parts.push(Filter::And(self.filters(reader, depth)?)),
                "$or" => parts.push(Filter::Or(self.filters(reader, depth)?)),
                "" => return Err(invalid("A filter key is empty.")),
                name if name.starts_with('$') => return Err(unknown_operator(name)),
                name => self.tests(reader, name, &mut parts)?,
            }
        }
        Ok(match parts.len() {
            0 => Filter::All,
            1 => parts.remove(0),
            _ => Filter::And(parts),
        })
    }

    fn filters(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<Vec<Filter>, Error> {
        if depth == self.limits.filter_depth_max {
            return Err(Error::new(Fault::FilterTooLarge));
        }
        if reader.peek()? != Kind::Array {
            return Err(invalid("$and and $or take an array of filters."));
        }
        let mut parts = Vec::new();
        let mut items = reader.items()?;
        while items.next(reader)? {
            // An empty filter takes three bytes; conditions are counted on their own.
            self.check_length(parts.len())?;
            parts.push(self.filter(reader, depth + 1)?);
        }
        match parts.is_empty() {
            true => Err(invalid("$and and $or need at least one filter.")),
            false => Ok(parts),
        }
    }

    /// The conditions on one key.
    fn tests(
        &mut self,
        reader: &mut Reader<'_>,
        key: &str,
        parts: &mut Vec<Filter>,
    ) -> Result<(), Error> {
        let mut add = |parser: &mut Self, test| {
            parser.items += 1;
            parts.push(Filter::Test { key: key.into(), test });
            match parser.items > parser.limits.filter_items_max {
                true => Err(Error::new(Fault::FilterTooLarge)),
                false => Ok(()),
            }
        };
        if reader.peek()? != Kind::Object {
            return add(self, Test::Eq(operand(reader)?));
        }
        let mut any = false;
        let mut members = reader.members()?;
        while let Some(operator) = members.next(reader)? {
            let test = self.test(reader, &operator)?;
            add(self, test)?;
            any = true;
        }
        if any { Ok(()) } else { Err(invalid("A filter key has no operator.")) }
    }

    fn test(&mut self, reader: &mut Reader<'_>, operator: &str) -> Result<Test, Error> {
        Ok(match operator {
            "$eq" => Test::Eq(operand(reader)?),
            "$ne" => Test::Ne(operand(reader)?),
            "$gt" => Test::Gt(number(reader)?),
            "$gte" => Test::Gte(number(reader)?),
            "$lt" => Test::Lt(number(reader)?),
            "$lte" => Test::Lte(number(reader)?),
            "$in" => Test::In(self.scalars(reader)?),
            "$nin" => Test::NotIn(self.scalars(reader)?),
            "$exists" if reader.peek()? == Kind::Bool => Test::Exists(reader.boolean()?),
            "$exists" => return Err(invalid("$exists takes a boolean.")),
            other => return Err(unknown_operator(other)),
        })
    }

    fn scalars(&mut self, reader: &mut Reader<'_>) -> Result<Vec<Scalar>, Error> {
        if reader.peek()? != Kind::Array {
            return Err(invalid("$in and $nin take an array."));
        }
        let mut scalars = Vec::new();
        let mut items = reader.items()?;
        while items.next(reader)? {
            self.check_length(scalars.len())?;
            scalars.push(operand(reader)?);
        }
        match scalars.is_empty() {
            true => Err(invalid("$in and $nin need at least one value.")),
            false => Ok(scalars),
        }
    }

    /// An item takes two bytes at least; refusing here keeps hostile arrays small in memory.
    fn check_length(&self, length: usize) -> Result<(), Error> {
        match length * 2 > self.limits.filter_bytes_max {
            true => Err(Error::new(Fault::FilterTooLarge)),
            false => Ok(()),
        }
    }
}

fn operand(reader: &mut Reader<'_>) -> Result<Scalar, Error> {
    scalar(reader, Fault::Filter)
}

fn number(reader: &mut Reader<'_>) -> Result<Number, Error> {
    match operand(reader)? {
        Scalar::Integer(integer) => Ok(Number::Integer(integer)),
        Scalar::Float(float) => Ok(Number::Float(float)),
        Scalar::String(_) | Scalar::Bool(_) => {
            Err(invalid("$gt, $gte, $lt and $lte take a number."))
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;

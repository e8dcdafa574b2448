//! The filterable metadata of one record.

use crate::decode::{Corrupt, Input, write_length, write_text};
use std::cmp::Ordering;

/// A metadata value that is not an array. Integers stay apart from floats.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Compared byte by byte.
    String(Box<str>),
    /// Written without a fraction and within 64 bits.
    Integer(i64),
    /// Any other number. Inside [`Attributes`] never NaN.
    Float(f64),
    /// Equal to no number.
    Bool(bool),
}

/// A number, compared by its mathematical value: `1 = 1.0`, and no integer is rounded to compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// See [`Scalar::Integer`].
    Integer(i64),
    /// See [`Scalar::Float`].
    Float(f64),
}

/// The metadata value of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A single value.
    One(Scalar),
    /// An array. An empty one stands for a key that is present but equal to nothing.
    Many(Box<[Scalar]>),
}

/// Keys and values that filters test, sorted by key, each key once, without NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    pairs: Box<[(Box<str>, Value)]>,
}

impl Number {
    /// The order by mathematical value; `None` if a NaN takes part.
    pub fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
            (Number::Integer(a), Number::Float(b)) => compare_mixed(a, b),
            (Number::Float(a), Number::Integer(b)) => compare_mixed(b, a).map(Ordering::reverse),
        }
    }
}

/// Compares without rounding the integer, which a float holds exactly only up to 2^53.
fn compare_mixed(integer: i64, float: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        None
    } else if float >= TWO_TO_63 {
        Some(Ordering::Less)
    } else if float < -TWO_TO_63 {
        Some(Ordering::Greater)
    } else {
        // In this range the integral part converts exactly, and the fraction breaks the tie.
        let floor = float.floor();
        let below_fraction = if float > floor { Ordering::Less } else { Ordering::Equal };
        Some(integer.cmp(&(floor as i64)).then(below_fraction))
    }
}

impl Scalar {
    /// The number in it, if it is one.
    pub fn number(&self) -> Option<Number> {
        match self {
            Scalar::Integer(value) => Some(Number::Integer(*value)),
            Scalar::Float(value) => Some(Number::Float(*value)),
            Scalar::String(_) | Scalar::Bool(_) => None,
        }
    }

    /// Whether filters take the two for the same value: numbers by mathematical value, different
    /// types never.
    pub fn equals(&self, other: &Scalar) -> bool {
        match (self, other) {
            (Scalar::String(a), Scalar::String(b)) => a == b,
            (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a.compare(b) == Some(Ordering::Equal),
                _ => false,
            },
        }
    }

    fn is_nan(&self) -> bool {
        matches!(self, Scalar::Float(value) if value.is_nan())
    }
}

impl Value {
    /// The values that a test looks at: the one, or every element.
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            Value::One(scalar) => std::slice::from_ref(scalar),
            Value::Many(scalars) => scalars,
        }
    }

    fn without_nan(self) -> Self {
        if !self.scalars().iter().any(Scalar::is_nan) {
            return self;
        }
        let kept = self.scalars().iter().filter(|scalar| !scalar.is_nan()).cloned();
        Value::Many(kept.collect())
    }
}

impl Attributes {
    /// Sorts the pairs. Of equal keys the last pair stays; a NaN, which JSON cannot express, is
    /// dropped and its key stays present.
    pub fn from_pairs(pairs: Vec<(Box<str>, Value)>) -> Self {
        let mut pairs: Vec<_> =
            pairs.into_iter().map(|(key, value)| (key, value.without_nan())).collect();
        // The sort is stable: after the reversal the last pair of a key comes first.
        pairs.reverse();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self { pairs: pairs.into() }
    }

    /// The pairs in ascending order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(key, value)| (&**key, value))
    }

    /// The value of `key`, if present.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let index = self.pairs.binary_search_by(|(pair_key, _)| (**pair_key).cmp(key)).ok()?;
        Some(&self.pairs[index].1)
    }

    /// Whether no key is present.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Heap bytes held, for budgets; approximate.
    pub fn heap_bytes(&self) -> usize {
        let pairs = self.pairs.iter().map(|(key, value)| key.len() + value.heap_bytes());
        size_of_val(&*self.pairs) + pairs.sum::<usize>()
    }

    /// Appends the encoding that [`Attributes::decode`] reads.
    ///
    /// ```text
    /// length pairs, each in ascending order of keys:  text key, value
    /// value:  u8 tag, then  0 text | 1 i64 | 2 f64 | 3 nothing (false) | 4 nothing (true)
    ///                       5 length values, each one of the tags 0 to 4 (an array)
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_length(self.pairs.len(), out);
        for (key, value) in &self.pairs {
            write_text(key, out);
            value.encode(out);
        }
    }

    /// Reads one encoding, which must be the whole of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut input = Input::new("attributes", bytes);
        let count = input.item_count()?;
        let mut pairs: Vec<(Box<str>, Value)> = Vec::new();
        for _ in 0..count {
            let key = input.text()?;
            if pairs.last().is_some_and(|(last, _)| **last >= *key) {
                return Err(input.corrupt("keys are not ascending"));
            }
            pairs.push((key.into(), Value::decode(&mut input)?));
        }
        input.end()?;
        Ok(Self { pairs: pairs.into() })
    }
}

const STRING: u8 = 0;
const INTEGER: u8 = 1;
const FLOAT: u8 = 2;
const FALSE: u8 = 3;
const TRUE: u8 = 4;
const ARRAY: u8 = 5;

impl Value {
    fn heap_bytes(&self) -> usize {
        let strings = self.scalars().iter().map(|scalar| match scalar {
            Scalar::String(text) => text.len(),
            Scalar::Integer(_) | Scalar::Float(_) | Scalar::Bool(_) => 0,
        });
        let array = match self {
            Value::One(_) => 0,
            Value::Many(scalars) => size_of_val(&**scalars),
        };
        array + strings.sum::<usize>()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::One(scalar) => scalar.encode(out),
            Value::Many(scalars) => {
                out.push(ARRAY);
                write_length(scalars.len(), out);
                scalars.iter().for_each(|scalar| scalar.encode(out));
            }
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Corrupt> {
        let tag = input.u8()?;
        if tag != ARRAY {
            return Ok(Value::One(Scalar::decode(tag, input)?));
        }
        let count = input.item_count()?;
        let mut scalars = Vec::new();
        for _ in 0..count {
            let tag = input.u8()?;
            scalars.push(Scalar::decode(tag, input)?);
        }
        Ok(Value::Many(scalars.into()))
    }
}

impl Scalar {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Scalar::String(text) => {
                out.push(STRING);
                write_text(text, out);
            }
            Scalar::Integer(value) => {
                out.push(INTEGER);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Scalar::Float(value) => {
                out.push(FLOAT);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Scalar::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        }
    }

    fn decode(tag: u8, input: &mut Input<'_>) -> Result<Self, Corrupt> {
        match tag {
            STRING => Ok(Scalar::String(input.text()?.into())),
            INTEGER => Ok(Scalar::Integer(input.i64()?)),
            FLOAT => Ok(Scalar::Float(input.f64()?)),
            FALSE => Ok(Scalar::Bool(false)),
            TRUE => Ok(Scalar::Bool(true)),
            _ => Err(input.corrupt("type of a value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Attributes, Number, Scalar, Value};
    use crate::testing::{attributes, number};
    use proptest::prelude::*;
    use std::cmp::Ordering;

    proptest! {
        #[test]
        fn encoding_round_trips(attributes in attributes()) {
            let mut bytes = Vec::new();
            attributes.encode(&mut bytes);
            prop_assert_eq!(Attributes::decode(&bytes), Ok(attributes));
            for cut in 0..bytes.len() {
                prop_assert!(Attributes::decode(&bytes[..cut]).is_err(), "cut at {}", cut);
            }
        }

        #[test]
        fn numbers_are_totally_ordered(a in number(), b in number(), c in number()) {
            let order = |a: Number, b: Number| a.compare(b).expect("no NaN");
            prop_assert_eq!(order(a, b), order(b, a).reverse());
            prop_assert_eq!(order(a, a), Ordering::Equal);
            if order(a, b).is_le() && order(b, c).is_le() {
                prop_assert!(order(a, c).is_le());
            }
        }

        /// Both sides as integers of 128 bits, which hold every float of this size exactly when
        /// it is scaled by two.
        #[test]
        fn mixed_comparison_is_exact(integer in any::<i64>(), halves in -(1i64 << 60)..1 << 60) {
            let float = halves as f64 / 2.0;
            let exact = (i128::from(integer) * 2).cmp(&((float * 2.0) as i128));
            prop_assert_eq!(Number::Integer(integer).compare(Number::Float(float)), Some(exact));
            let near = Number::Integer(float as i64).compare(Number::Float(float));
            let exact = (i128::from(float as i64) * 2).cmp(&((float * 2.0) as i128));
            prop_assert_eq!(near, Some(exact));
        }
    }

    #[test]
    fn equality_follows_types_and_values() {
        let same = [
            (Scalar::Integer(1), Scalar::Float(1.0)),
            (Scalar::Float(-0.0), Scalar::Float(0.0)),
            (Scalar::Integer(0), Scalar::Float(-0.0)),
            (Scalar::String("a".into()), Scalar::String("a".into())),
        ];
        let different = [
            (Scalar::Bool(true), Scalar::Integer(1)),
            (Scalar::String("1".into()), Scalar::Integer(1)),
            (Scalar::String("true".into()), Scalar::Bool(true)),
            (Scalar::Integer(i64::MAX), Scalar::Float(9_223_372_036_854_775_808.0)),
            (Scalar::Float(f64::NAN), Scalar::Float(f64::NAN)),
        ];
        assert!(same.iter().all(|(a, b)| a.equals(b) && b.equals(a)));
        assert!(different.iter().all(|(a, b)| !a.equals(b) && !b.equals(a)));
    }

    #[test]
    fn pairs_are_sorted_and_the_last_of_equal_keys_stays() {
        let one = |value| Value::One(Scalar::Integer(value));
        let attributes = Attributes::from_pairs(vec![
            ("b".into(), one(1)),
            ("a".into(), one(2)),
            ("b".into(), one(3)),
        ]);
        let pairs: Vec<_> = attributes.iter().collect();
        assert_eq!(pairs, [("a", &one(2)), ("b", &one(3))]);
        assert_eq!(attributes.get("b"), Some(&one(3)));
        assert_eq!(attributes.get("c"), None);
    }

    #[test]
    fn nan_is_dropped_and_its_key_stays() {
        let nan = Scalar::Float(f64::NAN);
        let pairs = vec![
            ("alone".into(), Value::One(nan.clone())),
            ("array".into(), Value::Many([nan, Scalar::Bool(true)].into())),
        ];
        let attributes = Attributes::from_pairs(pairs);
        assert_eq!(attributes.get("alone"), Some(&Value::Many([].into())));
        assert_eq!(attributes.get("array"), Some(&Value::Many([Scalar::Bool(true)].into())));
    }

    #[test]
    fn encoded_nan_is_corrupt() {
        let pairs = vec![("k".into(), Value::One(Scalar::Float(1.0)))];
        let mut bytes = Vec::new();
        Attributes::from_pairs(pairs).encode(&mut bytes);
        let at = bytes.len() - 8;
        bytes[at..].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(Attributes::decode(&bytes).expect_err("NaN").what, "NaN");
    }
}

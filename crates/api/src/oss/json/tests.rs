//! The reader against serde_json: the same texts are accepted, with the same values.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::oss::Fault;

fn skip_all(text: &[u8]) -> Result<usize, Fault> {
    let mut reader = Reader::new(text)?;
    let mark = reader.mark();
    reader.skip()?;
    let compact = reader.since(mark).1;
    reader.end()?;
    Ok(compact)
}

/// Accepts what serde_json accepts, except what only we refuse.
fn check(text: &[u8]) {
    let ours = skip_all(text);
    let theirs = serde_json::from_slice::<&serde_json::value::RawValue>(text);
    match (&ours, &theirs) {
        (Ok(_), Err(error)) => panic!("accepted {:?}: {error}", String::from_utf8_lossy(text)),
        (Err(Fault::JsonMalformed), Ok(_)) => {
            // RawValue does not look into strings; a full parse does.
            let full = serde_json::from_slice::<Value>(text);
            let overflow = full.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
            assert!(full.is_err() && !overflow, "refused {:?}", String::from_utf8_lossy(text));
        }
        _ => {}
    }
}

#[test]
fn refusals() {
    let malformed: [&[u8]; 30] = [
        b"",
        b" ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b"{\"a\"}",
        b"{\"a\":1,}",
        b"{a:1}",
        b"{1:1}",
        b"nul",
        b"tru",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"-",
        b"01",
        b"1.",
        b"1e",
        b"+1",
        b"\"a",
        b"\"\x01\"",
        b"\"\\x\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\xff",
        b"1 1",
    ];
    for text in malformed {
        assert_eq!(
            skip_all(text),
            Err(Fault::JsonMalformed),
            "{:?}",
            String::from_utf8_lossy(text)
        );
        check(text);
    }
    assert_eq!(skip_all(br#""\ud800\u0041""#), Err(Fault::JsonMalformed));
    assert_eq!(skip_all(br#""\ud83d\ude00""#), Ok(6));
    assert_eq!(skip_all(br#"{"a":1,"\u0061":2}"#), Err(Fault::JsonDuplicate));
    assert_eq!(skip_all(br#"[{"b":{"a":1,"a":2}}]"#), Err(Fault::JsonDuplicate));
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert_eq!(skip_all(deep(64).as_bytes()), Ok(128));
    assert_eq!(skip_all(deep(65).as_bytes()), Err(Fault::JsonTooDeep));
    assert_eq!(skip_all("[".repeat(1_000_000).as_bytes()), Err(Fault::JsonTooDeep));
}

#[test]
fn members_are_counted_and_compared() {
    let object = |n: usize| {
        let members: Vec<String> = (0..n).map(|i| format!("\"k{i}\":{i}")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(skip_all(object(1000).as_bytes()).is_ok());
    assert_eq!(skip_all(object(10_017).as_bytes()), Err(Fault::JsonTooDeep));
    let twice = object(100).replace("\"k99\"", "\"k3\"");
    assert_eq!(skip_all(twice.as_bytes()), Err(Fault::JsonDuplicate));
    let late = object(100).replace("\"k99\"", "\"k70\"");
    assert_eq!(skip_all(late.as_bytes()), Err(Fault::JsonDuplicate));
}

#[test]
fn shape_is_told_from_syntax() {
    let mut reader = Reader::new(b"[\"x\", 5, tru]").unwrap();
    let mut items = reader.items().unwrap();
    assert!(items.next(&mut reader).unwrap());
    assert_eq!(reader.boolean(), Err(Fault::JsonShape));
    assert_eq!(reader.string().unwrap(), "x");
    assert!(items.next(&mut reader).unwrap());
    assert_eq!(reader.peek(), Ok(Kind::Number));
    assert_eq!(reader.number().unwrap().as_integer(), Some(5));
    assert!(items.next(&mut reader).unwrap());
    assert_eq!(reader.boolean(), Err(Fault::JsonMalformed));
}

fn floats(text: &str, max: usize) -> Result<Vec<f32>, Fault> {
    let mut reader = Reader::new(text.as_bytes())?;
    let mut out = Vec::new();
    reader.floats(&mut out, max)?;
    reader.end()?;
    Ok(out)
}

#[test]
fn float_arrays() {
    assert_eq!(floats("[]", 3), Ok(vec![]));
    assert_eq!(floats(" [ 1 , -2.5 ,3e1,\n4 ] ", 4), Ok(vec![1.0, -2.5, 30.0, 4.0]));
    assert_eq!(floats("[1,2,3]", 2), Err(Fault::VectorDimension));
    for overflow in ["[1e39]", "[-1e39]", "[1e400]", "[3.4028236e38]", "[1e999999999999]"] {
        assert_eq!(floats(overflow, 9), Err(Fault::VectorData), "{overflow}");
    }
    assert_eq!(floats("[3.4028235e38,1e-400,-0]", 9).unwrap()[1].to_bits(), 0);
    for shape in ["[null]", "[\"1\"]", "[true]", "[[1]]", "{}", "1", "null"] {
        assert_eq!(floats(shape, 9), Err(Fault::JsonShape), "{shape}");
    }
    for bad in
        ["[NaN]", "[Infinity]", "[1,]", "[1", "[01]", "[1.]", "[.5]", "[1 2]", "[-]", "[1,,2]"]
    {
        assert_eq!(floats(bad, 9), Err(Fault::JsonMalformed), "{bad}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[\u{0}-\u{1f}\"\\\\é😀]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every character beyond ASCII as `\uXXXX`, as Python's json does.
fn ascii_only(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|u| out.push_str(&format!("\\u{u:04x}")));
        }
    }
    out
}

proptest! {
    #[test]
    fn accepts_every_document_in_every_spelling(value in json_value()) {
        let compact = serde_json::to_string(&value).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(skip_all(compact.as_bytes()), Ok(compact.len()));
        prop_assert_eq!(skip_all(pretty.as_bytes()), Ok(compact.len()));
        prop_assert_eq!(skip_all(ascii_only(&pretty).as_bytes()), Ok(compact.len()));
    }

    #[test]
    fn strings_read_as_serde_reads_them(text in "\\PC{0,40}") {
        let written = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(string_len(&text), written.len());
        for spelling in [written.clone(), ascii_only(&written)] {
            let mut reader = Reader::new(spelling.as_bytes()).unwrap();
            prop_assert_eq!(&*reader.string().unwrap(), &text);
        }
    }

    #[test]
    fn mutated_documents_agree_with_serde(value in json_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let place = at.index(text.len());
        text[place] = byte;
        check(&text);
        text.truncate(place);
        check(&text);
    }

    #[test]
    fn arbitrary_bytes_agree_with_serde(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\",:\\\\0-9eE.+a-z -]{0,24}") {
        check(&bytes);
        check(text.as_bytes());
    }

    #[test]
    fn float_arrays_are_serde_then_cast(numbers in prop::collection::vec(any::<f64>(), 0..20), spaced in any::<bool>()) {
        let numbers: Vec<f64> = numbers.into_iter().filter(|n| n.is_finite()).collect();
        let mut text = serde_json::to_string(&numbers).unwrap();
        if spaced {
            text = text.replace(',', ", ");
        }
        let cast: Vec<f32> = serde_json::from_str::<Vec<f64>>(&text).unwrap().into_iter().map(|n| n as f32).collect();
        match floats(&text, 20) {
            Ok(ours) => prop_assert_eq!(
                ours.iter().map(|n| n.to_bits()).collect::<Vec<_>>(),
                cast.iter().map(|n| n.to_bits()).collect::<Vec<_>>()
            ),
            Err(fault) => {
                prop_assert_eq!(fault, Fault::VectorData);
                prop_assert!(cast.iter().any(|n| n.is_infinite()));
            }
        }
    }

    #[test]
    fn written_floats_read_back(bits in any::<u32>()) {
        let number = f32::from_bits(bits);
        let mut out = Vec::new();
        write_float(&mut out, number);
        let text = String::from_utf8(out).unwrap();
        let back = floats(&format!("[{text}]"), 1).unwrap()[0];
        let expected = if number.is_finite() { number } else { f32::MAX };
        prop_assert_eq!(back.to_bits(), expected.to_bits());
    }
}

use proptest::prelude::*;

use super::*;

pub(crate) fn parse(text: &str) -> Result<Filter, Fault> {
    let mut reader = Reader::new(text.as_bytes())?;
    let filter = Filter::read(&mut reader, &Limits::default()).map_err(|e| e.fault())?;
    reader.end()?;
    Ok(filter)
}

fn test(key: &str, test: Test) -> Filter {
    Filter::Test { key: key.into(), test }
}

fn text(text: &str) -> Scalar {
    Scalar::String(text.into())
}

#[test]
fn every_form() {
    let cases = [
        ("{}", Filter::All),
        (r#"{"city":"hangzhou"}"#, test("city", Test::Eq(text("hangzhou")))),
        (r#"{"a":{"$eq":1}}"#, test("a", Test::Eq(Scalar::Integer(1)))),
        (r#"{"a":{"$ne":true}}"#, test("a", Test::Ne(Scalar::Bool(true)))),
        (r#"{"a":{"$gt":1.5}}"#, test("a", Test::Gt(Number::Float(1.5)))),
        (r#"{"a":{"$gte":2020}}"#, test("a", Test::Gte(Number::Integer(2020)))),
        (r#"{"a":{"$lt":1e2}}"#, test("a", Test::Lt(Number::Float(100.0)))),
        (r#"{"a":{"$lte":-1}}"#, test("a", Test::Lte(Number::Integer(-1)))),
        (r#"{"a":{"$in":["x",1]}}"#, test("a", Test::In(vec![text("x"), Scalar::Integer(1)]))),
        (r#"{"a":{"$nin":["x"]}}"#, test("a", Test::NotIn(vec![text("x")]))),
        (r#"{"a":{"$exists":false}}"#, test("a", Test::Exists(false))),
        (r#"{"$and":[{"a":1}]}"#, Filter::And(vec![test("a", Test::Eq(Scalar::Integer(1)))])),
        (
            r#"{"$or":[{},{"a":"b"}]}"#,
            Filter::Or(vec![Filter::All, test("a", Test::Eq(text("b")))]),
        ),
        (
            r#"{"a":"x","b":{"$gte":1,"$lt":5}}"#,
            Filter::And(vec![
                test("a", Test::Eq(text("x"))),
                test("b", Test::Gte(Number::Integer(1))),
                test("b", Test::Lt(Number::Integer(5))),
            ]),
        ),
        (
            r#"{"$or":[{"a":1}],"b":2}"#,
            Filter::And(vec![
                Filter::Or(vec![test("a", Test::Eq(Scalar::Integer(1)))]),
                test("b", Test::Eq(Scalar::Integer(2))),
            ]),
        ),
        (
            r#"{"n":9223372036854775808}"#,
            test("n", Test::Eq(Scalar::Float(9_223_372_036_854_775_808.0))),
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(parse(json), Ok(expected), "{json}");
    }
}

#[test]
fn refusals() {
    let invalid = [
        "[]",
        "\"not json\"",
        "5",
        r#"{"a":null}"#,
        r#"{"a":{}}"#,
        r#"{"a":["x"]}"#,
        r#"{"":1}"#,
        r#"{"$not":{"a":1}}"#,
        r#"{"a":{"$not":{"$eq":1}}}"#,
        r#"{"a":{"eq":1}}"#,
        r#"{"$and":[]}"#,
        r#"{"$or":{}}"#,
        r#"{"$and":[1]}"#,
        r#"{"a":{"$in":[]}}"#,
        r#"{"a":{"$in":"x"}}"#,
        r#"{"a":{"$in":[null]}}"#,
        r#"{"a":{"$in":[["x"]]}}"#,
        r#"{"a":{"$gt":"1"}}"#,
        r#"{"a":{"$lt":true}}"#,
        r#"{"a":{"$exists":1}}"#,
        r#"{"a":{"$eq":{}}}"#,
        r#"{"a":1e400}"#,
        r#"{"$eq":1}"#,
    ];
    for json in invalid {
        assert_eq!(parse(json), Err(Fault::Filter), "{json}");
    }
    assert_eq!(parse(r#"{"a":1,"a":2}"#), Err(Fault::JsonDuplicate));
    assert_eq!(parse(r#"{"a":NaN}"#), Err(Fault::JsonMalformed));
    assert_eq!(parse("null"), Err(Fault::Filter));
}

#[test]
fn limits_are_inclusive() {
    let nested = |n: usize| "{\"$and\":[".repeat(n) + "{\"a\":1}" + &"]}".repeat(n);
    assert!(parse(&nested(8)).is_ok());
    assert_eq!(parse(&nested(9)), Err(Fault::FilterTooLarge));
    let many = |n: usize| format!("{{\"$or\":[{}]}}", vec!["{\"a\":1}"; n].join(","));
    assert!(parse(&many(1024)).is_ok());
    assert_eq!(parse(&many(1025)), Err(Fault::FilterTooLarge));
    let long = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n));
    assert!(parse(&long((64 << 10) - 8)).is_ok());
    assert_eq!(parse(&long((64 << 10) - 7)), Err(Fault::FilterTooLarge));
    // Spelling does not count.
    let escaped = long((64 << 10) - 8).replace('x', "\\u0078").replace(':', " : ");
    assert!(parse(&escaped).is_ok());
    let array = format!("{{\"a\":{{\"$in\":[{}1]}}}}", "1,".repeat(1_000_000));
    assert_eq!(parse(&array), Err(Fault::FilterTooLarge));
}

#[test]
fn non_filterable_keys_are_refused_anywhere() {
    let filter = parse(r#"{"$or":[{"a":1},{"$and":[{"note":"x"}]}]}"#).unwrap();
    assert_eq!(filter.check_keys(&["note".into()]).unwrap_err().fault(), Fault::FilterKey);
    assert!(filter.check_keys(&["other".into()]).is_ok());
}

pub(crate) fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        "\\PC{0,6}".prop_map(|t| Scalar::String(t.into())),
        any::<i64>().prop_map(Scalar::Integer),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Scalar::Float),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let number = prop_oneof![
        any::<i64>().prop_map(Number::Integer),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Number::Float),
    ];
    let tests = prop_oneof![
        any_scalar().prop_map(Test::Eq),
        any_scalar().prop_map(Test::Ne),
        number.clone().prop_map(Test::Gt),
        number.prop_map(Test::Lte),
        prop::collection::vec(any_scalar(), 1..4).prop_map(Test::In),
        prop::collection::vec(any_scalar(), 1..4).prop_map(Test::NotIn),
        any::<bool>().prop_map(Test::Exists),
    ];
    let leaf = ("[^$\u{0}]\\PC{0,4}", tests)
        .prop_map(|(key, test)| Filter::Test { key: key.into(), test });
    prop_oneof![1 => Just(Filter::All), 6 => leaf].prop_recursive(5, 24, 4, |inner| {
        let parts = prop::collection::vec(inner, 1..4);
        prop_oneof![parts.clone().prop_map(Filter::And), parts.prop_map(Filter::Or)]
    })
}

proptest! {
    #[test]
    fn written_filters_read_back(filter in any_filter()) {
        let json = String::from_utf8(filter.to_json()).unwrap();
        prop_assert_eq!(parse(&json), Ok(filter), "{}", json);
    }
}

use proptest::prelude::*;

use super::*;
use crate::oss::{Attribute, Fault, Filter, Limits, Metric, Scalar, Value};

const SHAPE: IndexShape<'static> =
    IndexShape { dimension: 2, metric: Metric::Euclidean, non_filterable: &[] };

fn put(body: &str) -> Result<PutVectors<'_>, Fault> {
    put_into(body, &SHAPE)
}

fn put_into<'a>(body: &'a str, shape: &IndexShape<'_>) -> Result<PutVectors<'a>, Fault> {
    PutVectors::decode(body.as_bytes(), shape, &Limits::default()).map_err(|e| e.fault())
}

fn rows(rows: &str) -> String {
    format!(r#"{{"indexName":"i","vectors":[{rows}]}}"#)
}

fn with_metadata(metadata: &str) -> String {
    rows(&format!(r#"{{"key":"k","data":{{"float32":[1,2]}},"metadata":{metadata}}}"#))
}

#[test]
fn a_batch_is_decoded() {
    let body = r#"{"indexName":"vectorindex1","vectors":[
        {"key":"doc-001","data":{"float32":[0.1,-2]},"metadata":{"category":["news","tech"], "source":"web","n":5,"f":5.0,"ok":true}},
        {"metadata":null,"data":{"float32": [ 3e0 , 4 ]},"key":"\u4e2d\ud83d\ude00","extra":{"a":[1]}}]}"#;
    let batch = put(body).unwrap();
    assert_eq!(batch.index.as_str(), "vectorindex1");
    assert_eq!(batch.keys, ["doc-001".into(), "中😀".into()]);
    assert_eq!(batch.values, [0.1, -2.0, 3.0, 4.0]);
    assert_eq!(
        batch.metadata[0],
        Some(r#"{"category":["news","tech"], "source":"web","n":5,"f":5.0,"ok":true}"#)
    );
    assert_eq!(batch.metadata[1], None);
    let text = |t: &str| Scalar::String(t.into());
    let attribute = |key: &str, value| Attribute { key: key.into(), value };
    assert_eq!(
        batch.attributes[0],
        [
            attribute("category", Value::Many(vec![text("news"), text("tech")])),
            attribute("source", Value::One(text("web"))),
            attribute("n", Value::One(Scalar::Integer(5))),
            attribute("f", Value::One(Scalar::Float(5.0))),
            attribute("ok", Value::One(Scalar::Bool(true))),
        ]
    );
    assert!(batch.attributes[1].is_empty());
    assert_eq!(index_name(body.as_bytes()).unwrap(), batch.index);
}

#[test]
fn the_index_is_found_wherever_it_stands() {
    let name =
        |body: &str| index_name(body.as_bytes()).map(|n| n.to_string()).map_err(|e| e.fault());
    assert_eq!(name(r#"{"indexName":"a","vectors":[nonsense"#), Ok("a".to_owned()));
    assert_eq!(name(r#"{"vectors":[{"indexName":"x"}],"indexName":"a"}"#), Ok("a".to_owned()));
    assert_eq!(name(r#"{"vectors":[]}"#), Err(Fault::IndexName));
    assert_eq!(name(r#"{"indexName":"no_name"}"#), Err(Fault::IndexName));
    assert_eq!(name(r#"{"indexName":1}"#), Err(Fault::JsonShape));
    assert_eq!(name("NaN"), Err(Fault::JsonMalformed));
    // A long body is first looked at without its tail, which may cut a member or a character.
    let long = |text: &str| format!(r#"{{"a":"{}","indexName":"late"}}"#, text.repeat(500));
    assert_eq!(name(&long("x")), Ok("late".to_owned()));
    assert_eq!(name(&long("é")), Ok("late".to_owned()));
    let early = format!(r#"{{"indexName":"early","a":"{}"}}"#, "x".repeat(600));
    assert_eq!(name(&early), Ok("early".to_owned()));
    // The name that was authorised is the one that is decoded.
    assert_eq!(put(r#"{"indexName":"a","vectors":[],"indexName":"b"}"#), Err(Fault::JsonDuplicate));
}

#[test]
fn refused_batches() {
    let good = r#"{"key":"a","data":{"float32":[1,2]}}"#;
    let cases = [
        ("{}".to_owned(), Fault::IndexName),
        (r#"{"indexName":"i"}"#.to_owned(), Fault::VectorBatch),
        (rows(""), Fault::VectorBatch),
        (rows("{}"), Fault::VectorKey),
        (rows(r#"{"key":"a"}"#), Fault::VectorData),
        (rows(r#"{"key":"a","data":{}}"#), Fault::VectorData),
        (rows(r#"{"key":"a","data":{"float32":null}}"#), Fault::VectorData),
        (rows(r#"{"key":"a","data":{"float32":[]}}"#), Fault::VectorDimension),
        (rows(r#"{"key":"a","data":{"float32":[1]}}"#), Fault::VectorDimension),
        (rows(r#"{"key":"a","data":{"float32":[1,2,3]}}"#), Fault::VectorDimension),
        (rows(r#"{"key":"a","data":{"float32":[1,1e39]}}"#), Fault::VectorData),
        (rows(r#"{"key":"a","data":{"float32":[1,-1e999]}}"#), Fault::VectorData),
        (rows(r#"{"key":"a","data":{"float32":[1,NaN]}}"#), Fault::JsonMalformed),
        (rows(r#"{"key":"a","data":{"float32":[1,Infinity]}}"#), Fault::JsonMalformed),
        (rows(r#"{"key":"a","data":{"float32":[1,null]}}"#), Fault::JsonShape),
        (rows(r#"{"key":"a","data":{"float32":["1","2"]}}"#), Fault::JsonShape),
        (rows(r#"{"key":"a","data":[1,2]}"#), Fault::JsonShape),
        (rows(r#"{"key":"","data":{"float32":[1,2]}}"#), Fault::VectorKey),
        (rows(r#"{"key":null,"data":{"float32":[1,2]}}"#), Fault::VectorKey),
        (rows(r#"{"key":5,"data":{"float32":[1,2]}}"#), Fault::JsonShape),
        (rows(r#"{"key":"\ud800","data":{"float32":[1,2]}}"#), Fault::JsonMalformed),
        (rows(r#"{"key":"a","key":"b","data":{"float32":[1,2]}}"#), Fault::JsonDuplicate),
        (rows(&format!("{good},{good}")), Fault::VectorKeyRepeated),
        (
            rows(&format!("{good},{}", good.replace("\"a\"", "\"\\u0061\""))),
            Fault::VectorKeyRepeated,
        ),
        (rows("5"), Fault::JsonShape),
        (rows(good) + "}", Fault::JsonMalformed),
        (r#"{"indexName":"i","vectors":{}}"#.to_owned(), Fault::JsonShape),
    ];
    for (body, fault) in cases {
        assert_eq!(put(&body), Err(fault), "{body}");
    }
    assert!(put(&rows(good)).is_ok());
}

#[test]
fn batch_size_is_bounded() {
    let batch = |n: usize| {
        let all: Vec<_> =
            (0..n).map(|i| format!(r#"{{"key":"k{i}","data":{{"float32":[1,2]}}}}"#)).collect();
        rows(&all.join(","))
    };
    assert_eq!(put(&batch(500)).unwrap().values.len(), 1000);
    assert_eq!(put(&batch(501)), Err(Fault::VectorBatch));
}

#[test]
fn keys_count_characters_in_any_script() {
    for c in ["a", "é", "中", "😀", "\\u0000", "\\ud83d\\ude00", "\\\""] {
        let body =
            |n: usize| rows(&format!(r#"{{"key":"{}","data":{{"float32":[1,2]}}}}"#, c.repeat(n)));
        assert_eq!(put(&body(1024)).unwrap().keys[0].chars().count(), 1024, "{c}");
        assert_eq!(put(&body(1025)), Err(Fault::VectorKey), "{c}");
    }
}

#[test]
fn cosine_refuses_zero_vectors() {
    let cosine = IndexShape { metric: Metric::Cosine, ..SHAPE };
    for zero in ["[0,0]", "[0.0,-0.0]", "[1e-60,0]"] {
        let body = rows(&format!(r#"{{"key":"k","data":{{"float32":{zero}}}}}"#));
        assert_eq!(put_into(&body, &cosine), Err(Fault::VectorZero), "{zero}");
        assert!(put(&body).is_ok());
    }
}

#[test]
fn metadata_types() {
    for good in ["{}", r#"{"a":[]}"#, r#"{"a":[1,"x",true,2.5]}"#, r#"{"$a":1}"#, r#"{"a-b":"é"}"#]
    {
        assert_eq!(put(&with_metadata(good)).unwrap().metadata[0], Some(good));
    }
    for bad in [
        "[]",
        "5",
        "\"x\"",
        r#"{"a":null}"#,
        r#"{"a":{}}"#,
        r#"{"a":[[1]]}"#,
        r#"{"a":[null]}"#,
        r#"{"":1}"#,
        r#"{"a":1e400}"#,
    ] {
        assert_eq!(put(&with_metadata(bad)), Err(Fault::Metadata), "{bad}");
    }
    assert_eq!(put(&with_metadata(r#"{"a":1,"a":2}"#)), Err(Fault::JsonDuplicate));
    let number = |text: &str| {
        let body = with_metadata(&format!(r#"{{"n":{text}}}"#));
        put(&body).unwrap().attributes[0][0].value.clone()
    };
    let one = Value::One;
    assert_eq!(number("9223372036854775807"), one(Scalar::Integer(i64::MAX)));
    assert_eq!(number("-9223372036854775808"), one(Scalar::Integer(i64::MIN)));
    assert_eq!(number("9223372036854775808"), one(Scalar::Float(9_223_372_036_854_775_808.0)));
    assert_eq!(number("1.0"), one(Scalar::Float(1.0)));
    assert_eq!(number("1e2"), one(Scalar::Float(100.0)));
}

#[test]
fn non_filterable_keys_may_hold_anything() {
    let keys: [Box<str>; 1] = ["note".into()];
    let shape = IndexShape { non_filterable: &keys, ..SHAPE };
    let body = with_metadata(r#"{"note":{"deep":[null,{}]},"a":"b"}"#);
    let batch = put_into(&body, &shape).unwrap();
    assert_eq!(batch.attributes[0].len(), 1);
    let long = with_metadata(&format!(r#"{{"note":"{}"}}"#, "x".repeat(30_000)));
    assert!(put_into(&long, &shape).is_ok());
    assert_eq!(put(&long), Err(Fault::MetadataTooLarge));
}

#[test]
fn metadata_limits_are_exact_and_spelling_does_not_count() {
    let keys: [Box<str>; 1] = ["note".into()];
    let shape = IndexShape { non_filterable: &keys, ..SHAPE };
    // {"note":"..."} has 11 bytes around the text, {"a":"..."} has 8.
    let total = |n: usize| with_metadata(&format!(r#"{{"note":"{}"}}"#, "x".repeat(n)));
    assert!(put_into(&total((40 << 10) - 11), &shape).is_ok());
    assert_eq!(put_into(&total((40 << 10) - 10), &shape), Err(Fault::MetadataTooLarge));
    let filterable = |n: usize| with_metadata(&format!(r#"{{"a":"{}"}}"#, "é".repeat(n)));
    assert!(put(&filterable(1020)).is_ok());
    assert_eq!(put(&filterable(1021)), Err(Fault::MetadataTooLarge));
    assert!(put(&filterable(1020).replace('é', "\\u00e9").replace(':', " :\t")).is_ok());
    let two = |n: usize| with_metadata(&format!(r#"{{"a":1,"b":"{}"}}"#, "x".repeat(n)));
    assert!(put(&two(2048 - 14)).is_ok());
    assert_eq!(put(&two(2048 - 13)), Err(Fault::MetadataTooLarge));
    let padded = with_metadata(&format!("{{{}}}", " ".repeat(6 * (40 << 10))));
    assert_eq!(put(&padded), Err(Fault::MetadataTooLarge));
    let array = with_metadata(&format!(r#"{{"a":[{}1]}}"#, "1,".repeat(100_000)));
    assert_eq!(put(&array), Err(Fault::MetadataTooLarge));
}

#[test]
fn filterable_keys_are_counted() {
    let keys: [Box<str>; 1] = ["note".into()];
    let shape = IndexShape { non_filterable: &keys, ..SHAPE };
    let members = |n: usize| {
        let all: Vec<_> = (0..n).map(|i| format!("\"k{i}\":{i}")).collect();
        with_metadata(&format!("{{\"note\":1,{}}}", all.join(",")))
    };
    assert_eq!(put_into(&members(10), &shape).unwrap().attributes[0].len(), 10);
    assert_eq!(put_into(&members(11), &shape), Err(Fault::MetadataKeys));
}

#[test]
fn get() {
    let get =
        |body: &str| GetVectors::decode(body.as_bytes(), &Limits::default()).map_err(|e| e.fault());
    let full = get(r#"{"indexName":"i","keys":["a","a","b"],"returnData":true}"#).unwrap();
    assert_eq!(full.keys, ["a".into(), "a".into(), "b".into()]);
    assert!(full.return_data && !full.return_metadata);
    let keys = |n: usize| format!(r#"{{"indexName":"i","keys":[{}]}}"#, vec!["\"k\""; n].join(","));
    assert_eq!(get(&keys(100)).unwrap().keys.len(), 100);
    for bad in [keys(101), keys(0), r#"{"indexName":"i"}"#.to_owned()] {
        assert_eq!(get(&bad), Err(Fault::VectorBatch), "{bad}");
    }
    assert_eq!(get(r#"{"indexName":"i","keys":["a",""]}"#), Err(Fault::VectorKey));
    assert_eq!(get(r#"{"indexName":"i","keys":"a"}"#), Err(Fault::JsonShape));
    assert_eq!(get(r#"{"indexName":"i","keys":["a"],"returnData":1}"#), Err(Fault::JsonShape));
    assert_eq!(get(r#"{"keys":["a"]}"#), Err(Fault::IndexName));
}

#[test]
fn delete() {
    let delete = |body: &str| {
        DeleteVectors::decode(body.as_bytes(), &Limits::default()).map_err(|e| e.fault())
    };
    let some = delete(r#"{"indexName":"i","keys":["b","a","b"]}"#).unwrap();
    assert_eq!(some.keys, ["b".into(), "a".into()]);
    let keys = |n: usize| {
        let all: Vec<_> = (0..n).flat_map(|i| [format!("\"k{i}\""), "\"k0\"".to_owned()]).collect();
        format!(r#"{{"indexName":"i","keys":[{}]}}"#, all.join(","))
    };
    assert_eq!(delete(&keys(500)).unwrap().keys.len(), 500);
    assert_eq!(delete(&keys(501)), Err(Fault::VectorBatch));
    assert_eq!(delete(&keys(0)), Err(Fault::VectorBatch));
}

#[test]
fn list() {
    let list = |body: &str| {
        ListVectors::decode(body.as_bytes(), &Limits::default()).map_err(|e| e.fault())
    };
    let first = list(r#"{"indexName":"i","maxResults":0,"nextToken":""}"#).unwrap();
    assert_eq!(
        (first.max, first.token, first.segment_count, first.segment_index),
        (500, None, 1, 0)
    );
    assert_eq!(first.filter, Filter::All);
    let full = list(r#"{"indexName":"i","maxResults":1000,"nextToken":"t","segmentCount":16,"segmentIndex":15,"filter":{"a":1},"returnMetadata":true}"#).unwrap();
    assert_eq!((full.max, full.token.as_deref(), full.segment_index), (1000, Some("t"), 15));
    assert!(full.return_metadata);
    let keys: [Box<str>; 1] = ["a".into()];
    assert!(full.check(&SHAPE).is_ok());
    let shape = IndexShape { non_filterable: &keys, ..SHAPE };
    assert_eq!(full.check(&shape).unwrap_err().fault(), Fault::FilterKey);
    let with = |member: &str| list(&format!(r#"{{"indexName":"i",{member}}}"#)).map(|_| ());
    for bad in [
        r#""segmentCount":0"#,
        r#""segmentCount":17"#,
        r#""segmentIndex":1"#,
        r#""segmentIndex":-1"#,
        r#""segmentCount":2,"segmentIndex":2"#,
        r#""segmentCount":1.5"#,
    ] {
        assert_eq!(with(bad), Err(Fault::Segment), "{bad}");
    }
    assert_eq!(with(r#""maxResults":1001"#), Err(Fault::MaxResults));
    assert_eq!(with(&format!(r#""nextToken":"{}""#, "x".repeat(2049))), Err(Fault::NextToken));
    assert_eq!(with(r#""filter":"x""#), Err(Fault::Filter));
    assert_eq!(with(r#""filter":null"#), Ok(()));
}

#[test]
fn query() {
    let query = |body: &str| {
        QueryVectors::decode(body.as_bytes(), &Limits::default()).map_err(|e| e.fault())
    };
    let full = query(r#"{"filter": {"$and": [{"a": {"$eq": "b"}}]}, "indexName": "i1", "queryVector": {"float32": [0.1, 2]}, "returnDistance": true, "returnMetadata": false, "topK": 3}"#).unwrap();
    assert_eq!((full.vector.as_slice(), full.top_k), (&[0.1, 2.0][..], 3));
    assert!(full.return_distance && !full.return_metadata && full.check(&SHAPE).is_ok());
    let fault = |shape: IndexShape<'_>| full.check(&shape).unwrap_err().fault();
    assert_eq!(fault(IndexShape { dimension: 3, ..SHAPE }), Fault::VectorDimension);
    assert_eq!(fault(IndexShape { non_filterable: &["a".into()], ..SHAPE }), Fault::FilterKey);
    let with = |vector: &str, top_k: &str| {
        query(&format!(r#"{{"indexName":"i","queryVector":{vector},"topK":{top_k}}}"#))
    };
    let zero = with(r#"{"float32":[0,0]}"#, "1").unwrap();
    let cosine = IndexShape { metric: Metric::Cosine, ..SHAPE };
    assert_eq!(zero.check(&cosine).unwrap_err().fault(), Fault::VectorZero);
    assert_eq!(with(r#"{"float32":[1]}"#, "500").unwrap().top_k, 500);
    for top_k in ["0", "501", "-1", "1.5", "null"] {
        assert_eq!(with(r#"{"float32":[1]}"#, top_k), Err(Fault::TopK), "{top_k}");
    }
    assert_eq!(with(r#"{"float32":[1]}"#, "\"3\""), Err(Fault::JsonShape));
    for vector in ["null", "{}", r#"{"float32":[]}"#, r#"{"float32":[1e39]}"#] {
        assert_eq!(with(vector, "1"), Err(Fault::VectorData), "{vector}");
    }
    assert_eq!(with("[1]", "1"), Err(Fault::JsonShape));
    let long = format!(r#"{{"float32":[{}1]}}"#, "1,".repeat(4096));
    assert_eq!(with(&long, "1"), Err(Fault::VectorDimension));
}

proptest! {
    #[test]
    fn values_are_serde_then_cast(
        numbers in prop::collection::vec(any::<f32>().prop_filter("finite", |n| n.is_finite()), 6),
        spaced in any::<bool>(),
        widened in any::<bool>(),
    ) {
        let write = |n: &f32| if widened { format!("{}", f64::from(*n)) } else { format!("{n:e}") };
        let texts: Vec<String> = numbers.iter().map(write).collect();
        let separator = if spaced { ", " } else { "," };
        let row = |i: usize| format!(
            r#"{{"key":"k{i}","data":{{"float32":[{}]}}}}"#, texts[2 * i..2 * i + 2].join(separator)
        );
        let body = rows(&[row(0), row(1), row(2)].join(separator));
        let bits = |values: &[f32]| values.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&put(&body).unwrap().values), bits(&numbers));
    }
}

#[test]
fn texts_say_which_row_and_member() {
    let shape = IndexShape { dimension: 2, metric: Metric::Cosine, non_filterable: &[] };
    let put = |rows: &str| {
        let body = format!(r#"{{"indexName":"i","vectors":[{rows}]}}"#);
        let limits = Limits::default();
        PutVectors::decode(body.as_bytes(), &shape, &limits).unwrap_err().message().to_owned()
    };
    let good = r#"{"key":"a","data":{"float32":[1,2]}}"#;
    let zero = r#"{"key":"b","data":{"float32":[0,0]}}"#;
    let expected = format!("vectors[1]: {}", Fault::VectorZero.message());
    assert_eq!(put(&format!("{good},{zero}")), expected);
    let expected = format!("vectors[1]: {}", Fault::VectorKeyRepeated.message());
    assert_eq!(put(&format!("{good},{good}")), expected);
    let null = r#"{"key":"a","data":{"float32":[1,2]},"metadata":{"year":null}}"#;
    assert!(put(null).starts_with("vectors[0]: metadata.year: null, "), "{}", put(null));
    let text = r#"{"key":"a","data":{"float32":[1,"2"]}}"#;
    let expected = "vectors[0]: The body is not JSON of the expected shape (near byte 60).";
    assert_eq!(put(text), expected);

    let query = |body: &str| {
        QueryVectors::decode(body.as_bytes(), &Limits::default()).unwrap_err().message().to_owned()
    };
    assert_eq!(query(""), "The body is empty; a JSON object is expected.");
    assert_eq!(
        query(r#"{"topK":"5"}"#),
        "topK: The body is not JSON of the expected shape (near byte 8)."
    );
    assert!(query(r#"{"filter":{"a":{"$foo":1}}}"#).contains("$foo: Unknown filter operator"));
    assert_eq!(
        index_name(b"{]").unwrap_err().message(),
        "The body is not valid JSON (near byte 1)."
    );
}

#[test]
fn a_query_may_say_how_sure_to_be() {
    let query = |members: &str| {
        let body =
            format!(r#"{{"indexName":"i","queryVector":{{"float32":[1]}},"topK":1{members}}}"#);
        QueryVectors::decode(body.as_bytes(), &Limits::default()).map_err(|e| e.fault())
    };
    let precision = |members: &str| query(members).map(|query| query.precision);
    assert_eq!(precision(""), Ok(Precision::Usual));
    assert!(!query("").unwrap().explain);
    assert_eq!(precision(r#","recall":0.5"#), Ok(Precision::Recall(0.5)));
    assert_eq!(precision(r#","recall":1"#), Ok(Precision::Recall(1.0)));
    assert_eq!(precision(r#","recall":null,"exact":false"#), Ok(Precision::Usual));
    assert_eq!(precision(r#","recall":0.5,"exact":true"#), Ok(Precision::Exact));
    assert!(query(r#","explain":true"#).unwrap().explain);
    for recall in ["0", "-1", "1.01", "1e300"] {
        assert_eq!(precision(&format!(r#","recall":{recall}"#)), Err(Fault::IndexParameter));
    }
    for member in [r#","recall":"1""#, r#","exact":1"#, r#","explain":"yes""#] {
        assert_eq!(precision(member), Err(Fault::JsonShape), "{member}");
    }
}

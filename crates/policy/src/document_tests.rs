use proptest::prelude::*;

use super::*;
use crate::{ConditionKey, Operator, Values};

fn statement(extra: &str) -> String {
    format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":["oss:PutVectors"],"Principal":["1234567890123456"],"Resource":["acs:ossvector:*:*:vec/*"]{extra}}}]}}"#
    )
}

fn kind(text: &str) -> ErrorKind {
    Document::parse(Kind::Bucket, text.as_bytes()).expect_err(text).kind
}

#[test]
fn a_full_document_is_typed() {
    let text = r#"{"Version":"1","Statement":[
      {"Effect":"Deny","NotAction":"ossvector:Get*","Principal":[],"Resource":"acs:oss:*:*:b/*",
       "Condition":{"NotIpAddress":{"acs:SourceIp":["10.0.0.0/8","101.*.*.100"]},
                    "StringNotLike":{"acs:SourceVpc":"vpc-*"},
                    "Bool":{"acs:SecureTransport":[true,"HTTPS"]},
                    "NumericLessThan":{"oss:BucketTag/level":3},
                    "DateGreaterThan":{"acs:CurrentTime":"2019-09-29T00:00:00+08:00"}}}]}"#;
    let document = Document::parse(Kind::Bucket, text.as_bytes()).unwrap();
    let [statement] = &document.statements[..] else { panic!("one statement") };
    assert_eq!(statement.effect, Effect::Deny);
    assert!(matches!(&statement.actions, Actions::Except(actions) if actions.len() == 1));
    assert_eq!(statement.principals.as_deref(), Some(&[PrincipalPattern::Everyone][..]));
    assert_eq!(statement.resources[0].to_text(), "acs:oss:*:*:b/*");
    let values: Vec<_> = statement.conditions.iter().map(|c| (c.operator, &c.key)).collect();
    assert_eq!(values[0], (Operator::NotIpAddress, &ConditionKey::SourceIp));
    assert_eq!(statement.conditions[2].values, Values::Bools(vec![true, true]));
    assert_eq!(statement.conditions[3].values, Values::Numbers(vec![3.0]));
    assert_eq!(statement.conditions[4].values, Values::Dates(vec![1_569_686_400]));
}

#[test]
fn documented_spellings_are_accepted() {
    let good = [
        statement(""),
        statement(r#","Condition":{}"#),
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Principal":"*","Resource":"*"}]}"#.to_owned(),
        r#"{"Statement":[{"Resource":["acs:ossvector:cn-hangzhou:1234567890:bucket/my-bucket/index/my-index"],
            "Principal":["arn:sts::1:assumed-role/r/*"],"Action":"oss:*","Effect":"Deny"}],"Version":"1"}"#.to_owned(),
    ];
    for text in good {
        assert!(Document::parse(Kind::Bucket, text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn every_class_of_refusal() {
    let item =
        format!(r#","Condition":{{"StringLike":{{"acs:UserAgent":"{}"}}}}"#, "x".repeat(4096));
    let padded = statement("") + &" ".repeat(16 << 10);
    assert_eq!(kind(&padded), ErrorKind::TooLarge);
    assert_eq!(kind(&statement(&item)), ErrorKind::ItemTooLong);
    assert_eq!(kind(&statement("").replace("\"1\"", "\"2\"")), ErrorKind::Version);
    assert_eq!(kind(r#"{"Statement":[]}"#), ErrorKind::Version);
    assert_eq!(kind(&statement("").replace("\"1\"", "1")), ErrorKind::Syntax);
}

#[test]
fn the_item_limit_is_exact() {
    let item =
        |len| format!(r#","Condition":{{"StringLike":{{"acs:UserAgent":"{}"}}}}"#, "x".repeat(len));
    assert!(Document::parse(Kind::Bucket, statement(&item(4095)).as_bytes()).is_ok());
    let base = statement("").len();
    let full = statement("") + &" ".repeat((16 << 10) - base);
    assert!(Document::parse(Kind::Bucket, full.as_bytes()).is_ok());
}

#[test]
fn the_unknown_is_refused() {
    let bad = [
        "",
        "{",
        "[]",
        "null",
        r#"{"Version":"1"}"#,
        r#"{"Version":"1","Statement":[]}"#,
        r#"{"Version":"1","Statement":{}}"#,
        r#"{"Version":"1","Id":"x","Statement":[]}"#,
        &statement(r#","NotPrincipal":["1"]"#),
        &statement(r#","NotResource":["*"]"#),
        &statement(r#","Sid":"x""#),
        &statement(r#","NotAction":["oss:*"]"#),
        &statement(r#","Effect":"Deny""#),
        &statement(r#","Condition":[]"#),
        &statement(r#","Condition":{"Null":{"acs:SourceIp":"true"}}"#),
        &statement(r#","Condition":{"StringEqualsIfExists":{"acs:SourceIp":"1"}}"#),
        &statement(r#","Condition":{"StringEquals":{"aws:SourceIp":"1"}}"#),
        &statement(r#","Condition":{"StringEquals":{"oss:BucketTag/":"1"}}"#),
        &statement(r#","Condition":{"StringEquals":{"acs:UserAgent":[]}}"#),
        &statement(r#","Condition":{"StringEquals":{"acs:UserAgent":{}}}"#),
        &statement(r#","Condition":{"StringEquals":{"acs:UserAgent":null}}"#),
        &statement(r#","Condition":{"NumericEquals":{"acs:UserAgent":"NaN"}}"#),
        &statement(r#","Condition":{"Bool":{"acs:MFAPresent":"yes"}}"#),
        &statement(r#","Condition":{"DateEquals":{"acs:CurrentTime":"yesterday"}}"#),
        &statement(r#","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/40"}}"#),
        &statement(r#","Condition":{"IpAddress":{"acs:UserAgent":"10.0.0.0/8"}}"#),
        &statement(r#","Condition":{"DateEquals":{"acs:SourceIp":"2019-09-29T00:00:00Z"}}"#),
        &statement(r#","Condition":{"StringEquals":{"acs:CurrentTime":"2019-09-29T00:00:00Z"}}"#),
        &statement(r#","Condition":{"NumericEquals":{"acs:AccessId":"1"}}"#),
        &statement(r#","Condition":{"Bool":{"acs:SourceVpc":"true"}}"#),
        &statement("").replace("Allow", "allow"),
        &statement("").replace("oss:PutVectors", "ecs:Start"),
        &statement("").replace("acs:ossvector", "acs:ecs"),
        &statement("").replace("1234567890123456", "bob"),
        &statement("").replace(r#"["oss:PutVectors"]"#, "[]"),
        &statement("").replace(r#"["oss:PutVectors"]"#, "[1]"),
    ];
    for text in bad {
        if !text.contains("Statement\":[]") && !text.is_empty() && text.contains("Version") {
            assert_eq!(kind(text), ErrorKind::Syntax, "{text}");
        } else {
            assert!(Document::parse(Kind::Bucket, text.as_bytes()).is_err(), "{text}");
        }
    }
}

#[test]
fn kinds_differ_in_elements_and_limits() {
    let own = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*"}]}"#;
    for kind in [Kind::Identity, Kind::Session] {
        assert!(Document::parse(kind, own.as_bytes()).is_ok());
        assert!(Document::parse(kind, statement("").as_bytes()).is_err());
        let padded = own.to_owned() + &" ".repeat(kind.bytes_max() + 1 - own.len());
        let refused = Document::parse(kind, padded.as_bytes()).expect_err("one byte too many");
        assert_eq!(refused.kind, ErrorKind::TooLarge);
        assert!(Document::parse(kind, &padded.as_bytes()[..kind.bytes_max()]).is_ok());
    }
    assert!(Document::parse(Kind::Bucket, own.as_bytes()).is_err());
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!(r#"{{"Version":{}1{}"#, "[".repeat(5000), "]".repeat(5000));
    assert!(Document::parse(Kind::Bucket, deep.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        crate::fuzz::policy(&bytes);
        crate::fuzz::decide(&bytes);
        crate::fuzz::glob(&bytes);
    }

    #[test]
    fn mutated_documents_never_panic(at in 0usize..300, byte in any::<u8>(), extra in "[ -~]{0,12}") {
        let mut text = statement(r#","Condition":{"IpAddress":{"acs:SourceIp":["10.0.0.0/8"]}}"#).into_bytes();
        let at = at % text.len();
        text[at] = byte;
        crate::fuzz::policy(&text);
        crate::fuzz::decide(&text);
        text.splice(at..at, extra.bytes());
        crate::fuzz::policy(&text);
        crate::fuzz::decide(&text);
    }
}

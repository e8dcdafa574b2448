//! Known answers of both vector sets, for signing and for verifying, and the table of refusals.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::canonical::{Canonical, hex};
use super::*;
use crate::oss::{Error, Fault, parse_basic};

struct Set {
    id: &'static str,
    secret: &'static str,
    bucket: &'static str,
    date: &'static str,
}

/// The input of the first vector set, V1 to V8.
const FIRST: Set = Set {
    id: "LTAI5tExampleAccessKey00",
    secret: "ExampleSecretKey0000000000000000",
    bucket: "my-vec-bucket",
    date: "20250917T083045Z",
};
/// The input of the second vector set, 1 to 4.
const SECOND: Set =
    Set { id: "LTAItestak", secret: "testsecret", bucket: "vb", date: "20260102T030405Z" };

const ACCOUNT: &str = "1234567890123456";
const REGION: &str = "cn-hangzhou";
const EMPTY_MD5: (&str, &str) = ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
const BODY_MD5: (&str, &str) = ("content-md5", "zOPR5TqFiJfnbiU3tm2p5Q==");
const JSON: (&str, &str) = ("content-type", "application/json");
const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");
const TOKEN: (&str, &str) = ("x-oss-security-token", "CAIS+example/token==");
const FIRST_HOST: &str = "my-vec-bucket-1234567890123456.cn-hangzhou.oss-vectors.aliyuncs.com";

struct Vector {
    set: &'static Set,
    method: &'static str,
    query: &'static str,
    has_bucket: bool,
    headers: Vec<(&'static str, &'static str)>,
    additional: &'static [&'static str],
    token: Option<&'static str>,
    expires: Option<u32>,
    canonical_sha256: &'static str,
    signature: &'static str,
}

impl Vector {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if self.expires.is_none() {
            headers.insert("x-oss-date", HeaderValue::from_static(self.set.date));
            headers.insert("x-oss-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
        }
        headers
    }

    fn resource(&self) -> Option<(&str, &str)> {
        self.has_bucket.then_some((ACCOUNT, self.set.bucket))
    }

    fn credentials(&self) -> Credentials {
        Credentials {
            access_key_id: self.set.id.to_owned(),
            secret: self.set.secret.to_owned(),
            token: self.token.map(str::to_owned),
        }
    }

    /// Signs; gives the query to send and the headers to send.
    fn signed(&self) -> (String, HeaderMap) {
        let mut headers = self.headers();
        let input = SignInput {
            method: self.method,
            region: REGION,
            resource: self.resource(),
            query: self.query,
            headers: &headers.clone(),
            additional: self.additional,
            at: parse_basic(self.set.date).unwrap(),
        };
        match self.expires {
            Some(seconds) => (presign(&self.credentials(), &input, seconds), headers),
            None => {
                let value = authorization(&self.credentials(), &input);
                headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
                (self.query.to_owned(), headers)
            }
        }
    }

    fn check(&self) {
        let (query, headers) = self.signed();
        let shown = match headers.get("authorization") {
            Some(value) => value.to_str().unwrap().to_owned(),
            None => query.clone(),
        };
        assert!(shown.ends_with(&format!("ignature={}", self.signature)), "{shown}");
        let request = Request { method: self.method, query: &query, headers: &headers };
        let now = parse_basic(self.set.date).unwrap() + 60;
        let Claim::Signed(signed) = Claim::parse(request, &Rules { region: REGION, now }).unwrap()
        else {
            panic!("not seen as signed: {shown}");
        };
        assert_eq!(signed.access_key_id(), self.set.id);
        assert_eq!(signed.token(), self.token);
        let key = SigningKey::derive(self.set.secret, signed.day(), signed.region());
        signed.verify(&key, self.resource()).unwrap();
        let other = SigningKey::derive("other", signed.day(), signed.region());
        let error = signed.verify(&other, self.resource()).unwrap_err();
        assert_eq!(error.fault(), Fault::SignatureMismatch);
        let hash = &field(&error, "StringToSign")[field(&error, "StringToSign").len() - 64..];
        assert_eq!(hash, self.canonical_sha256);
        assert!(signed.verify(&key, Some((ACCOUNT, "other"))).is_err());
    }
}

fn field<'e>(error: &'e Error, name: &str) -> &'e str {
    let found = error.fields().iter().find(|(field, _)| *field == name);
    &found.unwrap_or_else(|| panic!("no field {name}")).1
}

fn vectors() -> Vec<Vector> {
    let base = |set, method, query, canonical_sha256, signature| Vector {
        set,
        method,
        query,
        has_bucket: true,
        headers: vec![],
        additional: &[],
        token: None,
        expires: None,
        canonical_sha256,
        signature,
    };
    vec![
        // V1: header, bucket, JSON body.
        Vector {
            headers: vec![JSON, BODY_MD5],
            ..base(
                &FIRST,
                "POST",
                "getVectorIndex=",
                "2d8aa25804a9f89c78a018e59b3583f17860740d0585d9d1d42a813c2336f5aa",
                "2be92b2fe57e0d597b062eb68606d231ce49daa886f0d35521ecd25d1e5ac7f5",
            )
        },
        // V2: no bucket.
        Vector {
            headers: vec![OCTETS, EMPTY_MD5],
            has_bucket: false,
            ..base(
                &FIRST,
                "GET",
                "max-keys=10&prefix=my-%2Fp",
                "5c1bdbf35c17c1f9b409f09fd753e3a4ac29a2d9be4aa1058b9a71a11c07044d",
                "8291c6eb8ccea4bb4ca02bc8e057b1133161347a9b92e8ebaeb93a99961ae7bc",
            )
        },
        // V3: policy sub-resource.
        Vector {
            headers: vec![EMPTY_MD5],
            ..base(
                &FIRST,
                "GET",
                "policy=",
                "a1c63b656743b7d74cabcf0e59a515e1a72f0aa32574d79c08e012f5a0c62cd5",
                "df51c86b9f0af26bd18cab4b33ba13cd1b701fc6afff2d631bc41c1062a9a786",
            )
        },
        // V4: security token.
        Vector {
            headers: vec![JSON, BODY_MD5, TOKEN],
            token: Some(TOKEN.1),
            ..base(
                &FIRST,
                "POST",
                "getVectorIndex=",
                "5fb4a5c7a7ce67607d3e04473ff908aef0597d4283c1578dc6c325de999d5ae9",
                "5729ec2d70189ef25e7e9da6d991374dd7b334ceb60e8471ce7cb853b2f818f0",
            )
        },
        // V5: additional headers; Content-Type and X-Missing are dropped from the list.
        Vector {
            headers: vec![JSON, BODY_MD5, ("host", FIRST_HOST), ("user-agent", "probe/1.0")],
            additional: &["Host", "User-Agent", "Content-Type", "X-Missing"],
            ..base(
                &FIRST,
                "POST",
                "getVectorIndex=",
                "48212ce6aa81db244599ada9e4fd3f2418a62736dde22f6f161342f3953d851f",
                "d309bf31a8b28e49bfca06f27b53eaac1b49a0a9c6be024ff7a56f8219290fc8",
            )
        },
        // V6: presigned.
        Vector {
            expires: Some(600),
            ..base(
                &FIRST,
                "GET",
                "bucketInfo",
                "8607c7f2a0ac158e85586b48c5c6a7368c3277852035b35517601639081132f1",
                "9e373332681fe31e03e905510f23fcfaea4aaebbaefae055f6b3a8baf2f5954e",
            )
        },
        // V7: presigned with token and signed Host.
        Vector {
            headers: vec![("host", FIRST_HOST)],
            additional: &["host"],
            token: Some(TOKEN.1),
            expires: Some(600),
            ..base(
                &FIRST,
                "GET",
                "bucketInfo",
                "7f29342d687172993f8bf5452ed80bde20f9f3763b102831002d61ffa29b79e1",
                "f8bed8ba8a9864a894484536e0566459ddc6069369ced6694134e5248ff5f373",
            )
        },
        // V8: x-oss headers, empty query.
        Vector {
            headers: vec![
                OCTETS,
                EMPTY_MD5,
                ("x-oss-resource-group-id", "rg-aekz1234"),
                ("x-oss-bucket-tagging", "k1=v1&k2=v2"),
            ],
            ..base(
                &FIRST,
                "PUT",
                "",
                "88013f8d5f03569b835607990ade299e0876c1f1fcdab39b21110ff0fce6c2a2",
                "191ba17a9c90f46cc91a2def9dc4e4762249c5b73947ece21767640b7a0dcc26",
            )
        },
        // Second set, 1 to 4.
        Vector {
            headers: vec![JSON, EMPTY_MD5],
            ..base(
                &SECOND,
                "POST",
                "putVectors",
                "cd3b8154972fd6d62e52b862ce363250bfe86f44fd6e0ddebac9267aeefe2354",
                "16768b3ea5852e37a91d1cbe96d8acb7e45591adde32ba0cfd710f236b5e2dfc",
            )
        },
        Vector {
            has_bucket: false,
            ..base(
                &SECOND,
                "GET",
                "max-keys=10&prefix=a%2Fb",
                "1e16f7b413a4ca33986caac011d60f2448ff4479f6b8457adb0ae45f3c87a9d6",
                "3ee1cf116b79a86d5b416309a5ea54062c9925b0980bcbecaa8c349838a724ed",
            )
        },
        Vector {
            headers: vec![
                ("x-oss-security-token", "TOK/en+="),
                ("host", "vb-1234567890123456.cn-hangzhou.oss-vectors.aliyuncs.com"),
            ],
            additional: &["host"],
            token: Some("TOK/en+="),
            ..base(
                &SECOND,
                "GET",
                "policy",
                "8fe410c953740b57efc4f6de51baaa2bfa421c9f904b5c70e84bc9d85937a9d7",
                "29dd843e1ccf83af1e197d2ad5d5939a137e795cedc3606d617dcffbcee0e894",
            )
        },
        Vector {
            token: Some("TOK/en+="),
            expires: Some(600),
            ..base(
                &SECOND,
                "GET",
                "policy",
                "6215e636c66388b1831e28bfcac785db7356d473ad77bfd8c69ade78109dccee",
                "1429e1a668cb0c443c8d30e59fb9c452d0e72da78b8d3cecaf70149a369ac73a",
            )
        },
    ]
}

#[test]
fn known_answers_sign_and_verify() {
    vectors().iter().for_each(Vector::check);
}

#[test]
fn exact_known_headers_and_urls() {
    let (_, headers) = vectors()[4].signed();
    assert_eq!(
        headers["authorization"],
        "OSS4-HMAC-SHA256 Credential=LTAI5tExampleAccessKey00/20250917/cn-hangzhou/oss/aliyun_v4_request,\
         AdditionalHeaders=host;user-agent,\
         Signature=d309bf31a8b28e49bfca06f27b53eaac1b49a0a9c6be024ff7a56f8219290fc8"
    );
    let (query, _) = vectors()[5].signed();
    assert_eq!(
        query,
        "bucketInfo&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20250917T083045Z&x-oss-expires=600\
         &x-oss-credential=LTAI5tExampleAccessKey00%2F20250917%2Fcn-hangzhou%2Foss%2Faliyun_v4_request\
         &x-oss-signature=9e373332681fe31e03e905510f23fcfaea4aaebbaefae055f6b3a8baf2f5954e"
    );
}

#[test]
fn canonical_request_of_v1_is_the_printed_text() {
    let headers = vectors()[0].headers();
    let canonical = Canonical {
        method: "POST",
        region: REGION,
        resource: Some((ACCOUNT, "my-vec-bucket")),
        query: "getVectorIndex=",
        headers: &headers,
        additional: &[],
    };
    let text = "POST\n/acs%3Aossvector%3Acn-hangzhou%3A1234567890123456%3Amy-vec-bucket/\ngetVectorIndex\n\
                content-md5:zOPR5TqFiJfnbiU3tm2p5Q==\ncontent-type:application/json\n\
                x-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:20250917T083045Z\n\n\nUNSIGNED-PAYLOAD";
    assert_eq!(canonical.request(), text.as_bytes());
    assert_eq!(hex(&[0, 0xab]), "00ab");
}

#[test]
fn the_token_is_masked_in_the_answer() {
    for vector in vectors().iter().filter(|vector| vector.token.is_some()) {
        let (query, headers) = vector.signed();
        let request = Request { method: vector.method, query: &query, headers: &headers };
        let now = parse_basic(vector.set.date).unwrap();
        let claim = Claim::parse(request, &Rules { region: REGION, now }).unwrap();
        let Claim::Signed(signed) = claim else { panic!("signed") };
        let key = SigningKey::derive("other", signed.day(), signed.region());
        let error = signed.verify(&key, vector.resource()).unwrap_err();
        let body = String::from_utf8(error.body("ID", "host", None)).unwrap();
        assert!(body.contains("***"), "{body}");
        assert!(!body.contains("example/token") && !body.contains("TOK/en"), "{body}");
        assert!(!body.contains("example%2Ftoken") && !body.contains("TOK%2Fen"), "{body}");
        assert_eq!(field(&error, "SignatureProvided"), vector.signature);
        let bytes = field(&error, "StringToSignBytes");
        assert!(bytes.starts_with("4f 53 53 34 2d"), "{bytes}");
        assert!(signed.token().is_some());
        assert_eq!(signed.unknown_key().fault(), Fault::AccessKeyUnknown);
        assert_eq!(signed.unknown_key().fields()[0].1, vector.set.id);
    }
}

const NOW: i64 = 1_758_097_845; // 20250917T083045Z
const SCOPE: &str = "20250917/cn-hangzhou/oss/aliyun_v4_request";

fn parse(query: &str, headers: &[(&'static str, &str)], now: i64) -> Result<(), Error> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let request = Request { method: "GET", query, headers: &map };
    match Claim::parse(request, &Rules { region: REGION, now })? {
        Claim::Anonymous => Err(Error::new(Fault::AnonymousForbidden)),
        Claim::Signed(_) => Ok(()),
    }
}

#[test]
fn header_refusals() {
    let date = ("x-oss-date", "20250917T083045Z");
    let good = format!("OSS4-HMAC-SHA256 Credential=ak/{SCOPE},Signature=ff");
    let check = |authorization: &str, expected: Fault| {
        let error = parse("policy", &[("authorization", authorization), date], NOW).unwrap_err();
        assert_eq!(error.fault(), expected, "{authorization}");
        let shown = format!("{:?}", error.fields());
        assert!(!shown.contains("Signature=ff"), "{shown}");
    };
    assert!(parse("policy", &[("authorization", &good), date], NOW).is_ok());
    let spaced = good.replace(',', ", ");
    assert!(parse("policy", &[("authorization", &spaced), date], NOW).is_ok());
    check("OSS ak:c2lnbmF0dXJl", Fault::AuthorizationScheme);
    check("OSS2 AccessKeyId:ak,Signature:ff", Fault::AuthorizationScheme);
    check("AWS4-HMAC-SHA256 Credential=ak", Fault::AuthorizationScheme);
    check("OSS4-HMAC-SHA256x", Fault::AuthorizationScheme);
    check("OSS4-HMAC-SHA256", Fault::AuthorizationMalformed);
    check(&good.replace(",Sig", ",,Sig"), Fault::AuthorizationMalformed);
    check(&good.replace(",Sig", ",Other=1,Sig"), Fault::AuthorizationMalformed);
    check(&good.replace(",Sig", ",Signature=aa,Sig"), Fault::AuthorizationMalformed);
    check(&good.replace(",Sig", ",garbage,Sig"), Fault::AuthorizationPart);
    check("OSS4-HMAC-SHA256 Signature=ff", Fault::AuthorizationCredentialMissing);
    check("OSS4-HMAC-SHA256 Credential=,Signature=ff", Fault::AuthorizationCredentialMissing);
    check(&good.replace("Signature=ff", "Signature="), Fault::AuthorizationSignatureEmpty);
    check(&good.replace(",Signature=ff", ""), Fault::AuthorizationSignatureEmpty);
    check(
        &good.replace(",Sig", ",AdditionalHeaders=,Sig"),
        Fault::AuthorizationAdditionalHeadersEmpty,
    );
    check(&good.replace(",Sig", ",AdditionalHeaders=host,Sig"), Fault::AdditionalHeaderMissing);
    check(&good.replace(",Sig", ",AdditionalHeaders=x_y,Sig"), Fault::AdditionalHeaderMissing);
    check(&good.replace("ak/", "ak/x/"), Fault::CredentialShape);
    check(&good.replace("ak/", "/"), Fault::CredentialShape);
    check(&good.replace("/oss/", "/ossvector/"), Fault::CredentialShape);
    check(&good.replace("aliyun_v4_request", "aws4_request"), Fault::CredentialShape);
    check(&good.replace("20250917", "2025-9-17"), Fault::SigningDate);
    check(&good.replace("20250917", "20250918"), Fault::SigningDate);
    check(&good.replace("cn-hangzhou", "oss-cn-hangzhou"), Fault::SigningRegion);
    check(&good.replace("ak/", "a-k/"), Fault::AccessKeyCharacters);
    let twice = parse("", &[("authorization", &good), ("authorization", &good), date], NOW);
    assert_eq!(twice.unwrap_err().fault(), Fault::AuthenticationRepeated);
    let both = parse("x-oss-credential=1", &[("authorization", &good), date], NOW);
    assert_eq!(both.unwrap_err().fault(), Fault::AuthenticationTwice);
    let hash = parse("", &[("authorization", &good), date, ("x-oss-content-sha256", "zz")], NOW);
    assert_eq!(hash.unwrap_err().fault(), Fault::PayloadHash);
    let repeated = parse("x-oss-a=1&x-oss-a=2", &[("authorization", &good), date], NOW);
    assert_eq!(repeated.unwrap_err().fault(), Fault::AuthenticationRepeated);
    assert_eq!(parse("policy", &[], NOW).unwrap_err().fault(), Fault::AnonymousForbidden);
    for name in ["x-oss-date", "x-oss-meta", "content-type", "content-md5"] {
        let value = if name == date.0 { date.1 } else { "a" };
        let headers = [("authorization", &*good), date, (name, value), (name, value)];
        let repeated = parse("", &headers, NOW).unwrap_err();
        assert_eq!(repeated.fault(), Fault::AuthenticationRepeated, "{name}");
    }
    let with_host = good.replace(",Sig", ",AdditionalHeaders=accept,Sig");
    for (authorization, refused) in [(&good, false), (&with_host, true)] {
        let headers = [("authorization", &**authorization), date, ("accept", "a"), ("accept", "b")];
        assert_eq!(parse("", &headers, NOW).is_err(), refused, "{authorization}");
    }
}

#[test]
fn header_times() {
    let good = format!("OSS4-HMAC-SHA256 Credential=ak/{SCOPE},Signature=ff");
    let fault = |headers: &[(&'static str, &str)], now| {
        let all = [&[("authorization", good.as_str())], headers].concat();
        parse("", &all, now).err()
    };
    let date = ("x-oss-date", "20250917T083045Z");
    assert!(fault(&[("date", "Wed, 17 Sep 2025 08:30:45 GMT")], NOW).is_none());
    assert_eq!(fault(&[], NOW).unwrap().fault(), Fault::DateMissing);
    assert_eq!(fault(&[("x-oss-date", "yesterday")], NOW).unwrap().fault(), Fault::DateFormat);
    assert_eq!(fault(&[("date", "20250917T083045Z")], NOW).unwrap().fault(), Fault::DateFormat);
    for shift in [-900, 0, 900] {
        assert!(fault(&[date], NOW + shift).is_none(), "{shift}");
    }
    for shift in [-901, 901, 86_400, -7 * 86_400] {
        let error = fault(&[date], NOW + shift).unwrap();
        assert_eq!((error.fault(), error.status()), (Fault::TimeSkewed, 403), "{shift}");
        assert_eq!(field(&error, "MaxAllowedSkewMilliseconds"), "900000");
        assert_eq!(field(&error, "RequestTime"), "2025-09-17T08:30:45.000Z");
        assert_eq!(field(&error, "ServerTime").len(), 24);
    }
    assert_eq!(fault(&[date], NOW + 8 * 86_400).unwrap().fault(), Fault::SigningDate);
    assert_eq!(fault(&[date], i64::from(i32::MIN)).unwrap().fault(), Fault::SigningDate);
}

#[test]
fn query_refusals() {
    let scope = SCOPE.replace('/', "%2F");
    let good = format!(
        "policy&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20250917T083045Z&x-oss-expires=600\
         &x-oss-credential=ak%2F{scope}&x-oss-signature=ff"
    );
    let check = |query: &str, now: i64, expected: Fault| {
        let error = parse(query, &[], now).expect_err(query);
        assert_eq!(error.fault(), expected, "{query}");
        error
    };
    assert!(parse(&good, &[], NOW).is_ok());
    check(&good.replace("-HMAC-SHA256", ""), NOW, Fault::QueryVersionMissing);
    check("OSSAccessKeyId=ak&Expires=1&Signature=x", NOW, Fault::QueryVersionMissing);
    check(&good.replace("x-oss-credential", "x"), NOW, Fault::QueryParameterMissing);
    check(&good.replace("x-oss-date", "x"), NOW, Fault::QueryParameterMissing);
    check(&good.replace("x-oss-expires", "x"), NOW, Fault::QueryExpiresMissing);
    check(&good.replace("x-oss-signature=ff", ""), NOW, Fault::QuerySignatureMissing);
    check(&good.replace("ak%2F", "ak%2Fx%2F"), NOW, Fault::CredentialShapeInQuery);
    check(&good.replace("%2F20250917", "%2F20250918"), NOW, Fault::SigningDateInQuery);
    check(&good.replace("cn-hangzhou", "cn-beijing"), NOW, Fault::SigningRegionInQuery);
    check(&good.replace("083045Z", "083045"), NOW, Fault::DateFormat);
    for bad in ["0", "604801", "-1", "+5", "1.5", "99999999999999999999"] {
        check(&good.replace("expires=600", &format!("expires={bad}")), NOW, Fault::ExpiresRange);
    }
    assert!(parse(&good.replace("600", "604800"), &[], NOW + 604_800).is_ok());
    assert!(parse(&good, &[], NOW - 900).is_ok());
    check(&good, NOW - 901, Fault::UrlExpired);
    let error = check(&good, NOW + 601, Fault::UrlExpired);
    assert_eq!(field(&error, "Expires"), "2025-09-17T08:40:45.000Z");
    let listed = format!("{good}&x-oss-additional-headers=host");
    check(&listed, NOW, Fault::AdditionalHeaderMissingInQuery);
    check(&format!("{good}&x-oss-expires=601"), NOW, Fault::AuthenticationRepeated);
    check(&good.replace("ak%2F", "a%FF%2F"), NOW, Fault::QueryInvalid);
}

#[test]
fn temporary_keys_need_a_token() {
    let good = format!("OSS4-HMAC-SHA256 Credential=STS.ak/{SCOPE},Signature=ff");
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&good).unwrap());
    headers.insert("x-oss-date", HeaderValue::from_static("20250917T083045Z"));
    let request = Request { method: "GET", query: "", headers: &headers };
    let Ok(Claim::Signed(signed)) = Claim::parse(request, &Rules { region: REGION, now: NOW })
    else {
        panic!("signed");
    };
    assert!(signed.token().is_none());
    assert_eq!(signed.disabled_key().fault(), Fault::AccessKeyDisabled);
}

proptest! {
    #[test]
    fn any_signed_request_verifies_and_any_change_does_not(
        query in "[a-z]{0,6}(=[a-z0-9%+]{0,4})?(&[a-z]{1,4}(=[a-z]{0,3})?){0,3}",
        value in "[ -~]{0,20}",
        bucket in "[a-z0-9-]{3,20}",
        at in 0i64..4_000_000_000,
        presigned in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("x-oss-meta", HeaderValue::from_str(&value).unwrap());
        headers.insert("host", HeaderValue::from_static("localhost"));
        if !presigned {
            headers.insert("x-oss-date", HeaderValue::from_str(&crate::oss::to_basic(at)).unwrap());
        }
        let credentials = Credentials {
            access_key_id: "ak".to_owned(), secret: "secret".to_owned(), token: None,
        };
        let resource = Some((ACCOUNT, bucket.as_str()));
        let input = SignInput {
            method: "POST", region: REGION, resource, query: &query, headers: &headers.clone(),
            additional: &["host"], at,
        };
        let query = if presigned {
            presign(&credentials, &input, 60)
        } else {
            let value = authorization(&credentials, &input);
            headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
            query
        };
        let rules = Rules { region: REGION, now: at };
        let key = SigningKey::derive("secret", &crate::oss::to_basic(at)[..8], REGION);
        let verify = |method: &str, query: &str, headers: &HeaderMap| {
            let Claim::Signed(signed) = Claim::parse(Request { method, query, headers }, &rules)? else {
                panic!("signed");
            };
            signed.verify(&key, resource)
        };
        prop_assert!(verify("POST", &query, &headers).is_ok());
        prop_assert!(verify("PUT", &query, &headers).is_err());
        let longer = format!("{query}&zz=1");
        prop_assert!(verify("POST", &longer, &headers).is_err());
        headers.insert("host", HeaderValue::from_static("elsewhere"));
        prop_assert!(verify("POST", &query, &headers).is_err());
    }
}

//! Random and mutated inputs for every fuzz body.

use proptest::prelude::*;

use super::*;

/// Valid inputs from which mutations start, per target.
fn seeds(target: &str) -> &'static [&'static str] {
    match target {
        "host" => &[
            "/?putVectors\nmy-vec-1-1234567890123456.cn-hangzhou.oss-vectors.aliyuncs.com:80",
            "http://b-1234567890123456.localhost/?op\nb-1234567890123456.localhost",
            "/my-bucket/\n127.0.0.1:9000",
            "/\n[::1]:9000",
        ],
        "query" => &["policy", "tagging=k1,k2", "max-keys=10&prefix=my-%2Fp&marker=a", "vector"],
        "headers" => &[
            "x-oss-resource-group-id:rg-1\nx-oss-bucket-tagging:k1=v1&k2=v2",
            "content-md5:1B2M2Y8AsgTpgAmY7PhCfg==\nx-oss-content-sha256:UNSIGNED-PAYLOAD",
        ],
        "signature" => &[
            "getVectorIndex=\nx-oss-date:20250917T083045Z\nhost:h\nx-oss-security-token:secret\nauthorization:OSS4-HMAC-SHA256 \
             Credential=ak/20250917/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=host,Signature=ff",
            "policy&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20250917T083045Z&x-oss-expires=600\
             &x-oss-credential=ak%2F20250917%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-signature=ff\nhost:h",
        ],
        "bodies" => &[
            r#"{"indexName":"i","dataType":"float32","dimension":4,"distanceMetric":"cosine","metadata":{"nonFilterableMetadataKeys":["note"]}}"#,
            r#"{"indexName":"i","keys":["a","b"],"returnData":true,"returnMetadata":false}"#,
            r#"{"indexName":"i","maxResults":5,"nextToken":"x","segmentCount":2,"segmentIndex":1,"filter":{"a":{"$in":[1,"x"]}}}"#,
            r#"{"filter":{"$and":[{"a":{"$eq":"b"}}]},"indexName":"i1","queryVector":{"float32":[0.1,1e3]},"topK":3}"#,
            r#"{"Tagging":{"TagSet":{"Tag":[{"Key":"k1","Value":"v1"}]}}}"#,
            r#"{"BucketLoggingStatus":{"LoggingEnabled":{"TargetBucket":"log","TargetPrefix":"p"}}}"#,
            r#"{"BucketResourceGroupConfiguration":{"ResourceGroupId":"rg-1"}}"#,
        ],
        "put_vectors" => &[
            r#"{"indexName":"i","vectors":[{"key":"a","data":{"float32":[1.5,-2e-3]},"metadata":{"note":{"x":[1]},"t":["a",1,true],"n":5}},{"key":"\u4e2d","data":{"float32":[0.10000000149011612,3]}}]}"#,
            r#"{"vectors":[{"data":{"float32":[7]},"key":"k"}],"indexName":"i"}"#,
        ],
        "filter" => &[
            r#"{"$or":[{"a":"x"},{"b":{"$gte":1,"$lt":5.5}},{"$and":[{"c":{"$nin":["y",true]}},{}]}],"d":{"$exists":false}}"#,
        ],
        "token" => &["AQ", "AQAAAAAAAAAAAAAAAAAAAAAAAAAA"],
        "names" => &["my-bucket", "Index1"],
        _ => &[],
    }
}

/// Pieces that parsers stumble over.
const PIECES: &[&str] = &[
    "NaN",
    "Infinity",
    "1e39",
    "1e999",
    "-0",
    "\"",
    "\\ud800",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\0",
    "null",
    "\n",
    "é",
    "😀",
    "%2F",
    "%",
    "x-oss-date:x\n",
    "&",
    "=",
    "\"indexName\":\"j\",",
    "9223372036854775808",
];

fn mutate(seed: &[u8], edits: &[(prop::sample::Index, u8, prop::sample::Index)]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (at, how, piece) in edits {
        let at = if bytes.is_empty() { 0 } else { at.index(bytes.len()) };
        match how % 4 {
            0 => drop(bytes.splice(at..at, PIECES[piece.index(PIECES.len())].bytes())),
            1 if at < bytes.len() => bytes[at] = *how,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let copy: Vec<u8> = bytes[at..].iter().take(12).copied().collect();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
    bytes
}

#[test]
fn seeds_run_and_every_target_has_some() {
    for (name, run) in TARGETS {
        assert!(!seeds(name).is_empty(), "{name}");
        seeds(name).iter().for_each(|seed| run(seed.as_bytes()));
    }
}

#[test]
fn seeds_of_bodies_are_accepted() {
    let limits = Limits::default();
    let shape =
        IndexShape { dimension: 2, metric: Metric::Euclidean, non_filterable: &["note".into()] };
    assert!(PutVectors::decode(seeds("put_vectors")[0].as_bytes(), &shape, &limits).is_ok());
    assert!(PutVectorIndex::decode(seeds("bodies")[0].as_bytes(), &limits).is_ok());
    assert!(QueryVectors::decode(seeds("bodies")[3].as_bytes(), &limits).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn mutated_inputs_hold(
        seed in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()), 0..5),
    ) {
        for (name, run) in TARGETS {
            let seeds = seeds(name);
            run(&mutate(seeds[seed.index(seeds.len())].as_bytes(), &edits));
        }
    }

    #[test]
    fn random_inputs_hold(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\x00-\\x7f]{0,120}") {
        for (_, run) in TARGETS {
            run(&bytes);
            run(text.as_bytes());
        }
    }
}

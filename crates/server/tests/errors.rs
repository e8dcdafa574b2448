//! Every documented error code with status, EC and body, and the order in which checks are made.

mod common;

use common::{ACCESS_KEY_ID, ACCOUNT, Call, DOMAIN, TestServer};
use serde_json::{Value, json};

/// A server with `vec`/`idx` (dimension 2, cosine, `note` non-filterable).
async fn server() -> TestServer {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "cosine").await;
    server
}

async fn check(server: &TestServer, operation: &str, body: &str, ec: &str) {
    let call = Call::new("POST", "vec", operation).with_body(body);
    let answer = server.send(&call).await;
    let code =
        if ec.starts_with("0900-000003") { "MalformedJson" } else { "VectorIndexParameterInvalid" };
    answer.check_error(400, code, ec);
    assert_eq!(answer.json()["Error"]["BucketName"], "vec", "{body}");
}

#[tokio::test]
async fn signatures_are_checked_before_anything_else() {
    let server = TestServer::start().await;
    let get = || Call::new("GET", "No_Such_Name", "bucketInfo");
    type Change = fn(&mut Call);
    let cases: [(Change, u16, &str, &str); 10] = [
        (|c| c.signed = false, 403, "AccessDenied", "0003-00000001"),
        (|c| c.secret = "wrong-secret".into(), 403, "SignatureDoesNotMatch", "0002-00000040"),
        (|c| c.access_key_id = "LTAIunknown".into(), 403, "InvalidAccessKeyId", "0002-00000902"),
        (|c| c.access_key_id = "LT-AI".into(), 403, "InvalidAccessKeyId", "0002-00000901"),
        (|c| c.shift = -1000, 403, "RequestTimeTooSkewed", "0002-00000504"),
        (|c| c.shift = 1000, 403, "RequestTimeTooSkewed", "0002-00000504"),
        (|c| c.region = "cn-beijing".into(), 400, "InvalidArgument", "0002-00000226"),
        (
            |c| {
                c.signed = false;
                c.headers.push(("Authorization".into(), "OSS AK:sig".into()));
            },
            400,
            "InvalidArgument",
            "0002-00000061",
        ),
        (
            |c| {
                c.signed = false;
                c.headers.push(("Authorization".into(), "OSS4-HMAC-SHA256 Signature=ab".into()));
            },
            400,
            "InvalidArgument",
            "0002-00000205",
        ),
        (
            |c| c.query = "bucketInfo&x-oss-signature=ab".into(),
            400,
            "InvalidArgument",
            "0900-00000101",
        ),
    ];
    for (change, status, code, ec) in cases {
        server.send(&get().with(change)).await.check_error(status, code, ec);
    }
    let metrics = server.admin("/metrics").await;
    let line = "vectorbucket_auth_failures_total{code=\"SignatureDoesNotMatch\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test]
async fn a_wrong_signature_shows_what_was_signed_and_no_secret() {
    let server = TestServer::start().await;
    let call = Call::new("GET", "vec", "bucketInfo").with(|c| c.secret = "wrong-secret".into());
    let answer = server.send(&call).await;
    let error = answer.json()["Error"].clone();
    assert_eq!(error["OSSAccessKeyId"], ACCESS_KEY_ID);
    for name in ["SignatureProvided", "StringToSign", "StringToSignBytes", "CanonicalRequest"] {
        assert!(error[name].as_str().is_some_and(|v| !v.is_empty()), "{name}: {error}");
    }
    assert!(error["CanonicalRequest"].as_str().unwrap().contains("acs%3Aossvector"), "{error}");
    assert!(!answer.text().contains(common::SECRET));
}

#[tokio::test]
async fn signed_urls_work_and_expire() {
    let server = TestServer::start().await;
    server.bucket("vec").await;
    let get = || Call::new("GET", "vec", "bucketInfo");
    assert_eq!(server.send(&get().presigned(600)).await.status, 200);
    assert_eq!(server.send(&Call::account("GET", "").presigned(604_800)).await.status, 200);
    let late = get().with(|c| c.shift = -700).presigned(600);
    server.send(&late).await.check_error(403, "AccessDenied", "0002-00000236");
    let long = get().presigned(604_801);
    server.send(&long).await.check_error(400, "InvalidArgument", "0002-00000232");
    let changed = get().presigned(600).with(|c| c.query = c.query.replace("bucketInfo", "policy"));
    server.send(&changed).await.check_error(403, "SignatureDoesNotMatch", "0002-00000040");
}

#[tokio::test]
async fn names_come_before_existence_and_existence_before_the_body() {
    let server = TestServer::start().await;
    let operations = [
        ("GET", "bucketInfo"),
        ("DELETE", ""),
        ("PUT", "policy"),
        ("GET", "policy"),
        ("DELETE", "policy"),
        ("PUT", "logging"),
        ("GET", "logging"),
        ("DELETE", "logging"),
        ("PUT", "tagging"),
        ("GET", "tagging"),
        ("DELETE", "tagging"),
        ("PUT", "resourceGroup"),
        ("GET", "resourceGroup"),
        ("POST", "putVectorIndex"),
        ("POST", "getVectorIndex"),
        ("POST", "listVectorIndexes"),
        ("POST", "deleteVectorIndex"),
        ("POST", "putVectors"),
        ("POST", "getVectors"),
        ("POST", "listVectors"),
        ("POST", "deleteVectors"),
        ("POST", "queryVectors"),
    ];
    let overlong = "x".repeat(37);
    for (method, query) in operations {
        let call = Call::new(method, "missing-bucket-name", query).with_body("{ not json");
        server.send(&call).await.check_error(404, "NoSuchBucket", "0015-00000101");
        for name in [overlong.as_str(), "Upper", "ab", "-ab", "ab-"] {
            let call = Call::new(method, name, query).with_body("{ not json");
            server.send(&call).await.check_error(400, "InvalidVectorBucketName", "0900-00000401");
        }
    }
    let call = Call::new("PUT", &overlong, "");
    server.send(&call).await.check_error(400, "InvalidVectorBucketName", "0900-00000401");
    assert_eq!(server.send(&Call::new("PUT", &"x".repeat(32), "")).await.status, 200);
}

#[tokio::test]
async fn bucket_faults() {
    let server = TestServer::with(|config| config.quotas.buckets_max = 2).await;
    server.index("vec", "idx", 2, "cosine").await;
    let delete = server.send(&Call::new("DELETE", "vec", "")).await;
    delete.check_error(409, "VectorBucketNotEmpty", "0015-00000301");
    let other = Call::new("PUT", "vec", "").with_header("x-oss-resource-group-id", "rg-other");
    server.send(&other).await.check_error(409, "BucketAlreadyExists", "0015-00000104");
    server.bucket("second").await;
    let third = server.send(&Call::new("PUT", "third", "")).await;
    third.check_error(400, "TooManyBuckets", "0900-00000402");
    let list = |query: &str| Call::account("GET", query);
    for query in ["max-keys=0", "max-keys=1001", "max-keys=x", "max-keys=-1"] {
        server.send(&list(query)).await.check_error(400, "InvalidArgument", "0900-00000212");
    }
}

#[tokio::test]
async fn bucket_configuration_faults() {
    let server = server().await;
    let put =
        |query: &str, body: &Value| Call::new("PUT", "vec", query).with_body(body.to_string());
    let statement =
        json!({"Effect": "Allow", "Action": "oss:*", "Resource": "*", "Principal": "*"});
    let big = json!({"Version": "1", "Statement": [statement], "x": "y".repeat(17 << 10)});
    let long = json!({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "a".repeat(4096),
                      "Resource": "*", "Principal": "*"}]});
    let tag = |list: Value| json!({"Tagging": {"TagSet": {"Tag": list}}});
    let many: Vec<Value> = (0..21).map(|i| json!({"Key": format!("k{i}"), "Value": ""})).collect();
    let logging = |inner: Value| json!({"BucketLoggingStatus": {"LoggingEnabled": inner}});
    for (query, body, code, ec) in [
        ("policy", big, "InvalidPolicyDocument", "0030-00000001"),
        (
            "policy",
            json!({"Version": "2", "Statement": [statement]}),
            "InvalidPolicyDocument",
            "0030-00000002",
        ),
        ("policy", long, "InvalidPolicyDocument", "0030-00000003"),
        (
            "policy",
            json!({"Version": "1", "Statement": "x"}),
            "InvalidPolicyDocument",
            "0030-00000005",
        ),
        ("policy", json!("text"), "InvalidPolicyDocument", "0030-00000005"),
        ("tagging", tag(json!(many)), "InvalidArgument", "0900-00000403"),
        ("tagging", tag(json!([{"Key": "", "Value": "v"}])), "InvalidArgument", "0900-00000403"),
        (
            "tagging",
            tag(json!([{"Key": "aliyun-x", "Value": "v"}])),
            "InvalidArgument",
            "0900-00000403",
        ),
        (
            "tagging",
            tag(json!([{"Key": "k", "Value": "v".repeat(129)}])),
            "InvalidArgument",
            "0900-00000403",
        ),
        (
            "logging",
            logging(json!({"TargetBucket": "NO"})),
            "InvalidTargetBucketForLogging",
            "0900-00000405",
        ),
        ("logging", logging(json!({"TargetPrefix": "x"})), "InvalidArgument", "0900-00000406"),
        ("tagging", json!([1]), "MalformedJson", "0900-00000311"),
        ("logging", json!(3), "MalformedJson", "0900-00000311"),
        ("resourceGroup", json!("x"), "MalformedJson", "0900-00000311"),
    ] {
        let answer = server.send(&put(query, &body)).await;
        answer.check_error(400, code, ec);
    }
    for query in ["logging", "tagging", "resourceGroup"] {
        let call = Call::new("PUT", "vec", query).with_body("{ no");
        server.send(&call).await.check_error(400, "MalformedJson", "0900-00000310");
    }
}

#[tokio::test]
async fn index_faults() {
    let server = TestServer::with(|config| config.quotas.indexes_max = 2).await;
    server.index("vec", "idx", 2, "cosine").await;
    let put = |change: Value| {
        let mut body = json!({"indexName": "other", "dataType": "float32", "dimension": 2,
                              "distanceMetric": "cosine"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body.to_string()
    };
    for (change, ec) in [
        (json!({"indexName": "1x"}), "0900-00000502"),
        (json!({"indexName": "x".repeat(64)}), "0900-00000502"),
        (json!({"indexName": "a-b"}), "0900-00000502"),
        (json!({"indexName": null}), "0900-00000502"),
        (json!({"dataType": "float16"}), "0900-00000501"),
        (json!({"dimension": 0}), "0900-00000501"),
        (json!({"dimension": 4097}), "0900-00000501"),
        (json!({"distanceMetric": "manhattan"}), "0900-00000501"),
        (json!({"metadata": {"nonFilterableMetadataKeys": []}}), "0900-00000501"),
        (json!({"metadata": {"nonFilterableMetadataKeys": ["1a"]}}), "0900-00000501"),
        (json!({"dimension": "2"}), "0900-00000311"),
    ] {
        check(&server, "putVectorIndex", &put(change), ec).await;
    }
    let exists =
        Call::new("POST", "vec", "putVectorIndex").with_body(put(json!({"indexName": "idx"})));
    server.send(&exists).await.check_error(409, "VectorBucketIndexAlreadyExist", "0900-00000504");
    server.ok(&Call::new("POST", "vec", "putVectorIndex").with_body(put(json!({})))).await;
    let third =
        Call::new("POST", "vec", "putVectorIndex").with_body(put(json!({"indexName": "third"})));
    server.send(&third).await.check_error(400, "VectorBucketIndexExceedLimit", "0900-00000505");
    let missing = json!({"indexName": "none", "keys": ["a"], "topK": 1, "queryVector": {"float32": [1, 2]},
                         "vectors": [{"key": "a", "data": {"float32": [1, 2]}}]});
    for operation in [
        "getVectorIndex",
        "deleteVectorIndex",
        "putVectors",
        "getVectors",
        "listVectors",
        "deleteVectors",
        "queryVectors",
    ] {
        let answer = server.send(&Call::post("vec", operation, &missing)).await;
        answer.check_error(404, "NoSuchVectorIndex", "0900-00000503");
        check(&server, operation, "{\"indexName\":", "0900-00000310").await;
        check(&server, operation, "{}", "0900-00000502").await;
    }
    check(&server, "listVectorIndexes", "{\"maxResults\": 501}", "0900-00000614").await;
}

#[tokio::test]
async fn put_vectors_faults() {
    let server = server().await;
    let row =
        |key: &str, data: &str| format!("{{\"key\":\"{key}\",\"data\":{{\"float32\":{data}}}}}");
    let put = |rows: &str| format!("{{\"indexName\":\"idx\",\"vectors\":[{rows}]}}");
    let many: Vec<String> = (0..501).map(|i| row(&format!("k{i}"), "[1,2]")).collect();
    let meta = |json: &str| {
        put(&format!("{{\"key\":\"a\",\"data\":{{\"float32\":[1,2]}},\"metadata\":{json}}}"))
    };
    let keys: Vec<String> = (0..11).map(|i| format!("\"k{i}\":1")).collect();
    for (body, ec) in [
        (put(""), "0900-00000601"),
        (put(&many.join(",")), "0900-00000601"),
        (put(&row("", "[1,2]")), "0900-00000602"),
        (put(&row(&"ü".repeat(1025), "[1,2]")), "0900-00000602"),
        (put(&[row("a", "[1,2]"), row("a", "[3,4]")].join(",")), "0900-00000603"),
        (put("{\"key\":\"a\"}"), "0900-00000604"),
        (put(&row("a", "[1e39,2]")), "0900-00000604"),
        (put(&row("a", "[1]")), "0900-00000605"),
        (put(&row("a", "[1,2,3]")), "0900-00000605"),
        (put(&row("a", "[0,0.0]")), "0900-00000606"),
        (meta("{\"k\":{\"x\":1}}"), "0900-00000607"),
        (meta(&format!("{{\"k\":\"{}\"}}", "x".repeat(2100))), "0900-00000608"),
        (meta(&format!("{{\"note\":\"{}\"}}", "x".repeat(41_000))), "0900-00000608"),
        (meta(&format!("{{{}}}", keys.join(","))), "0900-00000609"),
        (put(&row("a", "[NaN,1]")), "0900-00000310"),
        (put(&row("a", "[Infinity,1]")), "0900-00000310"),
        (put(&row("a", "\"x\"")), "0900-00000311"),
        (put("{\"key\":\"a\",\"key\":\"b\",\"data\":{\"float32\":[1,2]}}"), "0900-00000312"),
        (put("3"), "0900-00000311"),
        ("[1,2]".into(), "0900-00000311"),
        ("{\"indexName\":\"idx\"} x".into(), "0900-00000310"),
    ] {
        check(&server, "putVectors", &body, ec).await;
    }
    let listed = server.ok(&Call::post("vec", "listVectors", &json!({"indexName": "idx"}))).await;
    assert_eq!(listed.json(), json!({"vectors": []}), "a refused batch writes nothing");
}

#[tokio::test]
async fn query_and_list_faults() {
    let server = server().await;
    let query = |change: Value| {
        let mut body = json!({"indexName": "idx", "topK": 3, "queryVector": {"float32": [1, 2]}});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body.to_string()
    };
    let mut deep = json!({"a": 1});
    for _ in 0..9 {
        deep = json!({"$and": [deep]});
    }
    let many: Vec<Value> = (0..1025).map(|i| json!({"a": i})).collect();
    for (change, ec) in [
        (json!({"topK": 0}), "0900-00000613"),
        (json!({"topK": 501}), "0900-00000613"),
        (json!({"topK": null}), "0900-00000613"),
        (json!({"queryVector": {"float32": [1]}}), "0900-00000605"),
        (json!({"queryVector": {"float32": [0, 0]}}), "0900-00000606"),
        (json!({"queryVector": null}), "0900-00000604"),
        (json!({"filter": {"$not": {"a": 1}}}), "0900-00000610"),
        (json!({"filter": {"a": {"$near": 1}}}), "0900-00000610"),
        (json!({"filter": {"a": null}}), "0900-00000610"),
        (json!({"filter": {"$and": []}}), "0900-00000610"),
        (json!({"filter": {"a": {"$in": []}}}), "0900-00000610"),
        (json!({"filter": {"a": {"$gt": "x"}}}), "0900-00000610"),
        (json!({"filter": {"note": "x"}}), "0900-00000611"),
        (json!({"filter": deep}), "0900-00000612"),
        (json!({"filter": {"$or": many}}), "0900-00000612"),
        (json!({"filter": {"a": "x".repeat(70_000)}}), "0900-00000612"),
    ] {
        check(&server, "queryVectors", &query(change), ec).await;
    }
    let list = |change: Value| {
        let mut body = json!({"indexName": "idx"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body.to_string()
    };
    for (change, ec) in [
        (json!({"maxResults": 1001}), "0900-00000614"),
        (json!({"maxResults": -1}), "0900-00000614"),
        (json!({"nextToken": "garbage"}), "0900-00000615"),
        (json!({"nextToken": "x".repeat(2049)}), "0900-00000615"),
        (json!({"segmentCount": 17}), "0900-00000616"),
        (json!({"segmentCount": 2, "segmentIndex": 2}), "0900-00000616"),
        (json!({"filter": {"note": "x"}}), "0900-00000611"),
    ] {
        check(&server, "listVectors", &list(change), ec).await;
    }
    let too_many: Vec<String> = (0..501).map(|i| format!("k{i}")).collect();
    for (operation, keys, ec) in [
        ("getVectors", json!([]), "0900-00000601"),
        ("getVectors", json!(too_many[..101]), "0900-00000601"),
        ("deleteVectors", json!([]), "0900-00000601"),
        ("deleteVectors", json!(too_many), "0900-00000601"),
        ("getVectors", json!([""]), "0900-00000602"),
    ] {
        check(&server, operation, &list(json!({"keys": keys})), ec).await;
    }
}

#[tokio::test]
async fn digests_must_match() {
    let server = server().await;
    let body = json!({"indexName": "idx"}).to_string();
    let call = || Call::new("POST", "vec", "getVectorIndex").with_body(body.clone());
    let wrong = call().with_header("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    server.send(&wrong).await.check_error(400, "InvalidDigest", "0900-00000306");
    let broken = call().with_header("Content-MD5", "no digest");
    server.send(&broken).await.check_error(400, "InvalidDigest", "0900-00000305");
    let empty = Call::new("GET", "vec", "bucketInfo")
        .with_header("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(server.send(&empty).await.status, 200);
    let none = call().with(|c| c.content_md5 = false);
    assert_eq!(server.send(&none).await.status, 200);
}

#[tokio::test]
async fn an_error_names_host_and_bucket() {
    let server = TestServer::start().await;
    let answer = server.send(&Call::new("GET", "missing", "bucketInfo")).await;
    answer.check_error(404, "NoSuchBucket", "0015-00000101");
    let error = answer.json()["Error"].clone();
    assert_eq!(error["HostId"], format!("missing-{ACCOUNT}.{DOMAIN}"));
    assert_eq!(error["BucketName"], "missing");
    assert_eq!(error["Message"], "The specified bucket does not exist.");
}

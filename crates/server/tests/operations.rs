//! Each operation's happy path, with every field of its answer.

mod common;

use common::{ACCOUNT, Answer, Call, REGION, TestServer};
use serde_json::{Value, json};

fn arn(bucket: &str) -> String {
    format!("acs:ossvector:{REGION}:{ACCOUNT}:{bucket}")
}

fn is_iso_millis(text: &Value) -> bool {
    let text = text.as_str().unwrap_or("");
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.'
}

#[track_caller]
fn check_empty(answer: &Answer, status: u16) {
    answer.check_common();
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.is_empty());
    assert!(answer.header("content-type").is_none());
}

#[track_caller]
fn check_json(answer: &Answer, expected: &Value) {
    answer.check_common();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(&answer.json(), expected);
}

#[tokio::test]
async fn buckets_are_made_shown_listed_and_deleted() {
    let server = TestServer::start().await;
    let created = server.send(&Call::new("PUT", "my-vec-1", "")).await;
    check_empty(&created, 200);
    assert_eq!(created.header("location"), Some("/my-vec-1"));
    assert_eq!(created.header("content-length"), Some("0"));
    check_empty(&server.send(&Call::new("PUT", "my-vec-1", "")).await, 200);

    let shown = server.ok(&Call::new("GET", "my-vec-1", "bucketInfo")).await.json();
    let info = &shown["BucketInfo"];
    assert!(is_iso_millis(&info["CreationDate"]), "{shown}");
    let expected = json!({
        "Name": arn("my-vec-1"), "CreationDate": info["CreationDate"],
        "Location": "oss-cn-hangzhou", "Region": "cn-hangzhou",
        "ExtranetEndpoint": "cn-hangzhou.oss-vectors.aliyuncs.com",
        "IntranetEndpoint": "cn-hangzhou-internal.oss-vectors.aliyuncs.com",
        "ResourceGroupId": "rg-default-id",
    });
    assert_eq!(info, &expected);

    let list = server.ok(&Call::account("GET", "")).await;
    check_json(&list, &json!({"ListAllMyBucketsResult": {"Buckets": [expected]}}));
    check_empty(&server.send(&Call::new("DELETE", "my-vec-1", "")).await, 204);
    let list = server.ok(&Call::account("GET", "vector")).await;
    check_json(&list, &json!({"ListAllMyBucketsResult": {"Buckets": []}}));
}

#[tokio::test]
async fn bucket_lists_are_paged_filtered_and_end_without_an_empty_page() {
    let server = TestServer::start().await;
    for name in ["aaa", "my-a", "my-b", "my-c"] {
        let group = if name == "my-b" { "rg-1" } else { "" };
        let call = Call::new("PUT", name, "");
        let call = if group.is_empty() {
            call
        } else {
            call.with_header("x-oss-resource-group-id", group)
        };
        server.ok(&call).await;
    }
    let names = |answer: &Answer| {
        let list = answer.json()["ListAllMyBucketsResult"].clone();
        let names: Vec<String> = list["Buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["Name"].as_str().unwrap().rsplit(':').next().unwrap().to_owned())
            .collect();
        (names, list)
    };
    let (page, list) = names(&server.ok(&Call::account("GET", "max-keys=2&prefix=my-")).await);
    assert_eq!(page, ["my-a", "my-b"]);
    assert_eq!(list["MaxKeys"], 2);
    assert_eq!(list["IsTruncated"], true);
    assert_eq!(list["Prefix"], "my-");
    let marker = list["NextMarker"].as_str().unwrap();
    let rest = Call::account("GET", &format!("marker={marker}&max-keys=2&prefix=my-"));
    let (page, list) = names(&server.ok(&rest).await);
    assert_eq!(page, ["my-c"]);
    assert!(list.get("NextMarker").is_none() && list.get("IsTruncated").is_none(), "{list}");
    let grouped = Call::account("GET", "").with_header("x-oss-resource-group-id", "rg-1");
    assert_eq!(names(&server.ok(&grouped).await).0, ["my-b"]);
}

#[tokio::test]
async fn a_policy_comes_back_byte_for_byte() {
    let server = TestServer::start().await;
    server.bucket("vec").await;
    let text = "{ \"Version\":\"1\",\n \"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"ossvector:PutVectors\"],\
                \"Principal\":[\"1234567890\"],\"Resource\":[\"acs:ossvector:cn-hangzhou:1234567890:*\"]}] }\n";
    let put = Call::new("PUT", "vec", "policy").with_body(text).with(|c| c.content_md5 = false);
    check_empty(&server.send(&put).await, 200);
    let got = server.ok(&Call::new("GET", "vec", "policy")).await;
    assert_eq!(got.text(), text);
    assert_eq!(got.header("content-type"), Some("application/json"));
    check_empty(&server.send(&Call::new("DELETE", "vec", "policy")).await, 204);
    check_empty(&server.send(&Call::new("DELETE", "vec", "policy=")).await, 204);
    let none = server.send(&Call::new("GET", "vec", "policy")).await;
    assert_eq!(
        (none.status, none.json()["Error"]["Code"].as_str()),
        (404, Some("NoSuchBucketPolicy"))
    );
}

#[tokio::test]
async fn logging_is_kept_and_an_empty_target_shown_when_off() {
    let server = TestServer::start().await;
    server.bucket("vec").await;
    let off = json!({"BucketLoggingStatus": {"LoggingEnabled": {}}});
    check_json(&server.send(&Call::new("GET", "vec", "logging")).await, &off);
    let full = json!({"BucketLoggingStatus": {"LoggingEnabled": {
        "TargetBucket": "log-bucket", "TargetPrefix": "MyLog-", "LoggingRole": "AliyunOSSLoggingDefaultRole"}}});
    let put = |body: &Value| Call::new("PUT", "vec", "logging").with_body(body.to_string());
    check_empty(&server.send(&put(&full)).await, 200);
    check_json(&server.send(&Call::new("GET", "vec", "logging")).await, &full);
    let target_only =
        json!({"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "log-bucket"}}});
    check_empty(&server.send(&put(&target_only)).await, 200);
    check_json(&server.send(&Call::new("GET", "vec", "logging")).await, &target_only);
    check_empty(&server.send(&put(&json!({"BucketLoggingStatus": {}}))).await, 200);
    check_json(&server.send(&Call::new("GET", "vec", "logging")).await, &off);
    for _ in 0..2 {
        check_empty(&server.send(&Call::new("DELETE", "vec", "logging")).await, 204);
    }
}

#[tokio::test]
async fn tags_and_resource_group_are_kept() {
    let server = TestServer::start().await;
    let put = Call::new("PUT", "vec", "").with_header("x-oss-bucket-tagging", "k1=v1&k2=v2");
    server.ok(&put.with_header("x-oss-resource-group-id", "rg-aekz1234")).await;
    let tags = |list: Value| json!({"Tagging": {"TagSet": {"Tag": list}}});
    let get = Call::new("GET", "vec", "tagging");
    let both = json!([{"Key": "k1", "Value": "v1"}, {"Key": "k2", "Value": "v2"}]);
    check_json(&server.send(&get).await, &tags(both));
    let body =
        tags(json!([{"Key": "k3", "Value": "v3"}, {"Key": "k4"}, {"Key": "k5", "Value": "5"}]));
    let put = Call::new("PUT", "vec", "tagging").with_body(body.to_string());
    check_empty(&server.send(&put).await, 200);
    check_empty(&server.send(&Call::new("DELETE", "vec", "tagging=k3,k4")).await, 204);
    check_json(&server.send(&get).await, &tags(json!([{"Key": "k5", "Value": "5"}])));
    check_empty(&server.send(&Call::new("DELETE", "vec", "tagging")).await, 204);
    check_json(&server.send(&get).await, &tags(json!([])));

    let group = |id: &str| json!({"BucketResourceGroupConfiguration": {"ResourceGroupId": id}});
    let get = Call::new("GET", "vec", "resourceGroup");
    check_json(&server.send(&get).await, &group("rg-aekz1234"));
    let put = Call::new("PUT", "vec", "resourceGroup").with_body(group("rg-other").to_string());
    check_empty(&server.send(&put).await, 200);
    check_json(&server.send(&get).await, &group("rg-other"));
    let reset = json!({"BucketResourceGroupConfiguration": {}}).to_string();
    server.ok(&Call::new("PUT", "vec", "resourceGroup").with_body(reset)).await;
    check_json(&server.send(&get).await, &group("rg-default-id"));
}

#[tokio::test]
async fn indexes_are_made_shown_listed_and_deleted() {
    let server = TestServer::start().await;
    server.index("vec", "idx1", 4, "cosine").await;
    let name = json!({"indexName": "idx1"});
    let shown = server.ok(&Call::post("vec", "getVectorIndex", &name)).await;
    let index = shown.json()["index"].clone();
    assert!(is_iso_millis(&index["createTime"]), "{index}");
    let expected = json!({
        "indexName": "idx1", "bucketArn": arn("vec"), "vectorBucketName": "vec",
        "createTime": index["createTime"], "status": "enable", "dataType": "float32",
        "dimension": 4, "distanceMetric": "cosine",
        "metadata": {"nonFilterableMetadataKeys": ["note"]}, "mode": "standard",
    });
    check_json(&shown, &json!({"index": expected}));
    let list = server.send(&Call::new("POST", "vec", "listVectorIndexes")).await;
    check_json(&list, &json!({"indexes": [expected]}));
    check_empty(&server.send(&Call::post("vec", "deleteVectorIndex", &name)).await, 204);
    let list = server.send(&Call::post("vec", "listVectorIndexes", &json!({}))).await;
    check_json(&list, &json!({"indexes": []}));
    check_empty(&server.send(&Call::new("DELETE", "vec", "")).await, 204);
}

#[tokio::test]
async fn eleven_indexes_by_five_are_three_pages() {
    let server = TestServer::start().await;
    server.bucket("vec").await;
    for i in 0..11 {
        let body = json!({"indexName": format!("idx{i:02}"), "dataType": "float32", "dimension": 2,
                          "distanceMetric": "euclidean"});
        server.ok(&Call::post("vec", "putVectorIndex", &body)).await;
    }
    let (mut token, mut sizes, mut names) = (Value::Null, Vec::new(), Vec::new());
    loop {
        let body = json!({"maxResults": 5, "nextToken": token, "prefix": "idx"});
        let page = server.ok(&Call::post("vec", "listVectorIndexes", &body)).await.json();
        let indexes = page["indexes"].as_array().unwrap();
        sizes.push(indexes.len());
        names.extend(indexes.iter().map(|i| i["indexName"].as_str().unwrap().to_owned()));
        match page.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    assert_eq!(sizes, [5, 5, 1]);
    assert!(names.is_sorted() && names.len() == 11);
}

/// Three vectors with metadata in `vec`/`idx`.
async fn three(server: &TestServer) {
    server.index("vec", "idx", 2, "euclidean").await;
    let body = json!({"indexName": "idx", "vectors": [
        {"key": "a", "data": {"float32": [0.0, 0.1]}, "metadata": {"kind": "x", "n": 1, "note": "free text"}},
        {"key": "b", "data": {"float32": [3, 4]}, "metadata": {"kind": ["x", "y"], "n": 2.5, "ok": true}},
        {"key": "ключ", "data": {"float32": [-1, 0]}},
    ]});
    check_empty(&server.send(&Call::post("vec", "putVectors", &body)).await, 200);
}

#[tokio::test]
async fn vectors_come_back_as_they_were_put() {
    let server = TestServer::start().await;
    three(&server).await;
    let get = |body: &Value| Call::post("vec", "getVectors", body);
    let keys_only = json!({"indexName": "idx", "keys": ["b", "missing", "a", "b"]});
    let answer = server.send(&get(&keys_only)).await;
    check_json(&answer, &json!({"vectors": [{"key": "b"}, {"key": "a"}, {"key": "b"}]}));
    let all = json!({"indexName": "idx", "keys": ["a", "ключ"], "returnData": true, "returnMetadata": true});
    let answer = server.send(&get(&all)).await;
    check_json(
        &answer,
        &json!({"vectors": [
            {"key": "a", "data": {"float32": [0.0, 0.1]}, "metadata": {"kind": "x", "n": 1, "note": "free text"}},
            {"key": "ключ", "data": {"float32": [-1.0, 0.0]}},
        ]}),
    );
    assert!(answer.text().contains("0.1]"), "0.1 keeps its shortest digits: {}", answer.text());
}

#[tokio::test]
async fn queries_filter_sort_and_show_what_is_asked_for() {
    let server = TestServer::start().await;
    three(&server).await;
    let query = |extra: Value| {
        let mut body = json!({"indexName": "idx", "queryVector": {"float32": [0, 0]}, "topK": 10});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Call::post("vec", "queryVectors", &body)
    };
    let answer = server.send(&query(json!({}))).await;
    check_json(&answer, &json!({"vectors": [{"key": "a"}, {"key": "ключ"}, {"key": "b"}]}));
    let answer = server.send(&query(json!({"returnDistance": true, "topK": 2}))).await;
    let hits = answer.json()["vectors"].clone();
    assert_eq!(hits[1]["distance"], 1.0);
    assert!((hits[0]["distance"].as_f64().unwrap() - 0.1).abs() < 1e-6, "{hits}");
    for (filter, keys) in [
        (json!({"kind": "x"}), vec!["a", "b"]),
        (json!({"kind": {"$eq": "y"}}), vec!["b"]),
        (json!({"kind": {"$ne": "x"}}), vec!["ключ"]),
        (json!({"n": {"$gte": 1, "$lt": 2}}), vec!["a"]),
        (json!({"n": {"$in": [1.0, 7]}}), vec!["a"]),
        (json!({"kind": {"$nin": ["y"]}}), vec!["a", "ключ"]),
        (json!({"ok": true}), vec!["b"]),
        (json!({"kind": {"$exists": false}}), vec!["ключ"]),
        (json!({"$or": [{"n": {"$gt": 2}}, {"kind": {"$exists": false}}]}), vec!["ключ", "b"]),
        (json!({"$and": [{"kind": "x"}, {"ok": true}]}), vec!["b"]),
        (json!({"none": {"$nin": ["z"]}}), vec!["a", "ключ", "b"]),
        (json!({}), vec!["a", "ключ", "b"]),
    ] {
        let answer = server.ok(&query(json!({"filter": filter}))).await.json();
        let got: Vec<&str> = answer["vectors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["key"].as_str().unwrap())
            .collect();
        assert_eq!(got, keys, "{filter}");
    }
    let answer = server.ok(&query(json!({"returnMetadata": true, "topK": 1}))).await;
    check_json(
        &answer,
        &json!({"vectors": [
        {"key": "a", "metadata": {"kind": "x", "n": 1, "note": "free text"}}]}),
    );
}

#[tokio::test]
async fn ten_vectors_by_five_are_two_pages_and_segments_are_disjoint() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 1, "euclidean").await;
    let vectors: Vec<Value> =
        (0..10).map(|i| json!({"key": format!("k{i}"), "data": {"float32": [i]}})).collect();
    let put = json!({"indexName": "idx", "vectors": vectors});
    server.ok(&Call::post("vec", "putVectors", &put)).await;
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let body = json!({"indexName": "idx", "maxResults": 5, "nextToken": token});
        let page = server.ok(&Call::post("vec", "listVectors", &body)).await.json();
        pages.push(page["vectors"].as_array().unwrap().len());
        match page.get("nextToken").and_then(Value::as_str) {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(pages, [5, 5]);
    let mut keys = Vec::new();
    for segment in 0..3 {
        let body = json!({"indexName": "idx", "segmentCount": 3, "segmentIndex": segment,
                          "returnData": true, "returnMetadata": true});
        let page = server.ok(&Call::post("vec", "listVectors", &body)).await.json();
        for row in page["vectors"].as_array().unwrap() {
            assert!(row["data"]["float32"].is_array() && row.get("metadata").is_none());
            keys.push(row["key"].as_str().unwrap().to_owned());
        }
    }
    keys.sort();
    assert_eq!(keys, (0..10).map(|i| format!("k{i}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_key_of_an_sdk_test_is_in_the_second_of_two_segments() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 1, "euclidean").await;
    let put =
        json!({"indexName": "idx", "vectors": [{"key": "vector-key-1", "data": {"float32": [1]}}]});
    server.ok(&Call::post("vec", "putVectors", &put)).await;
    for (segment, count) in [(0, 0), (1, 1)] {
        let body = json!({"indexName": "idx", "segmentCount": 2, "segmentIndex": segment});
        let page = server.ok(&Call::post("vec", "listVectors", &body)).await.json();
        assert_eq!(page["vectors"].as_array().unwrap().len(), count);
    }
}

#[tokio::test]
async fn a_listing_can_be_filtered_and_its_token_is_bound_to_it() {
    let server = TestServer::start().await;
    three(&server).await;
    let list = |extra: Value| {
        let mut body = json!({"indexName": "idx", "maxResults": 1});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Call::post("vec", "listVectors", &body)
    };
    let first = server.ok(&list(json!({"filter": {"kind": "x"}}))).await.json();
    let token = first["nextToken"].clone();
    let second =
        server.ok(&list(json!({"filter": {"kind": "x"}, "nextToken": token}))).await.json();
    assert!(second.get("nextToken").is_none(), "{second}");
    let mut keys = [&first, &second].map(|p| p["vectors"][0]["key"].as_str().unwrap().to_owned());
    keys.sort();
    assert_eq!(keys, ["a", "b"]);
    let other = server.send(&list(json!({"nextToken": token}))).await;
    other.check_error(400, "VectorIndexParameterInvalid", "0900-00000615");
}

#[tokio::test]
async fn deleted_vectors_are_gone_and_deleting_again_is_fine() {
    let server = TestServer::start().await;
    three(&server).await;
    let body = json!({"indexName": "idx", "keys": ["a", "missing", "a"]});
    for _ in 0..2 {
        check_empty(&server.send(&Call::post("vec", "deleteVectors", &body)).await, 204);
    }
    let get = json!({"indexName": "idx", "keys": ["a", "b"]});
    let answer = server.send(&Call::post("vec", "getVectors", &get)).await;
    check_json(&answer, &json!({"vectors": [{"key": "b"}]}));
}

#[tokio::test]
async fn queries_may_say_how_sure_to_be_and_ask_how_they_were_answered() {
    let server = TestServer::start().await;
    three(&server).await;
    let query = |extra: Value| {
        let mut body = json!({"indexName": "idx", "queryVector": {"float32": [0, 0]}, "topK": 10});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Call::post("vec", "queryVectors", &body)
    };
    let plain = json!({"vectors": [{"key": "a"}, {"key": "ключ"}, {"key": "b"}]});
    check_json(&server.send(&query(json!({"exact": true, "recall": 0.9}))).await, &plain);
    let explained = server.ok(&query(json!({"explain": true}))).await.json();
    assert_eq!(explained["vectors"], plain["vectors"]);
    assert_eq!(explained["explain"]["rowsScanned"], 3);
    assert_eq!(explained["explain"]["segments"]["clusters"], 0);
    assert_eq!(explained["explain"]["recall"], 1.0);
    let wrong = server.send(&query(json!({"recall": 1.5}))).await;
    wrong.check_error(400, "VectorIndexParameterInvalid", "0900-00000501");
    server.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let server = TestServer::local().await;
    three(&server).await;
    let server = server.restart().await;
    let query = json!({"indexName": "idx", "queryVector": {"float32": [3, 4]}, "topK": 1,
                       "returnDistance": true, "returnMetadata": true});
    let answer = server.send(&Call::post("vec", "queryVectors", &query)).await;
    check_json(
        &answer,
        &json!({"vectors": [{"key": "b", "distance": 0.0,
        "metadata": {"kind": ["x", "y"], "n": 2.5, "ok": true}}]}),
    );
    server.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_of_many_megabytes_is_decoded_and_hashed() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 4096, "cosine").await;
    let vectors: Vec<Value> = (0..100)
        .map(|i| {
            let row: Vec<f32> =
                (0..4096).map(|j| ((i * 31 + j * 7) % 1000) as f32 / 1000.0 - 0.3).collect();
            json!({"key": format!("k{i}"), "data": {"float32": row}})
        })
        .collect();
    let put = Call::post("vec", "putVectors", &json!({"indexName": "idx", "vectors": vectors}));
    assert!(put.body.len() > 2 << 20);
    check_empty(&server.send(&put).await, 200);
    let wrong = put.with_header("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    server.send(&wrong).await.check_error(400, "InvalidDigest", "0900-00000306");
    let get = json!({"indexName": "idx", "keys": ["k7"], "returnData": true});
    let row = server.ok(&Call::post("vec", "getVectors", &get)).await.json();
    let floats = |data: &Value| -> Vec<f32> {
        serde_json::from_value(data["data"]["float32"].clone()).unwrap()
    };
    assert_eq!(floats(&row["vectors"][0]), floats(&vectors[7]));
}

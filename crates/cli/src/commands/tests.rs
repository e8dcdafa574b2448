//! Flags to requests, seen from the other end of a connection.

use clap::{ArgMatches, Command};
use vb_api::oss::Operation as Api;

use super::{call, command, operations};
use crate::failure::Failure;
use crate::stub::{Reply, Stub, client};

fn matches(arguments: &[&str]) -> Result<ArgMatches, clap::Error> {
    let root = Command::new("vectorbucket").subcommand(command());
    let all = ["vectorbucket", "vectors-api"].iter().chain(arguments);
    let matches = root.try_get_matches_from(all)?;
    Ok(matches.subcommand_matches("vectors-api").unwrap().clone())
}

/// Sends the command to a stub and returns `METHOD target body`, with the extra headers it has.
fn sent(arguments: &[&str]) -> String {
    let stub = Stub::start(vec![Reply::ok("{}")]);
    let matches = matches(arguments).unwrap_or_else(|error| panic!("{error}"));
    client(&stub).send(&call(&matches).unwrap().0).unwrap();
    let request = stub.requests().remove(0);
    assert!(request.header("authorization").unwrap().starts_with("OSS4-HMAC-SHA256 Credential="));
    let extra = request
        .headers
        .iter()
        .filter(|(name, _)| name.contains("group") || name.contains("tagging"));
    let extra: String = extra.map(|(name, value)| format!(" {name}:{value}")).collect();
    let body = String::from_utf8(request.body).unwrap();
    format!("{} {} {body}{extra}", request.method, request.target)
}

#[test]
fn each_command_makes_its_request() {
    let cases: &[(&[&str], &str)] = &[
        (&["put-vector-bucket", "--bucket", "b-1"], "PUT /b-1/ "),
        (
            &[
                "put-vector-bucket",
                "--bucket",
                "b-1",
                "--resource-group-id",
                "rg-1",
                "--tagging",
                "a=1&b=2",
            ],
            "PUT /b-1/  x-oss-resource-group-id:rg-1 x-oss-bucket-tagging:a=1&b=2",
        ),
        (&["get-vector-bucket", "--bucket", "b-1"], "GET /b-1/?bucketInfo "),
        (&["list-vector-buckets"], "GET / "),
        (
            &["list-vector-buckets", "--prefix", "my-/p", "--marker", "m", "--max-keys", "10"],
            "GET /?prefix=my-%2Fp&marker=m&max-keys=10 ",
        ),
        (&["delete-vector-bucket", "--bucket", "b-1"], "DELETE /b-1/ "),
        (
            &["put-bucket-policy", "--bucket", "b-1", "--body", "{ \"Version\" :\"1\"}"],
            "PUT /b-1/?policy { \"Version\" :\"1\"}",
        ),
        (&["get-bucket-policy", "--bucket", "b-1"], "GET /b-1/?policy "),
        (&["delete-bucket-policy", "--bucket", "b-1"], "DELETE /b-1/?policy "),
        (
            &[
                "put-bucket-logging",
                "--bucket",
                "b-1",
                "--bucket-logging-status",
                r#"{"BucketLoggingStatus":{}}"#,
            ],
            r#"PUT /b-1/?logging {"BucketLoggingStatus":{}}"#,
        ),
        (&["get-bucket-logging", "--bucket", "b-1"], "GET /b-1/?logging "),
        (&["delete-bucket-logging", "--bucket", "b-1"], "DELETE /b-1/?logging "),
        (
            &[
                "put-bucket-tags",
                "--bucket",
                "b-1",
                "--tagging",
                r#"{"Tagging":{"TagSet":{"Tag":[]}}}"#,
            ],
            r#"PUT /b-1/?tagging {"Tagging":{"TagSet":{"Tag":[]}}}"#,
        ),
        (&["get-bucket-tags", "--bucket", "b-1"], "GET /b-1/?tagging "),
        (&["delete-bucket-tags", "--bucket", "b-1"], "DELETE /b-1/?tagging "),
        (
            &["delete-bucket-tags", "--bucket", "b-1", "--tagging", "k1,k2"],
            "DELETE /b-1/?tagging=k1%2Ck2 ",
        ),
        (
            &[
                "put-bucket-resource-group",
                "--bucket",
                "b-1",
                "--bucket-resource-group-configuration",
                r#"{"BucketResourceGroupConfiguration":{"ResourceGroupId":"rg"}}"#,
            ],
            r#"PUT /b-1/?resourceGroup {"BucketResourceGroupConfiguration":{"ResourceGroupId":"rg"}}"#,
        ),
        (&["get-bucket-resource-group", "--bucket", "b-1"], "GET /b-1/?resourceGroup "),
        (
            &[
                "put-vector-index",
                "--bucket",
                "b-1",
                "--index-name",
                "i",
                "--data-type",
                "float32",
                "--dimension",
                "4",
                "--distance-metric",
                "cosine",
                "--metadata",
                r#"{"nonFilterableMetadataKeys":["t"]}"#,
            ],
            r#"POST /b-1/?putVectorIndex {"indexName":"i","dataType":"float32","dimension":4,"distanceMetric":"cosine","metadata":{"nonFilterableMetadataKeys":["t"]}}"#,
        ),
        (
            &["get-vector-index", "--bucket", "b-1", "--index-name", "i"],
            r#"POST /b-1/?getVectorIndex {"indexName":"i"}"#,
        ),
        (&["list-vector-indexes", "--bucket", "b-1"], "POST /b-1/?listVectorIndexes {}"),
        (
            &[
                "list-vector-indexes",
                "--bucket",
                "b-1",
                "--max-results",
                "5",
                "--next-token",
                "t\"",
                "--prefix",
                "p",
            ],
            r#"POST /b-1/?listVectorIndexes {"maxResults":5,"nextToken":"t\"","prefix":"p"}"#,
        ),
        (
            &["delete-vector-index", "--bucket", "b-1", "--index-name", "i"],
            r#"POST /b-1/?deleteVectorIndex {"indexName":"i"}"#,
        ),
        (
            &[
                "put-vectors",
                "--bucket",
                "b-1",
                "--index-name",
                "i",
                "--vectors",
                r#"[{"key":"k","data":{"float32":[0.10, 1e-45]}}]"#,
            ],
            r#"POST /b-1/?putVectors {"indexName":"i","vectors":[{"key":"k","data":{"float32":[0.10, 1e-45]}}]}"#,
        ),
        (
            &[
                "get-vectors",
                "--bucket",
                "b-1",
                "--index-name",
                "i",
                "--keys",
                "a,b",
                "--return-data",
                "--return-metadata",
                "true",
            ],
            r#"POST /b-1/?getVectors {"indexName":"i","keys":["a","b"],"returnData":true,"returnMetadata":true}"#,
        ),
        (
            &[
                "get-vectors",
                "--bucket",
                "b-1",
                "--index-name",
                "i",
                "--keys",
                r#"["a,b"]"#,
                "--return-data=false",
            ],
            r#"POST /b-1/?getVectors {"indexName":"i","keys":["a,b"],"returnData":false}"#,
        ),
        (
            &[
                "list-vectors",
                "--bucket",
                "b-1",
                "--index-name",
                "i",
                "--max-results",
                "2",
                "--next-token",
                "t",
                "--return-data",
                "--return-metadata",
                "--segment-count",
                "2",
                "--segment-index",
                "0",
                "--filter",
                r#"{"a":"b"}"#,
            ],
            r#"POST /b-1/?listVectors {"indexName":"i","maxResults":2,"nextToken":"t","returnData":true,"returnMetadata":true,"segmentCount":2,"segmentIndex":0,"filter":{"a":"b"}}"#,
        ),
        (
            &["delete-vectors", "--bucket", "b-1", "--index-name", "i", "--keys", "a"],
            r#"POST /b-1/?deleteVectors {"indexName":"i","keys":["a"]}"#,
        ),
        (
            &[
                "query-vectors",
                "--bucket",
                "b-1",
                "--index-name",
                "i",
                "--query-vector",
                r#"{"float32":[1]}"#,
                "--top-k",
                "3",
                "--filter",
                "{}",
                "--return-distance",
                "--return-metadata=false",
            ],
            r#"POST /b-1/?queryVectors {"indexName":"i","queryVector":{"float32":[1]},"topK":3,"filter":{},"returnDistance":true,"returnMetadata":false}"#,
        ),
        (
            &[
                "invoke-operation",
                "--op-name",
                "putVectorIndexFusion",
                "--method",
                "post",
                "--parameters",
                "putVectorIndexFusion",
                "--bucket",
                "b-1",
                "--body",
                "{}",
            ],
            "POST /b-1/?putVectorIndexFusion {}",
        ),
        (
            &["invoke-operation", "--op-name", "bucketInfo", "--method", "GET", "--bucket", "b-1"],
            "GET /b-1/?bucketInfo ",
        ),
        (
            &[
                "invoke-operation",
                "--op-name",
                "list",
                "--method",
                "GET",
                "--parameters",
                "prefix=a&max-keys=3",
            ],
            "GET /?prefix=a&max-keys=3 ",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(sent(arguments), *expected, "{arguments:?}");
    }
    let tested = |api: &Api| cases.iter().any(|(arguments, _)| arguments[0] == kebab(api.name()));
    let untested: Vec<_> = Api::ALL.iter().filter(|api| !api.is_fusion() && !tested(api)).collect();
    assert!(untested.is_empty(), "no case for {untested:?}");
}

/// `PutVectorBucket` to `put-vector-bucket`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

#[test]
fn every_operation_of_the_interface_has_its_command() {
    for api in Api::ALL.iter().filter(|api| !api.is_fusion()) {
        let found = operations().find(|operation| operation.api == *api);
        assert_eq!(found.map(|operation| operation.name), Some(kebab(api.name()).as_str()));
    }
}

#[test]
fn missing_and_wrong_flags_are_refused_before_anything_is_sent() {
    for arguments in [
        &["get-vector-bucket"][..],
        &["query-vectors", "--bucket", "b", "--index-name", "i", "--query-vector", "{}"],
        &[
            "query-vectors",
            "--bucket",
            "b",
            "--index-name",
            "i",
            "--query-vector",
            "{}",
            "--top-k",
            "many",
        ],
        &[
            "get-vectors",
            "--bucket",
            "b",
            "--index-name",
            "i",
            "--keys",
            "a",
            "--return-data",
            "maybe",
        ],
        &["invoke-operation", "--op-name", "x", "--method", "PATCH"],
        &["no-such-operation"],
    ] {
        assert!(matches(arguments).is_err(), "{arguments:?}");
    }
    let wrong =
        matches(&["put-vectors", "--bucket", "b", "--index-name", "i", "--vectors", "[nope"])
            .unwrap();
    assert!(matches!(call(&wrong), Err(Failure::Usage(_))));
}

#[test]
fn values_and_bodies_are_read_from_files() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{ \"Version\": \"1\" }\n").unwrap();
    let url = format!("file://{}", file.path().display());
    assert_eq!(
        sent(&["put-bucket-policy", "--bucket", "b-1", "--body", &url]),
        "PUT /b-1/?policy { \"Version\": \"1\" }\n"
    );
}

#[test]
fn connection_flags_stand_before_or_after_the_operation() {
    for arguments in [
        &["--region", "r", "get-vector-bucket", "--bucket", "b"][..],
        &["get-vector-bucket", "--region", "r", "--bucket", "b"],
    ] {
        let matches = matches(arguments).unwrap();
        let (_, inner) = call(&matches).unwrap();
        assert_eq!(inner.get_one::<String>("region").map(String::as_str), Some("r"));
    }
}

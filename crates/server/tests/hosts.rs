//! How a request may address a bucket, and what is refused before anybody asks who calls.

mod common;

use common::{ACCOUNT, Call, Connection, DOMAIN, OTHER_ACCOUNT, TestServer};

async fn get_bucket(server: &TestServer, change: impl FnOnce(&mut Call)) -> common::Answer {
    server.send(&Call::new("GET", "my-vec", "bucketInfo").with(change)).await
}

#[tokio::test]
async fn every_host_form_reaches_the_bucket() {
    let server = TestServer::with(|config| config.endpoint.push("vec.example.com".into())).await;
    server.bucket("my-vec").await;
    let port = server.addr().port();
    for host in [
        format!("my-vec-{ACCOUNT}.{DOMAIN}"),
        format!("my-vec-{ACCOUNT}.cn-hangzhou-internal.oss-vectors.aliyuncs.com"),
        format!("my-vec-{ACCOUNT}.localhost:{port}"),
        format!("MY-VEC-{ACCOUNT}.LOCALHOST").replace("MY-VEC", "my-vec"),
        format!("my-vec-{ACCOUNT}.vec.example.com:80"),
    ] {
        for absolute in [false, true] {
            let answer = get_bucket(&server, |c| {
                c.host.clone_from(&host);
                c.absolute = absolute;
            });
            assert_eq!(answer.await.status, 200, "{host} absolute={absolute}");
        }
    }
    for host in [format!("127.0.0.1:{port}"), "localhost".into(), format!("[::1]:{port}")] {
        for path in ["/my-vec/", "/my-vec"] {
            let answer = get_bucket(&server, |c| {
                c.host.clone_from(&host);
                c.path = path.into();
            });
            assert_eq!(answer.await.status, 200, "{host}{path}");
        }
    }
}

#[tokio::test]
async fn the_account_host_lists_buckets() {
    let server = TestServer::start().await;
    server.bucket("my-vec").await;
    for host in [DOMAIN, "localhost:9100", "127.0.0.1"] {
        for query in ["", "vector", "vector=", "max-keys=10&prefix=my-"] {
            let call = Call::account("GET", query).with(|c| c.host = host.into());
            let list = server.ok(&call).await.json();
            let buckets = list["ListAllMyBucketsResult"]["Buckets"].as_array().unwrap().len();
            assert_eq!(buckets, 1, "{host} {query}");
        }
    }
}

#[tokio::test]
async fn both_spellings_of_an_operation_key_are_signed_alike() {
    let server = TestServer::start().await;
    server.bucket("my-vec").await;
    for query in ["bucketInfo", "bucketInfo=", "bucketInfo&x-tag=1", "x-tag=a%2Fb&bucketInfo="] {
        let answer = server.send(&Call::new("GET", "my-vec", query)).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_understood_is_refused() {
    let server = TestServer::start().await;
    server.bucket("my-vec").await;
    let virtual_host = format!("my-vec-{ACCOUNT}.{DOMAIN}");
    type Change = Box<dyn FnOnce(&mut Call)>;
    let cases: Vec<(Change, u16, &str, &str)> = vec![
        (Box::new(|c| c.path = "/my-vec/".into()), 400, "InvalidArgument", "0900-00000205"),
        (Box::new(|c| c.path = "/a/b".into()), 400, "InvalidArgument", "0900-00000206"),
        (
            Box::new(|c| c.host = "no-account.localhost".into()),
            400,
            "InvalidVectorBucketName",
            "0900-00000401",
        ),
        (
            Box::new(|c| c.host = "elsewhere.example.org".into()),
            403,
            "AccessDenied",
            "0003-00001403",
        ),
        (Box::new(|c| c.host = "my vec".into()), 400, "InvalidArgument", "0900-00000203"),
        (Box::new(|c| c.host = String::new()), 400, "InvalidArgument", "0900-00000201"),
        (
            Box::new(|c| c.headers.push(("Host".into(), "localhost".into()))),
            400,
            "InvalidArgument",
            "0900-00000202",
        ),
    ];
    for (change, status, code, ec) in cases {
        get_bucket(&server, change).await.check_error(status, code, ec);
    }
    let mut raw = server.connect().await;
    let head = format!("GET http://localhost/?bucketInfo HTTP/1.1\r\nHost: {virtual_host}\r\n\r\n");
    raw.write(head.as_bytes()).await;
    raw.answer("GET").await.check_error(400, "InvalidArgument", "0900-00000204");
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed_unless_asked_to_stay() {
    let server = TestServer::start().await;
    let head = format!("GET / HTTP/1.0\r\nHost: {DOMAIN}\r\n\r\n");
    let mut connection = server.connect().await;
    connection.write(head.as_bytes()).await;
    let answer = connection.answer("GET").await;
    answer.check_error(403, "AccessDenied", "0003-00000001");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.is_closed().await);
    let head = format!("GET / HTTP/1.0\r\nHost: {DOMAIN}\r\nConnection: keep-alive\r\n\r\n");
    let mut connection = server.connect().await;
    for _ in 0..2 {
        connection.write(head.as_bytes()).await;
        assert_eq!(connection.answer("GET").await.header("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn an_unparsable_head_is_closed_without_a_body() {
    let server = TestServer::start().await;
    for (bytes, status) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nbad header line\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(), 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(), 400),
        ([b"GET / HTTP/1.1\r\nx: ", vec![b'a'; 128 << 10].as_slice(), b"\r\n\r\n"].concat(), 431),
        (("GET / HTTP/1.1\r\n".to_owned() + &"x: y\r\n".repeat(200) + "\r\n").into_bytes(), 431),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)).into_bytes(), 431),
    ] {
        let mut connection = Connection::open(server.addr()).await;
        connection.write(&bytes).await;
        let answer = connection.answer("GET").await;
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{start}");
        assert!(connection.is_closed().await);
    }
    assert_eq!(server.send(&Call::account("GET", "")).await.status, 200);
    let metrics = server.admin("/metrics").await;
    assert!(metrics.text().contains("vectorbucket_heads_refused_total 7"), "{}", metrics.text());
}

#[tokio::test]
async fn unknown_operations_and_wrong_methods_are_refused() {
    let server = TestServer::start().await;
    server.bucket("my-vec").await;
    for (method, query, status, code, ec) in [
        ("PUT", "acl", 400, "NotImplemented", "0900-00000214"),
        ("POST", "putvectors", 400, "NotImplemented", "0900-00000214"),
        ("GET", "policy&logging", 400, "InvalidArgument", "0900-00000208"),
        ("GET", "policy&policy", 400, "InvalidArgument", "0900-00000208"),
        ("POST", "policy", 405, "MethodNotAllowed", "0900-00000213"),
        ("PATCH", "bucketInfo", 405, "MethodNotAllowed", "0900-00000213"),
        ("OPTIONS", "", 405, "MethodNotAllowed", "0900-00000213"),
        ("GET", "", 405, "MethodNotAllowed", "0900-00000213"),
        ("POST", "putVectorIndexFusion", 400, "NotImplemented", "0900-00000214"),
        ("POST", "queryVectorsFusion", 400, "NotImplemented", "0900-00000214"),
    ] {
        let answer = server.send(&Call::new(method, "my-vec", query).with_body("{}")).await;
        answer.check_error(status, code, ec);
    }
    let answer = server.send(&Call::account("POST", "putVectors").with_body("{}")).await;
    answer.check_error(400, "InvalidArgument", "0900-00000209");
    let answer = server.send(&Call::account("DELETE", "")).await;
    answer.check_error(405, "MethodNotAllowed", "0900-00000213");
}

#[tokio::test]
async fn a_head_request_gets_its_error_in_a_header() {
    let server = TestServer::start().await;
    let answer = server.send(&Call::new("HEAD", "my-vec", "bucketInfo")).await;
    assert_eq!((answer.status, answer.body.len()), (405, 0));
    let encoded = answer.header("x-oss-err").expect("x-oss-err");
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded);
    let error: serde_json::Value = serde_json::from_slice(&decoded.unwrap()).unwrap();
    assert_eq!(error["Error"]["Code"], "MethodNotAllowed");
}

#[tokio::test]
async fn a_key_reaches_its_own_account_only() {
    let server = TestServer::start().await;
    let foreign = |c: &mut Call| {
        c.host = format!("my-vec-{OTHER_ACCOUNT}.{DOMAIN}");
        c.account = OTHER_ACCOUNT.into();
    };
    for (method, query) in [("PUT", ""), ("GET", "bucketInfo"), ("POST", "queryVectors")] {
        let call = Call::new(method, "my-vec", query).with(foreign).with_body("{}");
        server.send(&call).await.check_error(403, "AccessDenied", "0003-00000202");
    }
}

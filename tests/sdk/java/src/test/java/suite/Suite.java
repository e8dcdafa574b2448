package suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.sdk.service.oss2.credentials.StaticCredentialsProvider;
import com.aliyun.sdk.service.oss2.exceptions.ServiceException;
import com.aliyun.sdk.service.oss2.models.ResultModel;
import com.aliyun.sdk.service.oss2.transport.apache5client.Apache5HttpClientBuilder;
import com.aliyun.sdk.service.oss2.vectors.OSSVectorsClient;
import com.aliyun.sdk.service.oss2.vectors.models.DeleteVectorBucketRequest;
import com.aliyun.sdk.service.oss2.vectors.models.DeleteVectorIndexRequest;
import com.aliyun.sdk.service.oss2.vectors.models.IndexSummary;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorIndexesRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorIndexesResult;
import com.aliyun.sdk.service.oss2.vectors.models.PutVectorBucketRequest;
import com.aliyun.sdk.service.oss2.vectors.models.PutVectorIndexRequest;
import com.aliyun.sdk.service.oss2.vectors.models.PutVectorsRequest;
import com.aliyun.sdk.service.oss2.vectors.paginator.ListVectorIndexesIterable;
import java.net.InetAddress;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hc.client5.http.DnsResolver;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.function.Executable;

/**
 * Shared by all suites: a client whose host names all lead to the server, buckets that are removed afterwards, and what holds
 * for every result and every error. The server's address and identity come from tests/sdk/run.py.
 */
abstract class Suite {
    static final String URL = required("SUITE_URL");
    static final String REGION = required("SUITE_REGION");
    static final String ACCOUNT = required("SUITE_ACCOUNT_ID");
    static final String KEY_ID = required("SUITE_ACCESS_KEY_ID");
    static final String SECRET = required("SUITE_ACCESS_KEY_SECRET");

    /** What a wildcard DNS name does: every host is this machine. */
    static final DnsResolver LOOPBACK = new DnsResolver() {
        @Override
        public InetAddress[] resolve(String host) {
            return new InetAddress[] {InetAddress.getLoopbackAddress()};
        }

        @Override
        public String resolveCanonicalHostname(String host) {
            return host;
        }
    };

    private static final AtomicInteger NAMES = new AtomicInteger();

    static OSSVectorsClient client;
    private final List<String> buckets = new ArrayList<>();

    private static String required(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalStateException(name + " is not set: run tests/sdk/run.py");
        }
        return value;
    }

    @BeforeAll
    static void connect() {
        client = clientOf(KEY_ID, SECRET);
    }

    @AfterAll
    static void disconnect() throws Exception {
        client.close();
    }

    static OSSVectorsClient clientOf(String keyId, String secret) {
        return OSSVectorsClient.newBuilder()
                .region(REGION)
                .accountId(ACCOUNT)
                .endpoint("http://localhost:" + URI.create(URL).getPort())
                .httpClient(Apache5HttpClientBuilder.create().dnsResolver(Suite.LOOPBACK).build())
                .credentialsProvider(new StaticCredentialsProvider(keyId, secret))
                .build();
    }

    /** A bucket that is removed, with all its indexes, when the test ends. */
    String newBucket() {
        return newBucket("java-suite-" + ProcessHandle.current().pid() % 100000 + "-" + NAMES.incrementAndGet(), null);
    }

    String newBucket(String name, String group) {
        buckets.add(name);
        PutVectorBucketRequest.Builder request = PutVectorBucketRequest.newBuilder().bucket(name);
        if (group != null) {
            // Given null, the SDK sends the header empty but signs without it.
            request.resourceGroupId(group);
        }
        checkCommon(client.putVectorBucket(request.build()), 200);
        return name;
    }

    @AfterEach
    void removeBuckets() {
        for (String bucket : buckets) {
            try {
                ListVectorIndexesRequest all = ListVectorIndexesRequest.newBuilder().bucket(bucket).build();
                for (ListVectorIndexesResult page : new ListVectorIndexesIterable(client, all)) {
                    for (IndexSummary index : page.indexes()) {
                        client.deleteVectorIndex(
                                DeleteVectorIndexRequest.newBuilder().bucket(bucket).indexName(index.indexName()).build());
                    }
                }
                client.deleteVectorBucket(DeleteVectorBucketRequest.newBuilder().bucket(bucket).build());
            } catch (RuntimeException gone) {
                assertEquals("NoSuchBucket", ServiceException.asCause(gone).errorCode());
            }
        }
    }

    static void newIndex(String bucket, String name, int dimension, String metric) {
        checkCommon(
                client.putVectorIndex(PutVectorIndexRequest.newBuilder()
                        .bucket(bucket)
                        .indexName(name)
                        .dataType("float32")
                        .dimension(dimension)
                        .distanceMetric(metric)
                        .metadata(Map.of("nonFilterableMetadataKeys", List.of("note")))
                        .build()),
                200);
    }

    static Map<String, Object> row(String key, Map<String, Object> metadata, Float... values) {
        Map<String, Object> data = Map.of("float32", List.of(values));
        return metadata == null ? Map.of("key", key, "data", data) : Map.of("key", key, "data", data, "metadata", metadata);
    }

    static void put(String bucket, String index, List<?> rows) {
        checkCommon(
                client.putVectors(PutVectorsRequest.newBuilder().bucket(bucket).indexName(index).vectors(rows).build()), 200);
    }

    static String arn(String bucket) {
        return "acs:ossvector:" + REGION + ":" + ACCOUNT + ":" + bucket;
    }

    static void checkCommon(ResultModel result, int status) {
        assertEquals(status, result.statusCode());
        assertTrue(result.requestId().matches("[0-9A-F]{24}"), result.requestId());
        assertEquals("AliyunOSS", result.headers().get("Server"));
    }

    static void checkRecent(Instant time) {
        assertTrue(Duration.between(time, Instant.now()).abs().compareTo(Duration.ofMinutes(10)) < 0, time.toString());
    }

    /** Runs a call that must fail and checks everything an error carries. */
    static ServiceException checkError(int status, String code, String ec, Executable call) {
        ServiceException error = ServiceException.asCause(assertThrows(RuntimeException.class, call));
        assertEquals(status, error.statusCode(), error.toString());
        assertEquals(code, error.errorCode());
        if (ec != null) {
            assertEquals(ec, error.ec());
        }
        assertEquals(error.headers().get("x-oss-ec"), error.ec());
        assertEquals(error.headers().get("x-oss-request-id"), error.requestId());
        assertEquals("application/json", error.headers().get("Content-Type"));
        assertFalse(error.errorMessage().isEmpty());
        assertTrue(new String(error.snapshot()).contains("\"Code\":\"" + code + "\""));
        checkRecent(error.timestamp());
        for (String name : List.of("Code", "Message", "RequestId", "HostId", "EC", "RecommendDoc")) {
            assertFalse(error.errorFields().getOrDefault(name, "").isEmpty(), name + " in " + error.errorFields());
        }
        return error;
    }
}

package suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.sdk.service.oss2.vectors.OSSVectorsClient;
import com.aliyun.sdk.service.oss2.vectors.models.*;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class ErrorsTest extends Suite {
    private static Map<String, Executable> calls(OSSVectorsClient c, String bucket) {
        Map<String, Object> vector = Map.of("float32", List.of(1f));
        Map<String, Executable> all = new LinkedHashMap<>();
        all.put("get bucket", () -> c.getVectorBucket(GetVectorBucketRequest.newBuilder().bucket(bucket).build()));
        all.put("delete bucket", () -> c.deleteVectorBucket(DeleteVectorBucketRequest.newBuilder().bucket(bucket).build()));
        all.put("put index", () -> c.putVectorIndex(PutVectorIndexRequest.newBuilder().bucket(bucket).indexName("i").dataType("bad").build()));
        all.put("get index", () -> c.getVectorIndex(GetVectorIndexRequest.newBuilder().bucket(bucket).indexName("i").build()));
        all.put("list indexes", () -> c.listVectorIndexes(ListVectorIndexesRequest.newBuilder().bucket(bucket).build()));
        all.put("delete index", () -> c.deleteVectorIndex(DeleteVectorIndexRequest.newBuilder().bucket(bucket).indexName("i").build()));
        all.put("put", () -> c.putVectors(PutVectorsRequest.newBuilder().bucket(bucket).indexName("i").vectors(List.of(row("k", null, 1f))).build()));
        all.put("get", () -> c.getVectors(GetVectorsRequest.newBuilder().bucket(bucket).indexName("i").keys(List.of("k")).build()));
        all.put("list", () -> c.listVectors(ListVectorsRequest.newBuilder().bucket(bucket).indexName("i").build()));
        all.put("delete", () -> c.deleteVectors(DeleteVectorsRequest.newBuilder().bucket(bucket).indexName("i").keys(List.of("k")).build()));
        all.put("query", () -> c.queryVectors(QueryVectorsRequest.newBuilder().bucket(bucket).indexName("i").queryVector(vector).topK(1).build()));
        return all;
    }

    @Test
    void everyOperationOnAMissingBucket() {
        calls(client, "java-suite-missing").forEach((name, call) -> {
            var error = checkError(404, "NoSuchBucket", "0015-00000101", call);
            assertEquals("The specified bucket does not exist.", error.errorMessage(), name);
            assertEquals("java-suite-missing", error.errorFields().get("BucketName"));
            assertTrue(error.requestTarget().contains("java-suite-missing"));
        });
    }

    @Test
    void everyOperationOnAnOverLongName() {
        calls(client, "java-suite-" + "x".repeat(30)).forEach((name, call) -> checkError(400, "InvalidVectorBucketName", null, call));
    }

    @Test
    void everyOperationWithAnUnknownKey() throws Exception {
        try (OSSVectorsClient stranger = clientOf("unknownKey", "x")) {
            calls(stranger, "java-suite-missing").forEach((name, call) -> checkError(403, "InvalidAccessKeyId", "0002-00000902", call));
        }
    }

    @Test
    void wrongSecret() throws Exception {
        try (OSSVectorsClient wrong = clientOf(KEY_ID, "wrong")) {
            var error = checkError(403, "SignatureDoesNotMatch", "0002-00000040",
                    () -> wrong.listVectorBuckets(ListVectorBucketsRequest.newBuilder().build()));
            assertEquals(KEY_ID, error.errorFields().get("OSSAccessKeyId"));
            for (String name : List.of("StringToSign", "CanonicalRequest", "SignatureProvided", "StringToSignBytes")) {
                assertFalse(error.errorFields().getOrDefault(name, "").isEmpty(), name);
            }
        }
    }

    @Test
    void missingIndexAndBadParameters() {
        String bucket = newBucket();
        var missing = calls(client, bucket);
        for (String name : List.of("get index", "delete index", "put", "get", "list", "delete", "query")) {
            checkError(404, "NoSuchVectorIndex", null, missing.get(name));
        }
        newIndex(bucket, "i", 3, "cosine");
        checkError(400, "VectorIndexParameterInvalid", null, missing.get("put"));
        checkError(400, "VectorIndexParameterInvalid", null, missing.get("query"));
        checkError(400, "VectorIndexParameterInvalid", null, () -> put(bucket, "i", List.of(row("k", null, 0f, 0f, 0f))));
        checkError(400, "VectorIndexParameterInvalid", null, () -> newIndex(bucket, "1bad", 3, "cosine"));
        checkError(400, "VectorIndexParameterInvalid", null, () -> newIndex(bucket, "big", 4097, "cosine"));
    }
}

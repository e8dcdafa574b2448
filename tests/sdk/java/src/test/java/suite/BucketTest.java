package suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.sdk.service.oss2.OperationInput;
import com.aliyun.sdk.service.oss2.OperationOptions;
import com.aliyun.sdk.service.oss2.OperationOutput;
import com.aliyun.sdk.service.oss2.transport.BinaryData;
import com.aliyun.sdk.service.oss2.vectors.models.DeleteVectorBucketRequest;
import com.aliyun.sdk.service.oss2.vectors.models.GetVectorBucketRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorBucketsRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorBucketsResult;
import com.aliyun.sdk.service.oss2.vectors.models.PutVectorBucketRequest;
import com.aliyun.sdk.service.oss2.vectors.models.PutVectorBucketResult;
import com.aliyun.sdk.service.oss2.vectors.models.VectorBucketInfo;
import com.aliyun.sdk.service.oss2.vectors.models.VectorBucketSummary;
import com.aliyun.sdk.service.oss2.vectors.paginator.ListVectorBucketsIterable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class BucketTest extends Suite {
    @Test
    void life() {
        String name = newBucket("java-suite-life", "rg-java");
        PutVectorBucketResult again =
                client.putVectorBucket(PutVectorBucketRequest.newBuilder().bucket(name).resourceGroupId("rg-java").build());
        checkCommon(again, 200);
        assertEquals("/" + name, again.headers().get("Location"));
        var got = client.getVectorBucket(GetVectorBucketRequest.newBuilder().bucket(name).build());
        checkCommon(got, 200);
        VectorBucketInfo info = got.bucketInfo();
        assertEquals(arn(name), info.name());
        assertEquals("oss-" + REGION, info.location());
        assertEquals(REGION + ".oss-vectors.aliyuncs.com", info.extranetEndpoint());
        assertEquals(REGION + "-internal.oss-vectors.aliyuncs.com", info.intranetEndpoint());
        assertEquals("rg-java", info.resourceGroupId());
        checkRecent(info.creationDate());
        checkError(409, "BucketAlreadyExists", "0015-00000104",
                () -> client.putVectorBucket(PutVectorBucketRequest.newBuilder().bucket(name).resourceGroupId("rg-x").build()));
        checkCommon(client.deleteVectorBucket(DeleteVectorBucketRequest.newBuilder().bucket(name).build()), 204);
        checkError(404, "NoSuchBucket", "0015-00000101",
                () -> client.getVectorBucket(GetVectorBucketRequest.newBuilder().bucket(name).build()));
    }

    @Test
    void creationTakesTags() {
        String name = "java-suite-tagged";
        newBucket(name, null);
        client.deleteVectorBucket(DeleteVectorBucketRequest.newBuilder().bucket(name).build());
        client.putVectorBucket(PutVectorBucketRequest.newBuilder().bucket(name).bucketTagging("k1=v1&k2=v2").build());
        assertEquals(
                "{\"Tagging\":{\"TagSet\":{\"Tag\":[{\"Key\":\"k1\",\"Value\":\"v1\"},{\"Key\":\"k2\",\"Value\":\"v2\"}]}}}",
                invoke("GET", name, "tagging", "", null));
    }

    @Test
    void list() {
        List<String> names = List.of("java-suite-list-a", "java-suite-list-b", "java-suite-list-c");
        names.forEach(name -> newBucket(name, "rg-" + name.charAt(name.length() - 1)));
        String prefix = "java-suite-list-";
        ListVectorBucketsResult whole = client.listVectorBuckets(ListVectorBucketsRequest.newBuilder().prefix(prefix).build());
        checkCommon(whole, 200);
        assertEquals(3, whole.buckets().size());
        assertNotEquals(Boolean.TRUE, whole.isTruncated());
        VectorBucketSummary first = whole.buckets().get(0);
        assertEquals(arn(names.get(0)), first.name());
        assertEquals("oss-" + REGION, first.location());
        assertEquals(REGION, first.region());
        assertEquals(REGION + ".oss-vectors.aliyuncs.com", first.extranetEndpoint());
        assertEquals(REGION + "-internal.oss-vectors.aliyuncs.com", first.intranetEndpoint());
        assertEquals("rg-a", first.resourceGroupId());
        checkRecent(first.creationDate());

        ListVectorBucketsResult page = client.listVectorBuckets(
                ListVectorBucketsRequest.newBuilder().prefix(prefix).maxKeys(1L).marker(names.get(0)).build());
        assertEquals(Boolean.TRUE, page.isTruncated());
        assertEquals(1L, page.maxKeys());
        assertEquals(prefix, page.prefix());
        assertEquals(names.get(0), page.marker());
        assertEquals(arn(names.get(1)), page.buckets().get(0).name());
        assertNotNull(page.nextMarker());

        var grouped = client.listVectorBuckets(ListVectorBucketsRequest.newBuilder().prefix(prefix).resourceGroupId("rg-b").build());
        assertEquals(1, grouped.buckets().size());
        var none = client.listVectorBuckets(ListVectorBucketsRequest.newBuilder().prefix("nothing-has-this").build());
        assertTrue(none.buckets().isEmpty());

        List<String> seen = new ArrayList<>();
        for (ListVectorBucketsResult one :
                new ListVectorBucketsIterable(client, ListVectorBucketsRequest.newBuilder().prefix(prefix).maxKeys(1L).build())) {
            assertEquals(1, one.buckets().size());
            seen.add(one.buckets().get(0).name());
        }
        assertEquals(names.stream().map(Suite::arn).toList(), seen);
    }

    /** Operations the client has no method for. */
    static String invoke(String method, String bucket, String key, String value, String body) {
        OperationInput.Builder input = OperationInput.newBuilder()
                .opName("Invoke")
                .method(method)
                .bucket(bucket)
                .headers(new HashMap<>(Map.of("Content-Type", "application/json")))
                .parameters(new HashMap<>(Map.of(key, value)));
        if (body != null) {
            input.body(BinaryData.fromString(body));
        }
        OperationOutput output = client.invokeOperation(input.build(), OperationOptions.defaults());
        assertTrue(output.statusCode() / 100 == 2, output.status());
        assertFalse(output.headers().get("x-oss-request-id").isEmpty());
        return output.body().map(data -> new String(data.toBytes())).orElse("");
    }

    @Test
    void tagsResourceGroupPolicyAndLogging() {
        String bucket = newBucket();
        String tags = "{\"Tagging\":{\"TagSet\":{\"Tag\":[{\"Key\":\"k1\",\"Value\":\"v1\"}]}}}";
        invoke("PUT", bucket, "tagging", "", tags);
        assertEquals(tags, invoke("GET", bucket, "tagging", "", null));
        invoke("DELETE", bucket, "tagging", "", null);
        assertEquals("{\"Tagging\":{\"TagSet\":{\"Tag\":[]}}}", invoke("GET", bucket, "tagging", "", null));

        String group = "{\"BucketResourceGroupConfiguration\":{\"ResourceGroupId\":\"rg-moved\"}}";
        invoke("PUT", bucket, "resourceGroup", "", group);
        assertEquals(group, invoke("GET", bucket, "resourceGroup", "", null));

        String policy = "{ \"Version\":\"1\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":[\"oss:GetVectors\"],"
                + "\"Principal\":[\"1\"],\"Resource\":[\"acs:ossvector:*:*:*\"]}] }";
        invoke("PUT", bucket, "policy", "", policy);
        assertEquals(policy, invoke("GET", bucket, "policy", "", null));
        invoke("DELETE", bucket, "policy", "", null);
        checkError(404, "NoSuchBucketPolicy", null, () -> invoke("GET", bucket, "policy", "", null));

        String logging = "{\"BucketLoggingStatus\":{\"LoggingEnabled\":{\"TargetBucket\":\"target\",\"TargetPrefix\":\"p-\"}}}";
        invoke("PUT", bucket, "logging", "", logging);
        assertEquals(logging, invoke("GET", bucket, "logging", "", null));
        invoke("DELETE", bucket, "logging", "", null);
        assertEquals("{\"BucketLoggingStatus\":{\"LoggingEnabled\":{}}}", invoke("GET", bucket, "logging", "", null));
    }
}

package suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.sdk.service.oss2.vectors.models.DeleteVectorsRequest;
import com.aliyun.sdk.service.oss2.vectors.models.GetVectorsRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorsRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorsResult;
import com.aliyun.sdk.service.oss2.vectors.models.QueryVectorsRequest;
import com.aliyun.sdk.service.oss2.vectors.models.QueryVectorsSummary;
import com.aliyun.sdk.service.oss2.vectors.models.VectorsSummary;
import com.aliyun.sdk.service.oss2.vectors.paginator.ListVectorsIterable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class VectorsTest extends Suite {
    private static final Map<String, Object> METADATA =
            Map.of("text", "ü雪", "list", List.of("a", "b"), "n", 2.5, "whole", 7, "yes", true, "note", "long");

    private static List<Float> floats(VectorsSummary vector) {
        List<Float> out = new ArrayList<>();
        ((List<?>) vector.data().get("float32")).forEach(value -> out.add(((Number) value).floatValue()));
        return out;
    }

    @Test
    void life() {
        String bucket = newBucket();
        newIndex(bucket, "items", 3, "euclidean");
        put(bucket, "items", List.of(row("vector-key-1", METADATA, 0.1f, Float.MIN_VALUE, -Float.MAX_VALUE), row("b", null, 1f, 2f, 3f)));

        var got = client.getVectors(GetVectorsRequest.newBuilder()
                .bucket(bucket).indexName("items").keys(List.of("b", "nope", "vector-key-1")).returnData(true).returnMetadata(true).build());
        checkCommon(got, 200);
        assertEquals(List.of("b", "vector-key-1"), got.vectors().stream().map(VectorsSummary::key).toList());
        assertEquals(List.of(0.1f, Float.MIN_VALUE, -Float.MAX_VALUE), floats(got.vectors().get(1)));
        assertEquals(METADATA, got.vectors().get(1).metadata());
        assertNull(got.vectors().get(0).metadata());
        var bare = client.getVectors(GetVectorsRequest.newBuilder().bucket(bucket).indexName("items").keys(List.of("b")).build());
        assertNull(bare.vectors().get(0).data());

        var listed = client.listVectors(ListVectorsRequest.newBuilder()
                .bucket(bucket).indexName("items").maxResults(100).returnData(true).returnMetadata(false).segmentCount(2).segmentIndex(1).build());
        checkCommon(listed, 200);
        assertTrue(listed.vectors().stream().anyMatch(vector -> vector.key().equals("vector-key-1")));

        var found = client.queryVectors(QueryVectorsRequest.newBuilder()
                .bucket(bucket).indexName("items").queryVector(Map.of("float32", List.of(1f, 2f, 3f))).topK(10)
                .filter(Map.of("$and", List.of(Map.of("type", Map.of("$nin", List.of("comedy", "documentary"))))))
                .returnDistance(true).returnMetadata(true).build());
        checkCommon(found, 200);
        assertEquals("b", found.vectors().get(0).key());
        assertEquals(0f, found.vectors().get(0).distance());
        assertNull(found.vectors().get(0).data());
        assertEquals(METADATA, found.vectors().get(1).metadata());
        var typed = client.queryVectors(QueryVectorsRequest.newBuilder()
                .bucket(bucket).indexName("items").queryVector(Map.of("float32", List.of(1f, 2f, 3f))).topK(10)
                .filter(Map.of("whole", Map.of("$gte", 7), "yes", true)).build());
        assertEquals(List.of("vector-key-1"), typed.vectors().stream().map(QueryVectorsSummary::key).toList());
        assertNull(typed.vectors().get(0).distance());

        checkCommon(client.deleteVectors(
                DeleteVectorsRequest.newBuilder().bucket(bucket).indexName("items").keys(List.of("b", "b", "nope")).build()), 204);
        var after = client.listVectors(ListVectorsRequest.newBuilder().bucket(bucket).indexName("items").build());
        assertEquals(List.of("vector-key-1"), after.vectors().stream().map(VectorsSummary::key).toList());
    }

    @Test
    void pagesSegmentsAndFilter() {
        String bucket = newBucket();
        newIndex(bucket, "items", 2, "cosine");
        List<Object> rows = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            rows.add(row("key-" + i, Map.of("n", i), i + 1f, 1f));
        }
        put(bucket, "items", rows);
        for (int[] expectation : new int[][] {{30, 1}, {10, 3}, {7, 5}, {1, 30}}) {
            int pages = 0;
            TreeSet<String> seen = new TreeSet<>();
            for (ListVectorsResult page : new ListVectorsIterable(client,
                    ListVectorsRequest.newBuilder().bucket(bucket).indexName("items").maxResults(expectation[0]).build())) {
                pages++;
                page.vectors().forEach(vector -> seen.add(vector.key()));
            }
            assertEquals(expectation[1], pages);
            assertEquals(30, seen.size());
        }
        List<String> all = new ArrayList<>();
        for (int segment = 0; segment < 3; segment++) {
            for (ListVectorsResult page : new ListVectorsIterable(client, ListVectorsRequest.newBuilder()
                    .bucket(bucket).indexName("items").maxResults(4).segmentCount(3).segmentIndex(segment).build())) {
                page.vectors().forEach(vector -> all.add(vector.key()));
            }
        }
        assertEquals(30, all.size());
        assertEquals(30, new TreeSet<>(all).size());
        var filtered = client.listVectors(ListVectorsRequest.newBuilder()
                .bucket(bucket).indexName("items").bodyField("filter", Map.of("n", Map.of("$lt", 5))).build());
        assertEquals(5, filtered.vectors().size());
    }
}

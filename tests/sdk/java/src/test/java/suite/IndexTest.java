package suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.sdk.service.oss2.vectors.models.DeleteVectorBucketRequest;
import com.aliyun.sdk.service.oss2.vectors.models.DeleteVectorIndexRequest;
import com.aliyun.sdk.service.oss2.vectors.models.GetVectorIndexRequest;
import com.aliyun.sdk.service.oss2.vectors.models.IndexSummary;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorIndexesRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorIndexesResult;
import com.aliyun.sdk.service.oss2.vectors.paginator.ListVectorIndexesIterable;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class IndexTest extends Suite {
    private static void check(IndexSummary index, String bucket, String name, int dimension, String metric) {
        assertEquals(name, index.indexName());
        assertEquals("float32", index.dataType());
        assertEquals(dimension, index.dimension());
        assertEquals(metric, index.distanceMetric());
        assertEquals("enable", index.status());
        assertEquals(bucket, index.vectorBucketName());
        assertEquals(Map.of("nonFilterableMetadataKeys", List.of("note")), index.metadata());
        checkRecent(Instant.parse(index.createTime()));
    }

    @Test
    void life() {
        String bucket = newBucket();
        newIndex(bucket, "Items", 4096, "cosine");
        GetVectorIndexRequest get = GetVectorIndexRequest.newBuilder().bucket(bucket).indexName("Items").build();
        var got = client.getVectorIndex(get);
        checkCommon(got, 200);
        check(got.index(), bucket, "Items", 4096, "cosine");
        checkError(409, "VectorBucketIndexAlreadyExist", null, () -> newIndex(bucket, "Items", 4096, "cosine"));
        checkError(409, "VectorBucketNotEmpty", null,
                () -> client.deleteVectorBucket(DeleteVectorBucketRequest.newBuilder().bucket(bucket).build()));
        checkCommon(client.deleteVectorIndex(DeleteVectorIndexRequest.newBuilder().bucket(bucket).indexName("Items").build()), 204);
        checkError(404, "NoSuchVectorIndex", null, () -> client.getVectorIndex(get));
    }

    @Test
    void list() {
        String bucket = newBucket();
        ListVectorIndexesRequest all = ListVectorIndexesRequest.newBuilder().bucket(bucket).build();
        assertTrue(client.listVectorIndexes(all).indexes().isEmpty());
        List<String> names = new ArrayList<>();
        for (int i = 0; i < 11; i++) {
            names.add("index" + (char) ('a' + i));
            newIndex(bucket, names.get(i), 3, "euclidean");
        }
        ListVectorIndexesResult whole = client.listVectorIndexes(all);
        checkCommon(whole, 200);
        for (int i = 0; i < 11; i++) {
            check(whole.indexes().get(i), bucket, names.get(i), 3, "euclidean");
        }
        int pages = 0;
        List<String> seen = new ArrayList<>();
        for (ListVectorIndexesResult page :
                new ListVectorIndexesIterable(client, ListVectorIndexesRequest.newBuilder().bucket(bucket).maxResults(5L).prefix("index").build())) {
            pages++;
            page.indexes().forEach(index -> seen.add(index.indexName()));
        }
        assertEquals(3, pages);
        assertEquals(names, seen);
        var rest = client.listVectorIndexes(
                ListVectorIndexesRequest.newBuilder().bucket(bucket).nextToken("indexj").build());
        assertEquals("indexk", rest.indexes().get(0).indexName());
        assertEquals(1, rest.indexes().size());
    }
}

package suite;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.aliyun.sdk.service.oss2.credentials.StaticCredentialsProvider;
import com.aliyun.sdk.service.oss2.transport.apache5client.Apache5AsyncHttpClientBuilder;
import com.aliyun.sdk.service.oss2.vectors.OSSAsyncVectorsClient;
import com.aliyun.sdk.service.oss2.vectors.models.*;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** The asynchronous client: every method once, and many writes in flight together. */
class AsyncTest extends Suite {
    @Test
    void everyMethod() throws Exception {
        try (OSSAsyncVectorsClient async = OSSAsyncVectorsClient.newBuilder()
                .region(REGION).accountId(ACCOUNT).endpoint("http://localhost:" + URI.create(URL).getPort())
                .httpClient(Apache5AsyncHttpClientBuilder.create().dnsResolver(LOOPBACK).build())
                .credentialsProvider(new StaticCredentialsProvider(KEY_ID, SECRET)).build()) {
            String bucket = "java-suite-async";
            checkCommon(async.putVectorBucketAsync(PutVectorBucketRequest.newBuilder().bucket(bucket).build()).get(), 200);
            assertEquals(arn(bucket), async.getVectorBucketAsync(GetVectorBucketRequest.newBuilder().bucket(bucket).build()).get().bucketInfo().name());
            assertEquals(1, async.listVectorBucketsAsync(ListVectorBucketsRequest.newBuilder().prefix(bucket).build()).get().buckets().size());
            checkCommon(async.putVectorIndexAsync(PutVectorIndexRequest.newBuilder()
                    .bucket(bucket).indexName("items").dataType("float32").dimension(2).distanceMetric("euclidean").build()).get(), 200);
            assertEquals(2, async.getVectorIndexAsync(GetVectorIndexRequest.newBuilder().bucket(bucket).indexName("items").build()).get().index().dimension());
            assertEquals(1, async.listVectorIndexesAsync(ListVectorIndexesRequest.newBuilder().bucket(bucket).build()).get().indexes().size());
            List<CompletableFuture<PutVectorsResult>> puts = new ArrayList<>();
            for (int i = 0; i < 40; i++) {
                puts.add(async.putVectorsAsync(PutVectorsRequest.newBuilder()
                        .bucket(bucket).indexName("items").vectors(List.of(row("k" + i, null, (float) i, 1f))).build()));
            }
            for (CompletableFuture<PutVectorsResult> put : puts) {
                checkCommon(put.get(), 200);
            }
            assertEquals(40, async.listVectorsAsync(ListVectorsRequest.newBuilder().bucket(bucket).indexName("items").build()).get().vectors().size());
            assertEquals(1, async.getVectorsAsync(GetVectorsRequest.newBuilder().bucket(bucket).indexName("items").keys(List.of("k7")).build()).get().vectors().size());
            assertEquals("k5", async.queryVectorsAsync(QueryVectorsRequest.newBuilder()
                    .bucket(bucket).indexName("items").queryVector(Map.of("float32", List.of(5f, 1f))).topK(1).build()).get().vectors().get(0).key());
            checkCommon(async.deleteVectorsAsync(DeleteVectorsRequest.newBuilder().bucket(bucket).indexName("items").keys(List.of("k1")).build()).get(), 204);
            checkCommon(async.deleteVectorIndexAsync(DeleteVectorIndexRequest.newBuilder().bucket(bucket).indexName("items").build()).get(), 204);
            checkCommon(async.deleteVectorBucketAsync(DeleteVectorBucketRequest.newBuilder().bucket(bucket).build()).get(), 204);
        }
    }
}

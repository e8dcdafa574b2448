package suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.aliyun.sdk.service.oss2.credentials.StaticCredentialsProvider;
import com.aliyun.sdk.service.oss2.transport.apache5client.Apache5HttpClientBuilder;
import com.aliyun.sdk.service.oss2.vectors.OSSVectorsClient;
import com.aliyun.sdk.service.oss2.vectors.models.GetVectorBucketRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorBucketsRequest;
import com.aliyun.sdk.service.oss2.vectors.models.ListVectorIndexesRequest;
import java.net.URI;
import org.apache.hc.client5.http.config.RequestConfig;
import org.apache.hc.core5.http.HttpHost;
import org.junit.jupiter.api.Test;

/** The other ways to a server without DNS. The builder's own {@code proxyHost} has no effect in 0.4.0. */
class ConnectionTest extends Suite {
    @Test
    void proxyOfTheHttpClient() throws Exception {
        URI server = URI.create(URL);
        RequestConfig proxy = RequestConfig.custom().setProxy(new HttpHost("http", server.getHost(), server.getPort())).build();
        try (OSSVectorsClient byProxy = OSSVectorsClient.newBuilder()
                .region(REGION)
                .accountId(ACCOUNT)
                .endpoint("http://" + REGION + ".oss-vectors.aliyuncs.com")
                .httpClient(Apache5HttpClientBuilder.create().requestConfig(proxy).build())
                .credentialsProvider(new StaticCredentialsProvider(KEY_ID, SECRET))
                .build()) {
            String bucket = newBucket();
            assertEquals(arn(bucket), byProxy.getVectorBucket(GetVectorBucketRequest.newBuilder().bucket(bucket).build()).bucketInfo().name());
            assertTrue(byProxy.listVectorIndexes(ListVectorIndexesRequest.newBuilder().bucket(bucket).build()).indexes().isEmpty());
            checkCommon(byProxy.listVectorBuckets(ListVectorBucketsRequest.newBuilder().build()), 200);
        }
    }
}

package suite

import (
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/vectors"
)

// calls sends every operation to a bucket.
func calls(c *vectors.VectorsClient, bucket string) map[string]error {
	out := map[string]error{}
	note := func(name string, _ any, err error) { out[name] = err }
	index := oss.Ptr("items")
	call := func(name string, run func() (any, error)) { result, err := run(); note(name, result, err) }
	call("GetVectorBucket", func() (any, error) {
		return c.GetVectorBucket(ctx, &vectors.GetVectorBucketRequest{Bucket: &bucket})
	})
	call("DeleteVectorBucket", func() (any, error) {
		return c.DeleteVectorBucket(ctx, &vectors.DeleteVectorBucketRequest{Bucket: &bucket})
	})
	call("PutBucketPolicy", func() (any, error) {
		return c.PutBucketPolicy(ctx, &vectors.PutBucketPolicyRequest{Bucket: &bucket, Body: strings.NewReader("{}")})
	})
	call("GetBucketPolicy", func() (any, error) {
		return c.GetBucketPolicy(ctx, &vectors.GetBucketPolicyRequest{Bucket: &bucket})
	})
	call("DeleteBucketPolicy", func() (any, error) {
		return c.DeleteBucketPolicy(ctx, &vectors.DeleteBucketPolicyRequest{Bucket: &bucket})
	})
	call("PutBucketLogging", func() (any, error) {
		return c.PutBucketLogging(ctx, &vectors.PutBucketLoggingRequest{Bucket: &bucket, BucketLoggingStatus: &vectors.BucketLoggingStatus{}})
	})
	call("GetBucketLogging", func() (any, error) {
		return c.GetBucketLogging(ctx, &vectors.GetBucketLoggingRequest{Bucket: &bucket})
	})
	call("DeleteBucketLogging", func() (any, error) {
		return c.DeleteBucketLogging(ctx, &vectors.DeleteBucketLoggingRequest{Bucket: &bucket})
	})
	call("PutVectorIndex", func() (any, error) {
		return c.PutVectorIndex(ctx, &vectors.PutVectorIndexRequest{
			Bucket: &bucket, IndexName: index, DataType: oss.Ptr("invalid"), Dimension: oss.Ptr(3), DistanceMetric: oss.Ptr("cosine"),
		})
	})
	call("GetVectorIndex", func() (any, error) {
		return c.GetVectorIndex(ctx, &vectors.GetVectorIndexRequest{Bucket: &bucket, IndexName: index})
	})
	call("ListVectorIndexes", func() (any, error) {
		return c.ListVectorIndexes(ctx, &vectors.ListVectorIndexesRequest{Bucket: &bucket})
	})
	call("DeleteVectorIndex", func() (any, error) {
		return c.DeleteVectorIndex(ctx, &vectors.DeleteVectorIndexRequest{Bucket: &bucket, IndexName: index})
	})
	call("PutVectors", func() (any, error) {
		return c.PutVectors(ctx, &vectors.PutVectorsRequest{Bucket: &bucket, IndexName: index, Vectors: []map[string]any{row("k", []float32{1}, nil)}})
	})
	call("GetVectors", func() (any, error) {
		return c.GetVectors(ctx, &vectors.GetVectorsRequest{Bucket: &bucket, IndexName: index, Keys: []string{"k"}})
	})
	call("ListVectors", func() (any, error) {
		return c.ListVectors(ctx, &vectors.ListVectorsRequest{Bucket: &bucket, IndexName: index})
	})
	call("DeleteVectors", func() (any, error) {
		return c.DeleteVectors(ctx, &vectors.DeleteVectorsRequest{Bucket: &bucket, IndexName: index, Keys: []string{"k"}})
	})
	call("QueryVectors", func() (any, error) {
		return c.QueryVectors(ctx, &vectors.QueryVectorsRequest{Bucket: &bucket, IndexName: index, QueryVector: map[string]any{"float32": []float32{1}}, TopK: oss.Ptr(1)})
	})
	return out
}

func TestEveryOperationOnAMissingBucket(t *testing.T) {
	for way, client := range ways {
		t.Run(way, func(t *testing.T) {
			for operation, err := range calls(client(), "go-suite-missing") {
				t.Log(operation)
				got := checkError(t, err, 404, "NoSuchBucket", "0015-00000101")
				equal(t, got.Message, "The specified bucket does not exist.")
				equal(t, member(t, got, "BucketName"), "go-suite-missing")
				if !strings.Contains(string(got.Snapshot), `"Code":"NoSuchBucket"`) || !strings.Contains(got.RequestTarget, "go-suite-missing") {
					t.Fatalf("%+v", got)
				}
			}
		})
	}
}

func TestEveryOperationOnAnOverLongName(t *testing.T) {
	for operation, err := range calls(byIP(), "go-suite-"+strings.Repeat("x", 40)) {
		t.Log(operation)
		checkError(t, err, 400, "InvalidVectorBucketName", "")
	}
}

func TestEveryOperationWithAnUnknownKey(t *testing.T) {
	c := vectors.NewVectorsClient(config().WithEndpoint(url).WithCredentialsProvider(credentials.NewStaticCredentialsProvider("unknownKey", "x")))
	for operation, err := range calls(c, "go-suite-missing") {
		t.Log(operation)
		checkError(t, err, 403, "InvalidAccessKeyId", "0002-00000902")
	}
	_, err := c.ListVectorBuckets(ctx, &vectors.ListVectorBucketsRequest{})
	checkError(t, err, 403, "InvalidAccessKeyId", "0002-00000902")
}

func TestWrongSecret(t *testing.T) {
	c := vectors.NewVectorsClient(config().WithEndpoint(url).WithCredentialsProvider(credentials.NewStaticCredentialsProvider(keyID, "wrong")))
	_, err := c.ListVectorBuckets(ctx, &vectors.ListVectorBucketsRequest{})
	got := checkError(t, err, 403, "SignatureDoesNotMatch", "0002-00000040")
	equal(t, member(t, got, "OSSAccessKeyId"), keyID)
	for _, name := range []string{"StringToSign", "CanonicalRequest", "SignatureProvided", "StringToSignBytes"} {
		member(t, got, name)
	}
}

func TestAnonymous(t *testing.T) {
	c := vectors.NewVectorsClient(config().WithEndpoint(url).WithCredentialsProvider(credentials.NewAnonymousCredentialsProvider()))
	_, err := c.ListVectorBuckets(ctx, &vectors.ListVectorBucketsRequest{})
	checkError(t, err, 403, "AccessDenied", "0003-00000001")
}

// The SDK repairs its clock from the error's Date header and tries again, so a wrong clock heals by itself.
func TestSkewedClockIsRepaired(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	old := time.Now().Add(-2 * time.Hour).UTC()
	input := &oss.OperationInput{
		OpName: "GetVectorBucket", Method: "GET", Bucket: &bucket, Parameters: map[string]string{"bucketInfo": ""},
		Headers: map[string]string{"x-oss-date": old.Format("20060102T150405Z")},
	}
	_, err := c.InvokeOperation(ctx, input)
	if err != nil {
		checkError(t, err, 403, "RequestTimeTooSkewed", "0002-00000504")
	}
}

func TestParameterErrors(t *testing.T) {
	c := byIP()
	bucket, index := newBucket(t, c), "items"
	newIndex(t, c, bucket, index, 3, "cosine")
	for name, rows := range map[string][]map[string]any{
		"dimension": {row("k", []float32{1, 2}, nil)},
		"zero":      {row("k", []float32{0, 0, 0}, nil)},
		"twice":     {row("k", []float32{1, 2, 3}, nil), row("k", []float32{1, 2, 3}, nil)},
		"long key":  {row(strings.Repeat("ü", 1025), []float32{1, 2, 3}, nil)},
	} {
		_, err := c.PutVectors(ctx, &vectors.PutVectorsRequest{Bucket: &bucket, IndexName: &index, Vectors: rows})
		t.Log(name)
		checkError(t, err, 400, "VectorIndexParameterInvalid", "")
	}
	for _, topK := range []int{501, -1} {
		_, err := c.QueryVectors(ctx, &vectors.QueryVectorsRequest{
			Bucket: &bucket, IndexName: &index, QueryVector: map[string]any{"float32": []float32{1, 2, 3}}, TopK: oss.Ptr(topK),
		})
		checkError(t, err, 400, "VectorIndexParameterInvalid", "")
	}
	after, err := c.ListVectors(ctx, &vectors.ListVectorsRequest{Bucket: &bucket, IndexName: &index})
	must(t, err)
	equal(t, len(after.Vectors), 0)
}

package suite

import (
	"fmt"
	"testing"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/vectors"
)

func checkIndex(t *testing.T, index *vectors.VectorIndex, bucket, name string, dimension int, metric string) {
	t.Helper()
	equal(t, *index.IndexName, name)
	equal(t, *index.DataType, "float32")
	equal(t, *index.Dimension, dimension)
	equal(t, *index.DistanceMetric, metric)
	equal(t, *index.Status, "enable")
	equal(t, *index.BucketArn, arn(bucket))
	equal(t, *index.VectorBucketName, bucket)
	equal(t, *index.Mode, "standard")
	equal(t, text(t, index.Metadata), `{"nonFilterableMetadataKeys":["note"]}`)
	if index.SchemaConfiguration != nil {
		t.Fatal("a standard index has no schema")
	}
	if time.Since(*index.CreateTime).Abs() > 10*time.Minute {
		t.Fatal(index.CreateTime)
	}
}

func TestIndexLife(t *testing.T) {
	for way, client := range ways {
		t.Run(way, func(t *testing.T) {
			c := client()
			bucket := newBucket(t, c)
			newIndex(t, c, bucket, "Items", 4096, "cosine")
			got, err := c.GetVectorIndex(ctx, &vectors.GetVectorIndexRequest{Bucket: &bucket, IndexName: oss.Ptr("Items")})
			must(t, err)
			checkCommon(t, got.ResultCommon, 200)
			checkIndex(t, got.Index, bucket, "Items", 4096, "cosine")
			gone, err := c.DeleteVectorIndex(ctx, &vectors.DeleteVectorIndexRequest{Bucket: &bucket, IndexName: oss.Ptr("Items")})
			must(t, err)
			checkCommon(t, gone.ResultCommon, 204)
			_, err = c.GetVectorIndex(ctx, &vectors.GetVectorIndexRequest{Bucket: &bucket, IndexName: oss.Ptr("Items")})
			checkError(t, err, 404, "NoSuchVectorIndex", "")
		})
	}
}

func TestListIndexes(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	empty, err := c.ListVectorIndexes(ctx, &vectors.ListVectorIndexesRequest{Bucket: &bucket})
	must(t, err)
	if empty.Indexes == nil || len(empty.Indexes) != 0 || oss.ToString(empty.NextToken) != "" {
		t.Fatalf("%+v", empty)
	}
	for i := range 11 {
		newIndex(t, c, bucket, fmt.Sprintf("index%02d", i), 3, "euclidean")
	}
	newIndex(t, c, bucket, "other", 3, "euclidean")
	whole, err := c.ListVectorIndexes(ctx, &vectors.ListVectorIndexesRequest{Bucket: &bucket, Prefix: oss.Ptr("index")})
	must(t, err)
	checkCommon(t, whole.ResultCommon, 200)
	equal(t, len(whole.Indexes), 11)
	for i := range whole.Indexes {
		checkIndex(t, &whole.Indexes[i], bucket, fmt.Sprintf("index%02d", i), 3, "euclidean")
	}
	for limit, want := range map[int]int{5: 3, 11: 1, 1: 11, 10: 2} {
		pages := c.NewListVectorIndexesPaginator(&vectors.ListVectorIndexesRequest{Bucket: &bucket, Prefix: oss.Ptr("index"), MaxResults: limit})
		count, total := 0, 0
		for pages.HasNext() {
			page, err := pages.NextPage(ctx)
			must(t, err)
			count++
			total += len(page.Indexes)
		}
		equal(t, count, want)
		equal(t, total, 11)
	}
	after, err := c.ListVectorIndexes(ctx, &vectors.ListVectorIndexesRequest{Bucket: &bucket, NextToken: oss.Ptr("index10")})
	must(t, err)
	equal(t, len(after.Indexes), 1)
	equal(t, *after.Indexes[0].IndexName, "other")
}

func TestExistingIndex(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	newIndex(t, c, bucket, "items", 3, "euclidean")
	_, err := c.PutVectorIndex(ctx, &vectors.PutVectorIndexRequest{
		Bucket: &bucket, IndexName: oss.Ptr("items"), DataType: oss.Ptr("float32"), Dimension: oss.Ptr(3), DistanceMetric: oss.Ptr("euclidean"),
	})
	checkError(t, err, 409, "VectorBucketIndexAlreadyExist", "")
	_, err = c.DeleteVectorBucket(ctx, &vectors.DeleteVectorBucketRequest{Bucket: &bucket})
	checkError(t, err, 409, "VectorBucketNotEmpty", "")
}

// Fusion is a later mode; until then its calls say so instead of half working.
func TestFusionIsRefusedClearly(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	fields := vectors.FieldSchemas{{
		Name: oss.Ptr("v"), Type: oss.Ptr("vector"), DataType: oss.Ptr("float32"), Dimension: oss.Ptr(3), DistanceMetric: oss.Ptr("ip"),
	}}
	_, err := c.PutVectorIndexFusion(ctx, &vectors.PutVectorIndexFusionRequest{
		Bucket: &bucket, IndexName: oss.Ptr("f"), Mode: oss.Ptr("fusion"),
		SchemaConfiguration: &vectors.SchemaConfiguration{Fields: fields.ToMaps()},
	})
	checkError(t, err, 400, "NotImplemented", "")
	_, err = c.QueryVectorsFusion(ctx, &vectors.QueryVectorsFusionRequest{Bucket: &bucket, IndexName: oss.Ptr("f")})
	checkError(t, err, 400, "NotImplemented", "")
}

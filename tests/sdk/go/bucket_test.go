package suite

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/vectors"
)

func TestBucketLife(t *testing.T) {
	c := byIP()
	name := "go-suite-life"
	put, err := c.PutVectorBucket(ctx, &vectors.PutVectorBucketRequest{
		Bucket: &name, ResourceGroupId: oss.Ptr("rg-go"), Tagging: oss.Ptr("k1=v1&k2=v2"),
	})
	must(t, err)
	t.Cleanup(func() { removeBucket(c, name) })
	checkCommon(t, put.ResultCommon, 200)
	equal(t, put.Headers.Get("Location"), "/"+name)

	got, err := c.GetVectorBucket(ctx, &vectors.GetVectorBucketRequest{Bucket: &name})
	must(t, err)
	checkCommon(t, got.ResultCommon, 200)
	info := got.BucketInfo
	equal(t, *info.Name, arn(name))
	equal(t, *info.Location, "oss-"+region)
	equal(t, *info.ExtranetEndpoint, region+".oss-vectors.aliyuncs.com")
	equal(t, *info.IntranetEndpoint, region+"-internal.oss-vectors.aliyuncs.com")
	equal(t, *info.ResourceGroupId, "rg-go")
	if time.Since(*info.CreationDate).Abs() > 10*time.Minute {
		t.Fatal(info.CreationDate)
	}

	gone, err := c.DeleteVectorBucket(ctx, &vectors.DeleteVectorBucketRequest{Bucket: &name})
	must(t, err)
	checkCommon(t, gone.ResultCommon, 204)
	_, err = c.GetVectorBucket(ctx, &vectors.GetVectorBucketRequest{Bucket: &name})
	checkError(t, err, 404, "NoSuchBucket", "0015-00000101")
}

func TestListBuckets(t *testing.T) {
	c := byIP()
	prefix := "go-suite-list-"
	for _, letter := range []string{"a", "b", "c"} {
		name := prefix + letter
		_, err := c.PutVectorBucket(ctx, &vectors.PutVectorBucketRequest{Bucket: &name, ResourceGroupId: oss.Ptr("rg-" + letter)})
		must(t, err)
		t.Cleanup(func() { removeBucket(c, name) })
	}
	whole, err := c.ListVectorBuckets(ctx, &vectors.ListVectorBucketsRequest{Prefix: &prefix})
	must(t, err)
	checkCommon(t, whole.ResultCommon, 200)
	equal(t, len(whole.Buckets), 3)
	equal(t, whole.IsTruncated, false)
	first := whole.Buckets[0]
	equal(t, *first.Name, arn(prefix+"a"))
	equal(t, *first.Location, "oss-"+region)
	equal(t, *first.Region, region)
	equal(t, *first.ExtranetEndpoint, region+".oss-vectors.aliyuncs.com")
	equal(t, *first.IntranetEndpoint, region+"-internal.oss-vectors.aliyuncs.com")
	equal(t, *first.ResourceGroupId, "rg-a")
	if time.Since(*first.CreationDate).Abs() > 10*time.Minute {
		t.Fatal(first.CreationDate)
	}

	page, err := c.ListVectorBuckets(ctx, &vectors.ListVectorBucketsRequest{Prefix: &prefix, MaxKeys: 1, Marker: oss.Ptr(prefix + "a")})
	must(t, err)
	equal(t, page.IsTruncated, true)
	equal(t, page.MaxKeys, 1)
	equal(t, *page.Prefix, prefix)
	equal(t, *page.Marker, prefix+"a")
	equal(t, *page.Buckets[0].Name, arn(prefix+"b"))
	if page.NextMarker == nil {
		t.Fatal("truncated without a marker")
	}

	grouped, err := c.ListVectorBuckets(ctx, &vectors.ListVectorBucketsRequest{Prefix: &prefix, ResourceGroupId: oss.Ptr("rg-b")})
	must(t, err)
	equal(t, len(grouped.Buckets), 1)
	equal(t, *grouped.Buckets[0].Name, arn(prefix+"b"))

	pages := c.NewListVectorBucketsPaginator(&vectors.ListVectorBucketsRequest{Prefix: &prefix, MaxKeys: 1})
	count := 0
	for pages.HasNext() {
		page, err := pages.NextPage(ctx)
		must(t, err)
		equal(t, len(page.Buckets), 1)
		count++
	}
	equal(t, count, 3)
}

func TestPolicy(t *testing.T) {
	for way, client := range ways {
		t.Run(way, func(t *testing.T) {
			c := client()
			bucket := newBucket(t, c)
			text := `{"Version":"1", "Statement":[{"Action":["ossvector:PutVectors"],"Effect":"Deny","Principal":["1234567890"],"Resource":["acs:ossvector:*:*:*"]}]}`
			put, err := c.PutBucketPolicy(ctx, &vectors.PutBucketPolicyRequest{Bucket: &bucket, Body: strings.NewReader(text)})
			must(t, err)
			checkCommon(t, put.ResultCommon, 200)
			got, err := c.GetBucketPolicy(ctx, &vectors.GetBucketPolicyRequest{Bucket: &bucket})
			must(t, err)
			checkCommon(t, got.ResultCommon, 200)
			equal(t, got.Body, text)
			gone, err := c.DeleteBucketPolicy(ctx, &vectors.DeleteBucketPolicyRequest{Bucket: &bucket})
			must(t, err)
			checkCommon(t, gone.ResultCommon, 204)
			_, err = c.GetBucketPolicy(ctx, &vectors.GetBucketPolicyRequest{Bucket: &bucket})
			checkError(t, err, 404, "NoSuchBucketPolicy", "")
		})
	}
}

func TestLogging(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	put, err := c.PutBucketLogging(ctx, &vectors.PutBucketLoggingRequest{
		Bucket: &bucket,
		BucketLoggingStatus: &vectors.BucketLoggingStatus{LoggingEnabled: &vectors.LoggingEnabled{
			TargetBucket: oss.Ptr("target"), TargetPrefix: oss.Ptr("p-"), LoggingRole: oss.Ptr("AliyunOSSLoggingDefaultRole"),
		}},
	})
	must(t, err)
	checkCommon(t, put.ResultCommon, 200)
	got, err := c.GetBucketLogging(ctx, &vectors.GetBucketLoggingRequest{Bucket: &bucket})
	must(t, err)
	checkCommon(t, got.ResultCommon, 200)
	enabled := got.BucketLoggingStatus.LoggingEnabled
	equal(t, *enabled.TargetBucket, "target")
	equal(t, *enabled.TargetPrefix, "p-")
	equal(t, *enabled.LoggingRole, "AliyunOSSLoggingDefaultRole")
	for range 2 {
		gone, err := c.DeleteBucketLogging(ctx, &vectors.DeleteBucketLoggingRequest{Bucket: &bucket})
		must(t, err)
		checkCommon(t, gone.ResultCommon, 204)
		got, err = c.GetBucketLogging(ctx, &vectors.GetBucketLoggingRequest{Bucket: &bucket})
		must(t, err)
		if enabled := got.BucketLoggingStatus.LoggingEnabled; enabled != nil && enabled.TargetBucket != nil {
			t.Fatalf("%+v", enabled)
		}
	}
}

// invoke calls an operation the client has no method for and returns its status and JSON body.
func invoke(t *testing.T, c *vectors.VectorsClient, bucket, method, key, value string, body string) (int, map[string]any) {
	t.Helper()
	input := &oss.OperationInput{
		OpName:     "Invoke",
		Method:     method,
		Bucket:     &bucket,
		Parameters: map[string]string{key: value},
		Headers:    map[string]string{"Content-Type": "application/json"},
	}
	if body != "" {
		input.Body = strings.NewReader(body)
	}
	output, err := c.InvokeOperation(ctx, input)
	must(t, err)
	var parsed map[string]any
	if output.Body != nil {
		defer output.Body.Close()
		text, err := io.ReadAll(output.Body)
		must(t, err)
		if len(text) > 0 {
			must(t, json.Unmarshal(text, &parsed))
		}
	}
	return output.StatusCode, parsed
}

func text(t *testing.T, value any) string {
	t.Helper()
	out, err := json.Marshal(value)
	must(t, err)
	return string(out)
}

func TestTags(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	tags := `{"Tagging":{"TagSet":{"Tag":[{"Key":"k1","Value":"v1"},{"Key":"k2","Value":"v2"},{"Key":"k3","Value":""}]}}}`
	status, _ := invoke(t, c, bucket, "PUT", "tagging", "", tags)
	equal(t, status, 200)
	status, got := invoke(t, c, bucket, "GET", "tagging", "", "")
	equal(t, status, 200)
	equal(t, text(t, got), tags)
	status, _ = invoke(t, c, bucket, "DELETE", "tagging", "k1,k3", "")
	equal(t, status, 204)
	_, got = invoke(t, c, bucket, "GET", "tagging", "", "")
	equal(t, text(t, got), `{"Tagging":{"TagSet":{"Tag":[{"Key":"k2","Value":"v2"}]}}}`)
	status, _ = invoke(t, c, bucket, "DELETE", "tagging", "", "")
	equal(t, status, 204)
	_, got = invoke(t, c, bucket, "GET", "tagging", "", "")
	equal(t, text(t, got), `{"Tagging":{"TagSet":{"Tag":[]}}}`)
}

func TestResourceGroup(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	want := `{"BucketResourceGroupConfiguration":{"ResourceGroupId":"rg-moved"}}`
	status, _ := invoke(t, c, bucket, "PUT", "resourceGroup", "", want)
	equal(t, status, 200)
	status, got := invoke(t, c, bucket, "GET", "resourceGroup", "", "")
	equal(t, status, 200)
	equal(t, text(t, got), want)
}

// Package suite drives the official Go SDK's vectors client against a running server.
//
// The server's address and identity come from the environment (see tests/sdk/run.py):
// SUITE_URL, SUITE_ADMIN_URL, SUITE_BIN, SUITE_REGION, SUITE_ACCOUNT_ID, SUITE_ACCESS_KEY_ID, SUITE_ACCESS_KEY_SECRET.
package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/vectors"
)

var (
	url       = required("SUITE_URL")
	region    = required("SUITE_REGION")
	accountID = required("SUITE_ACCOUNT_ID")
	keyID     = required("SUITE_ACCESS_KEY_ID")
	secret    = required("SUITE_ACCESS_KEY_SECRET")

	names atomic.Int64
	ctx   = context.Background()
)

func required(name string) string {
	value := os.Getenv(name)
	if value == "" {
		fmt.Fprintf(os.Stderr, "%s is not set: run tests/sdk/run.py\n", name)
		os.Exit(2)
	}
	return value
}

// config is the SDK's default configuration with our identity and no endpoint yet.
func config() *oss.Config {
	return oss.LoadDefaultConfig().
		WithCredentialsProvider(credentials.NewStaticCredentialsProvider(keyID, secret)).
		WithRegion(region).
		WithAccountId(accountID).
		WithDisableSSL(true)
}

// byIP is the plain way: an IP endpoint, for which the SDK uses path style by itself.
func byIP() *vectors.VectorsClient {
	return vectors.NewVectorsClient(config().WithEndpoint(url))
}

// byPathStyle asks for path style on a host name.
func byPathStyle() *vectors.VectorsClient {
	named := strings.Replace(url, "127.0.0.1", "localhost", 1)
	return vectors.NewVectorsClient(config().WithEndpoint(named).WithUsePathStyle(true))
}

// byProxy keeps the service's own host names and goes through the server as a proxy.
func byProxy() *vectors.VectorsClient {
	return vectors.NewVectorsClient(config().WithProxyHost(url))
}

// byTransport is plain virtual hosting: every host name leads to the server's port.
func byTransport() *vectors.VectorsClient {
	address := strings.TrimPrefix(url, "http://")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
	return vectors.NewVectorsClient(config().WithHttpClient(&http.Client{Transport: transport}))
}

var ways = map[string]func() *vectors.VectorsClient{
	"ip": byIP, "path style": byPathStyle, "proxy": byProxy, "transport": byTransport,
}

// newBucket makes a bucket that is removed with all its indexes when the test ends.
func newBucket(t *testing.T, c *vectors.VectorsClient) string {
	t.Helper()
	name := fmt.Sprintf("go-suite-%d-%d", os.Getpid()%100000, names.Add(1))
	_, err := c.PutVectorBucket(ctx, &vectors.PutVectorBucketRequest{Bucket: &name})
	must(t, err)
	t.Cleanup(func() { removeBucket(c, name) })
	return name
}

func removeBucket(c *vectors.VectorsClient, name string) {
	pages := c.NewListVectorIndexesPaginator(&vectors.ListVectorIndexesRequest{Bucket: &name})
	for pages.HasNext() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return
		}
		for _, index := range page.Indexes {
			_, _ = c.DeleteVectorIndex(ctx, &vectors.DeleteVectorIndexRequest{Bucket: &name, IndexName: index.IndexName})
		}
	}
	_, _ = c.DeleteVectorBucket(ctx, &vectors.DeleteVectorBucketRequest{Bucket: &name})
}

func newIndex(t *testing.T, c *vectors.VectorsClient, bucket, name string, dimension int, metric string) {
	t.Helper()
	result, err := c.PutVectorIndex(ctx, &vectors.PutVectorIndexRequest{
		Bucket:         &bucket,
		IndexName:      &name,
		DataType:       oss.Ptr("float32"),
		Dimension:      &dimension,
		DistanceMetric: &metric,
		Metadata:       map[string]any{"nonFilterableMetadataKeys": []string{"note"}},
	})
	must(t, err)
	checkCommon(t, result.ResultCommon, 200)
}

var requestID = regexp.MustCompile("^[0-9A-F]{24}$")

// checkCommon checks what every result carries.
func checkCommon(t *testing.T, got oss.ResultCommon, status int) {
	t.Helper()
	equal(t, got.StatusCode, status)
	if !requestID.MatchString(got.Headers.Get("x-oss-request-id")) {
		t.Fatalf("request id %q", got.Headers.Get("x-oss-request-id"))
	}
	equal(t, got.Headers.Get("Server"), "AliyunOSS")
	if _, err := http.ParseTime(got.Headers.Get("Date")); err != nil {
		t.Fatal(err)
	}
}

func serviceError(t *testing.T, err error) *oss.ServiceError {
	t.Helper()
	var inner *oss.ServiceError
	if !errors.As(err, &inner) {
		t.Fatalf("no service error: %v", err)
	}
	return inner
}

// checkError checks code, status and everything a service error carries.
func checkError(t *testing.T, err error, status int, code, ec string) *oss.ServiceError {
	t.Helper()
	got := serviceError(t, err)
	equal(t, got.StatusCode, status)
	equal(t, got.Code, code)
	if ec != "" {
		equal(t, got.EC, ec)
	}
	equal(t, got.EC, got.Headers.Get("x-oss-ec"))
	equal(t, got.RequestID, got.Headers.Get("x-oss-request-id"))
	equal(t, got.Headers.Get("Content-Type"), "application/json")
	if got.Message == "" || got.Timestamp.IsZero() || time.Since(got.Timestamp).Abs() > 10*time.Minute {
		t.Fatalf("%+v", got)
	}
	equal(t, member(t, got, "EC"), got.EC)
	return got
}

// member is a member of the error body; the SDK keeps only the body's text for what it does not model.
func member(t *testing.T, got *oss.ServiceError, name string) string {
	t.Helper()
	var body map[string]map[string]string
	must(t, json.Unmarshal(got.Snapshot, &body))
	value := body["Error"][name]
	if value == "" {
		t.Fatalf("no %s in %s", name, got.Snapshot)
	}
	return value
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func arn(bucket string) string {
	return "acs:ossvector:" + region + ":" + accountID + ":" + bucket
}

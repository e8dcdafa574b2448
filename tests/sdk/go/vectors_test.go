package suite

import (
	"fmt"
	"math"
	"math/rand"
	"sort"
	"testing"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/vectors"
)

func row(key string, values []float32, metadata map[string]any) map[string]any {
	made := map[string]any{"key": key, "data": map[string]any{"float32": values}}
	if metadata != nil {
		made["metadata"] = metadata
	}
	return made
}

func put(t *testing.T, c *vectors.VectorsClient, bucket, index string, rows ...map[string]any) {
	t.Helper()
	result, err := c.PutVectors(ctx, &vectors.PutVectorsRequest{Bucket: &bucket, IndexName: &index, Vectors: rows})
	must(t, err)
	checkCommon(t, result.ResultCommon, 200)
}

// floats reads the data of a returned vector; the SDK hands JSON numbers on as float64.
func floats(t *testing.T, vector map[string]any) []float32 {
	t.Helper()
	values := vector["data"].(map[string]any)["float32"].([]any)
	out := make([]float32, len(values))
	for i, value := range values {
		out[i] = float32(value.(float64))
	}
	return out
}

func sameBits(t *testing.T, got, want []float32) {
	t.Helper()
	equal(t, len(got), len(want))
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("element %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestVectorLife(t *testing.T) {
	for way, client := range ways {
		t.Run(way, func(t *testing.T) {
			c := client()
			bucket, index := newBucket(t, c), "items"
			newIndex(t, c, bucket, index, 3, "euclidean")
			metadata := map[string]any{"s": "ü雪", "list": []any{"a", "b"}, "n": 2.5, "yes": true, "note": "long"}
			put(t, c, bucket, index, row("vector-key-1", []float32{0.1, 1e-45, -3.4e38}, metadata), row("b", []float32{1, 2, 3}, nil))

			got, err := c.GetVectors(ctx, &vectors.GetVectorsRequest{
				Bucket: &bucket, IndexName: &index, Keys: []string{"b", "nope", "vector-key-1"}, ReturnData: oss.Ptr(true), ReturnMetadata: oss.Ptr(true),
			})
			must(t, err)
			checkCommon(t, got.ResultCommon, 200)
			equal(t, len(got.Vectors), 2)
			equal(t, got.Vectors[0]["key"].(string), "b")
			sameBits(t, floats(t, got.Vectors[1]), []float32{0.1, 1e-45, -3.4e38})
			equal(t, text(t, got.Vectors[1]["metadata"]), text(t, metadata))
			if _, there := got.Vectors[0]["metadata"]; there {
				t.Fatal("a vector without metadata has none")
			}
			bare, err := c.GetVectors(ctx, &vectors.GetVectorsRequest{Bucket: &bucket, IndexName: &index, Keys: []string{"b"}})
			must(t, err)
			equal(t, text(t, bare.Vectors), `[{"key":"b"}]`)

			listed, err := c.ListVectors(ctx, &vectors.ListVectorsRequest{
				Bucket: &bucket, IndexName: &index, MaxResults: 100, NextToken: oss.Ptr(""), ReturnData: oss.Ptr(true), ReturnMetadata: oss.Ptr(false),
				SegmentCount: oss.Ptr(2), SegmentIndex: oss.Ptr(1),
			})
			must(t, err)
			checkCommon(t, listed.ResultCommon, 200)
			keys := map[string]bool{}
			for _, vector := range listed.Vectors {
				keys[vector["key"].(string)] = true
			}
			equal(t, keys["vector-key-1"], true)

			found, err := c.QueryVectors(ctx, &vectors.QueryVectorsRequest{
				Bucket: &bucket, IndexName: &index, QueryVector: map[string]any{"float32": []float32{1, 2, 3}}, TopK: oss.Ptr(10),
				Filter:         map[string]any{"$and": []map[string]any{{"type": map[string]any{"$nin": []string{"comedy", "documentary"}}}}},
				ReturnDistance: oss.Ptr(true), ReturnMetadata: oss.Ptr(true),
			})
			must(t, err)
			checkCommon(t, found.ResultCommon, 200)
			equal(t, len(found.Vectors), 2)
			equal(t, text(t, found.Vectors[0]), `{"distance":0,"key":"b"}`)

			gone, err := c.DeleteVectors(ctx, &vectors.DeleteVectorsRequest{Bucket: &bucket, IndexName: &index, Keys: []string{"b", "b", "nope"}})
			must(t, err)
			checkCommon(t, gone.ResultCommon, 204)
			after, err := c.ListVectors(ctx, &vectors.ListVectorsRequest{Bucket: &bucket, IndexName: &index})
			must(t, err)
			equal(t, text(t, after.Vectors), `[{"key":"vector-key-1"}]`)
		})
	}
}

func TestListPagesAndSegments(t *testing.T) {
	c := byIP()
	bucket, index := newBucket(t, c), "items"
	newIndex(t, c, bucket, index, 2, "euclidean")
	rows := []map[string]any{}
	for i := range 60 {
		rows = append(rows, row(fmt.Sprintf("key-%02d", i), []float32{float32(i), 1}, map[string]any{"n": i}))
	}
	put(t, c, bucket, index, rows...)
	for limit, want := range map[int]int{60: 1, 59: 2, 30: 2, 7: 9, 1: 60} {
		pages := c.NewListVectorsPaginator(&vectors.ListVectorsRequest{Bucket: &bucket, IndexName: &index, MaxResults: limit})
		seen, count := map[string]bool{}, 0
		for pages.HasNext() {
			page, err := pages.NextPage(ctx)
			must(t, err)
			count++
			for _, vector := range page.Vectors {
				seen[vector["key"].(string)] = true
			}
		}
		equal(t, count, want)
		equal(t, len(seen), 60)
	}
	seen := map[string]int{}
	for segment := range 4 {
		pages := c.NewListVectorsPaginator(&vectors.ListVectorsRequest{
			Bucket: &bucket, IndexName: &index, MaxResults: 5, SegmentCount: oss.Ptr(4), SegmentIndex: oss.Ptr(segment),
		})
		for pages.HasNext() {
			page, err := pages.NextPage(ctx)
			must(t, err)
			for _, vector := range page.Vectors {
				seen[vector["key"].(string)]++
			}
		}
	}
	equal(t, len(seen), 60)
	for key, times := range seen {
		if times != 1 {
			t.Fatalf("%s in %d segments", key, times)
		}
	}
	status, got := invoke(t, c, bucket, "POST", "listVectors", "", `{"indexName":"items","filter":{"n":{"$gte":55}}}`)
	equal(t, status, 200)
	equal(t, len(got["vectors"].([]any)), 5)
}

func TestQueryAgreesWithTheReference(t *testing.T) {
	c := byIP()
	bucket := newBucket(t, c)
	random := rand.New(rand.NewSource(3))
	for metric, distance := range map[string]func(a, b []float32) float64{"euclidean": euclidean, "cosine": cosine} {
		index := metric
		newIndex(t, c, bucket, index, 48, metric)
		stored := map[string][]float32{}
		rows := []map[string]any{}
		for i := range 300 {
			key := fmt.Sprintf("k%03d", i)
			stored[key] = gauss(random, 48)
			rows = append(rows, row(key, stored[key], map[string]any{"n": i}))
		}
		put(t, c, bucket, index, rows...)
		for range 10 {
			query := gauss(random, 48)
			found, err := c.QueryVectors(ctx, &vectors.QueryVectorsRequest{
				Bucket: &bucket, IndexName: &index, QueryVector: map[string]any{"float32": query}, TopK: oss.Ptr(20), ReturnDistance: oss.Ptr(true),
				Filter: map[string]any{"n": map[string]any{"$lt": 200}},
			})
			must(t, err)
			keys := []string{}
			for i := range 200 {
				keys = append(keys, fmt.Sprintf("k%03d", i))
			}
			sort.Slice(keys, func(i, j int) bool { return distance(query, stored[keys[i]]) < distance(query, stored[keys[j]]) })
			equal(t, len(found.Vectors), 20)
			for i, vector := range found.Vectors {
				equal(t, vector["key"].(string), keys[i])
				if math.Abs(vector["distance"].(float64)-distance(query, stored[keys[i]])) > 1e-4 {
					t.Fatalf("%v is not %v", vector["distance"], distance(query, stored[keys[i]]))
				}
			}
		}
	}
}

func gauss(random *rand.Rand, count int) []float32 {
	out := make([]float32, count)
	for i := range out {
		out[i] = float32(random.NormFloat64())
	}
	return out
}

func euclidean(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += (float64(a[i]) - float64(b[i])) * (float64(a[i]) - float64(b[i]))
	}
	return math.Sqrt(sum)
}

func cosine(a, b []float32) float64 {
	dot, aa, bb := 0.0, 0.0, 0.0
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return 1 - dot/math.Sqrt(aa*bb)
}

func TestBigBatch(t *testing.T) {
	c := byIP()
	bucket, index := newBucket(t, c), "items"
	newIndex(t, c, bucket, index, 1536, "cosine")
	random := rand.New(rand.NewSource(5))
	rows, last := []map[string]any{}, []float32{}
	for i := range 500 {
		last = gauss(random, 1536)
		rows = append(rows, row(fmt.Sprintf("k%d", i), last, nil))
	}
	put(t, c, bucket, index, rows...)
	got, err := c.GetVectors(ctx, &vectors.GetVectorsRequest{Bucket: &bucket, IndexName: &index, Keys: []string{"k499"}, ReturnData: oss.Ptr(true)})
	must(t, err)
	sameBits(t, floats(t, got.Vectors[0]), last)
}

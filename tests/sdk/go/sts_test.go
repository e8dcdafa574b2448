package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/vectors"
)

var (
	binary   = required("SUITE_BIN")
	adminURL = required("SUITE_ADMIN_URL")
)

// command runs the binary against the server's admin address, signing with these keys.
func command(t *testing.T, id, secret string, arguments ...string) []byte {
	t.Helper()
	run := exec.Command(binary, arguments...)
	run.Env = append(os.Environ(),
		"VECTORBUCKET_ADMIN_URL="+adminURL, "OSS_ACCESS_KEY_ID="+id, "OSS_ACCESS_KEY_SECRET="+secret)
	out, err := run.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		t.Fatalf("%v: %s", arguments, failed.Stderr)
	}
	must(t, err)
	return out
}

// document writes a policy of one statement to a file.
func document(t *testing.T, statement map[string]any) string {
	t.Helper()
	statement["Effect"] = "Allow"
	text, err := json.Marshal(map[string]any{"Version": "1", "Statement": []any{statement}})
	must(t, err)
	path := filepath.Join(t.TempDir(), "policy.json")
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

// The SDK runs `vectorbucket sts assume-role` by itself and signs with what it prints.
func TestProcessProviderAssumesRole(t *testing.T) {
	admin := func(arguments ...string) []byte {
		return command(t, keyID, secret, append([]string{"admin"}, arguments...)...)
	}
	bucket := newBucket(t, byIP())
	admin("user", "create", "gopher")
	var key struct{ AccessKeyId, AccessKeySecret string }
	must(t, json.Unmarshal(admin("key", "create", "gopher", "--json"), &key))
	assume := document(t, map[string]any{"Action": "sts:AssumeRole", "Resource": "*"})
	admin("policy", "put-inline", "assume", assume, "--user", "gopher")
	trusted := map[string]any{"RAM": []string{"acs:ram::" + accountID + ":user/gopher"}}
	admin("role", "create", "go-reader", document(t, map[string]any{"Action": "sts:AssumeRole", "Principal": trusted}))
	reads := document(t, map[string]any{"Action": "oss:GetVectorBucket", "Resource": "*"})
	admin("policy", "put-inline", "reads", reads, "--role", "go-reader")

	line := fmt.Sprintf("OSS_ACCESS_KEY_ID=%s OSS_ACCESS_KEY_SECRET=%s VECTORBUCKET_ADMIN_URL=%s %s sts assume-role "+
		"--role-arn acs:ram::%s:role/go-reader --session-name gopher", key.AccessKeyId, key.AccessKeySecret, adminURL, binary, accountID)
	provider := credentials.NewProcessCredentialsProvider(line)
	given, err := provider.GetCredentials(ctx)
	must(t, err)
	if given.Expires == nil || given.SecurityToken == "" {
		t.Fatalf("no expiry or token in %v", given.AccessKeyID)
	}
	session := vectors.NewVectorsClient(config().WithEndpoint(url).WithCredentialsProvider(provider))
	_, err = session.GetVectorBucket(ctx, &vectors.GetVectorBucketRequest{Bucket: oss.Ptr(bucket)})
	must(t, err)
	if _, err = session.DeleteVectorBucket(ctx, &vectors.DeleteVectorBucketRequest{Bucket: oss.Ptr(bucket)}); err == nil {
		t.Fatal("a session did what its role may not")
	}
}

package cloud

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/cloud/wire"
)

// clients makes the SDK client of each package of operations.
var clients = map[string]func(aws.Config) any{
	"apigatewayv2":    func(c aws.Config) any { return apigatewayv2.NewFromConfig(c) },
	"cloudwatchlogs":  func(c aws.Config) any { return cloudwatchlogs.NewFromConfig(c) },
	"codebuild":       func(c aws.Config) any { return codebuild.NewFromConfig(c) },
	"codecommit":      func(c aws.Config) any { return codecommit.NewFromConfig(c) },
	"codedeploy":      func(c aws.Config) any { return codedeploy.NewFromConfig(c) },
	"codepipeline":    func(c aws.Config) any { return codepipeline.NewFromConfig(c) },
	"dynamodb":        func(c aws.Config) any { return dynamodb.NewFromConfig(c) },
	"dynamodbstreams": func(c aws.Config) any { return dynamodbstreams.NewFromConfig(c) },
	"eventbridge":     func(c aws.Config) any { return eventbridge.NewFromConfig(c) },
	"iam":             func(c aws.Config) any { return iam.NewFromConfig(c) },
	"kms":             func(c aws.Config) any { return kms.NewFromConfig(c) },
	"lambda":          func(c aws.Config) any { return lambda.NewFromConfig(c) },
	"s3":              func(c aws.Config) any { return s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }) },
	"sfn":             func(c aws.Config) any { return sfn.NewFromConfig(c) },
	"sns":             func(c aws.Config) any { return sns.NewFromConfig(c) },
	"sqs": func(c aws.Config) any {
		return sqs.NewFromConfig(c, func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
	},
	"sts": func(c aws.Config) any { return sts.NewFromConfig(c) },

	"resourcegroupstaggingapi": func(c aws.Config) any { return tagging.NewFromConfig(c) },
}

// notSent are members that a client does not put on the wire, computes itself,
// or that exclude others: the test leaves them empty.
var notSent = map[string]bool{
	"SimulatePrincipalPolicyInput.PolicyExclusionList": true, // a union that the simulator does not take
	"PutEventsInput.EndpointId":                        true, // has the client sign by SigV4a
	"PutObjectOutput.Size":                             true, // of directory buckets only
	"Grantee.Type":                                     true, // an XML attribute; the cloud knows one type
	// S3: the SDK computes checksums and lengths, and takes only one checksum.
	"ContentMD5": true, "ContentLength": true, "ContentEncoding": true, "ChecksumMode": true, "ExpiresString": true, "MissingMeta": true,
}

// TestEveryOperationRoundTrips sends every registered operation with random
// input through the SDK's client, and random output back.
func TestEveryOperationRoundTrips(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("")
	cfg.RetryMaxAttempts = 1
	var input, output any
	c.mux.Stub(func(_ context.Context, call *wire.Call) (any, error) {
		input = call.Input
		return output, nil
	})
	for i, op := range c.mux.Operations() {
		t.Run(op.Service+"."+op.Name, func(t *testing.T) {
			pkg := op.In.PkgPath()[strings.LastIndexByte(op.In.PkgPath(), '/')+1:]
			if clients[pkg] == nil {
				t.Fatalf("no client for %s: add one", pkg)
			}
			f := filler{rand.New(rand.NewPCG(7, uint64(i)))} //nolint:gosec // a test's randomness
			in, out := reflect.New(op.In), reflect.New(op.Out)
			f.fill(in.Elem(), 0)
			f.fill(out.Elem(), 0)
			output = out.Interface()
			res := reflect.ValueOf(clients[pkg](cfg)).MethodByName(op.Name).Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
			if err, _ := reflect.TypeAssert[error](res[1]); err != nil {
				t.Fatal(err)
			}
			if d := diff(in, reflect.ValueOf(input), ""); d != "" {
				t.Errorf("input differs at %s", d)
			}
			if d := diff(out, res[0], ""); d != "" {
				t.Errorf("output differs at %s", d)
			}
		})
	}
}

func newCloud(t testing.TB) *Cloud {
	t.Helper()
	c, err := New(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// config is a client's configuration in the name of the root user.
func (c *Cloud) config(region string) aws.Config {
	if region == "" {
		region = c.Region
	}
	return aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
		BaseEndpoint: new("http://127.0.0.1:4566"), HTTPClient: &http.Client{Transport: c.Transport()},
	}
}

// A filler sets every member of a shape to something random.
type filler struct{ r *rand.Rand }

var unionTypes = map[reflect.Type]any{
	reflect.TypeFor[iamtypes.PolicyIdentifier]():  &iamtypes.PolicyIdentifierMemberInlinePolicyIdentifier{Value: iamtypes.InlinePolicyIdentifierType{AttachmentName: new("a"), AttachmentType: "role", PolicyName: new("p")}},
	reflect.TypeFor[ddbtypes.AttributeValue]():    &ddbtypes.AttributeValueMemberL{Value: []ddbtypes.AttributeValue{&ddbtypes.AttributeValueMemberN{Value: "1"}, &ddbtypes.AttributeValueMemberBOOL{Value: true}}},
	reflect.TypeFor[streamtypes.AttributeValue](): &streamtypes.AttributeValueMemberM{Value: map[string]streamtypes.AttributeValue{"a": &streamtypes.AttributeValueMemberS{Value: "x"}}},
}

func (f filler) fill(v reflect.Value, depth int) {
	if depth > 12 {
		return
	}
	switch t := v.Type(); {
	case t == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+f.r.Int64N(1e8), 0).UTC()))
	case t == reflect.TypeFor[io.Reader](), t == reflect.TypeFor[io.ReadCloser]():
		v.Set(reflect.ValueOf(io.NopCloser(bytes.NewReader([]byte("body")))))
		if t == reflect.TypeFor[io.Reader]() {
			v.Set(reflect.ValueOf(bytes.NewReader([]byte("body")))) // what can be signed can be read twice
		}
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		f.fill(v.Elem(), depth)
	case t.Kind() == reflect.Interface:
		if u, ok := unionTypes[t]; ok {
			v.Set(reflect.ValueOf(u))
		}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			n := t.Field(i)
			if n.IsExported() && n.Name != "ResultMetadata" && !skipped(t, n.Name) {
				f.fill(v.Field(i), depth+1)
			}
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		v.SetBytes([]byte(fmt.Sprint(f.r.Uint64())))
	case t.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(t, 2, 2))
		f.fill(v.Index(0), depth+1)
		f.fill(v.Index(1), depth+1)
		if t.Elem().Kind() == reflect.String && v.Index(0).String() > v.Index(1).String() {
			reflect.Swapper(v.Interface())(0, 1) // SigV4 sorts the values of a query parameter
		}
	case t.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(t))
		e := reflect.New(t.Elem()).Elem()
		f.fill(e, depth+1)
		v.SetMapIndex(reflect.ValueOf(fmt.Sprint("k", f.r.Uint32())).Convert(t.Key()), e)
	case t.Kind() == reflect.String:
		v.SetString(fmt.Sprint("s", f.r.Uint32()))
	case t.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(200 + f.r.Int64N(99)) // also fits an HTTP status
	case v.CanFloat():
		v.SetFloat(float64(f.r.IntN(1000)) + .5)
	}
}

func skipped(t reflect.Type, field string) bool {
	if strings.Contains(t.PkgPath(), "/service/s3") && (notSent[field] || strings.HasPrefix(field, "Checksum") || strings.HasPrefix(field, "SSECustomer") || strings.HasPrefix(field, "CopySourceSSE")) {
		return true
	}
	return notSent[t.Name()+"."+field]
}

// diff is the path of the first difference, or "".
func diff(a, b reflect.Value, path string) string {
	switch {
	case !a.IsValid() || !b.IsValid():
		return path + " (missing)"
	case a.Type() != b.Type():
		return path + " (" + a.Type().String() + ", " + b.Type().String() + ")"
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if ra, ok := reflect.TypeAssert[io.Reader](a); ok && !a.IsNil() {
			return diffReaders(ra, b, path)
		}
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return path + " (nil)"
			}
			return ""
		}
		return diff(a.Elem(), b.Elem(), path)
	case reflect.Struct:
		if ta, ok := reflect.TypeAssert[time.Time](a); ok {
			if tb := b.Interface().(time.Time); !ta.Equal(tb) {
				return fmt.Sprint(path, " ", ta, " ", tb)
			}
			return ""
		}
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if !f.IsExported() || f.Name == "ResultMetadata" || skipped(a.Type(), f.Name) {
				continue
			}
			if d := diff(a.Field(i), b.Field(i), path+"."+f.Name); d != "" {
				return d
			}
		}
		return ""
	case reflect.Slice:
		if a.Len() != b.Len() {
			return fmt.Sprint(path, " (length ", a.Len(), " ", b.Len(), ")")
		}
		for i := range a.Len() {
			if d := diff(a.Index(i), b.Index(i), fmt.Sprint(path, "[", i, "]")); d != "" {
				return d
			}
		}
		return ""
	case reflect.Map:
		if a.Len() != b.Len() {
			return path + " (length)"
		}
		for _, k := range a.MapKeys() {
			if d := diff(a.MapIndex(k), b.MapIndex(k), path+"{"+k.String()+"}"); d != "" {
				return d
			}
		}
		return ""
	}
	if !a.Equal(b) {
		return fmt.Sprint(path, " ", a, " ", b)
	}
	return ""
}

func diffReaders(a io.Reader, b reflect.Value, path string) string {
	rb, ok := reflect.TypeAssert[io.Reader](b)
	if !ok {
		return path + " (no body)"
	}
	if s, ok := a.(io.Seeker); ok {
		_, _ = s.Seek(0, io.SeekStart)
	}
	want, _ := io.ReadAll(a)
	got, _ := io.ReadAll(rb)
	// An output's body was read while it was sent: what was sent is known.
	if len(want) == 0 {
		want = []byte("body")
	}
	if !bytes.Equal(want, got) {
		return fmt.Sprintf("%s %q %q", path, want, got)
	}
	return ""
}

package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud"
)

// A tenant is an account in a whole cloud, where IAM is enforced.
type tenant struct {
	t     testing.TB
	cloud *cloud.Cloud
	cfg   aws.Config // of the root user
	user  aws.Config // of a user that may assume the roles
	key   string
}

func newTenant(t testing.TB) *tenant {
	t.Helper()
	c, err := cloud.New(t.Context(), cloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	x := &tenant{t: t, cloud: c, cfg: aws.Config{
		Region: c.Region, Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
		BaseEndpoint: new("http://127.0.0.1:4566"), HTTPClient: &http.Client{Transport: c.Transport()},
	}}
	k, err := kms.NewFromConfig(x.cfg).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	x.key = *k.KeyMetadata.Arn
	return x
}

// as is a client in the name of a role with the given statements.
func (x *tenant) as(role, statements string) *sdk.Client {
	x.t.Helper()
	ctx := x.t.Context()
	ic := iam.NewFromConfig(x.cfg)
	made, err := ic.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + x.cloud.Account + `:user/u"},"Action":"sts:AssumeRole"}]}`)})
	if err != nil {
		x.t.Fatal(err)
	}
	_, err = ic.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &role, PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)})
	if err != nil {
		x.t.Fatal(err)
	}
	session, err := sts.NewFromConfig(x.user).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: made.Role.Arn, RoleSessionName: aws.String("session")})
	if err != nil {
		x.t.Fatal(err)
	}
	cfg := x.cfg.Copy()
	cfg.RetryMaxAttempts = 1
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*session.Credentials.AccessKeyId, *session.Credentials.SecretAccessKey, *session.Credentials.SessionToken)
	return sdk.NewFromConfig(cfg)
}

// makeUser makes the user that assumes the roles.
func (x *tenant) makeUser() {
	x.t.Helper()
	ic := iam.NewFromConfig(x.cfg)
	if _, err := ic.CreateUser(x.t.Context(), &iam.CreateUserInput{UserName: aws.String("u")}); err != nil {
		x.t.Fatal(err)
	}
	if _, err := ic.PutUserPolicy(x.t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("u"), PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`)}); err != nil {
		x.t.Fatal(err)
	}
	key, err := ic.CreateAccessKey(x.t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("u")})
	if err != nil {
		x.t.Fatal(err)
	}
	x.user = x.cfg.Copy()
	x.user.Credentials = credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
}

func (x *tenant) create(name string, encrypted bool) *sdk.Client {
	x.t.Helper()
	c := sdk.NewFromConfig(x.cfg)
	in := &sdk.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest, KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("kind"), AttributeType: types.ScalarAttributeTypeS}},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String("by-kind"), KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("kind"), KeyType: types.KeyTypeHash}},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}},
	}
	if encrypted {
		in.SSESpecification = &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms, KMSMasterKeyId: &x.key}
	}
	if _, err := c.CreateTable(x.t.Context(), in); err != nil {
		x.t.Fatal(err)
	}
	if err := sdk.NewTableExistsWaiter(c).Wait(x.t.Context(), &sdk.DescribeTableInput{TableName: &name}, time.Second); err != nil {
		x.t.Fatal(err)
	}
	return c
}

func id(v string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: v}}
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestPoliciesNarrowToActionsKeysAndAttributes(t *testing.T) {
	x := newTenant(t)
	x.makeUser()
	x.create("tab", false)
	table := "arn:aws:dynamodb:" + x.cloud.Region + ":" + x.cloud.Account + ":table/tab"
	c := x.as("narrow", `{"Effect":"Allow","Action":["dynamodb:PutItem","dynamodb:GetItem","dynamodb:Query"],"Resource":"`+table+`",
		"Condition":{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["mine"],"dynamodb:Attributes":["id","n"]}}},
		{"Effect":"Allow","Action":"dynamodb:Query","Resource":"`+table+`/index/by-kind"}`)
	ctx := t.Context()
	put := func(key, attribute string) error {
		item := id(key)
		item[attribute] = &types.AttributeValueMemberN{Value: "1"}
		_, err := c.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("tab"), Item: item})
		return err
	}
	for name, try := range map[string]struct {
		do      func() error
		allowed bool
	}{
		"own key":         {func() error { return put("mine", "n") }, true},
		"other key":       {func() error { return put("yours", "n") }, false},
		"other attribute": {func() error { return put("mine", "secret") }, false},
		"other action": {func() error {
			_, err := c.DeleteItem(ctx, &sdk.DeleteItemInput{TableName: aws.String("tab"), Key: id("mine")})
			return err
		}, false},
		"scan":                 {func() error { _, err := c.Scan(ctx, &sdk.ScanInput{TableName: aws.String("tab")}); return err }, false},
		"own key in a query":   {func() error { return query(ctx, c, "id", "mine", nil) }, true},
		"other key in a query": {func() error { return query(ctx, c, "id", "yours", nil) }, false},
		"index":                {func() error { return query(ctx, c, "kind", "k", aws.String("by-kind")) }, true},
		"part of a transaction": {func() error {
			_, err := c.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Put: &types.Put{TableName: aws.String("tab"), Item: id("mine")}}}})
			return err
		}, true},
		"forbidden part of a transaction": {func() error {
			_, err := c.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
				{Put: &types.Put{TableName: aws.String("tab"), Item: id("mine")}}, {Delete: &types.Delete{TableName: aws.String("tab"), Key: id("x")}}}})
			return err
		}, false},
	} {
		err := try.do()
		if try.allowed && err != nil || !try.allowed && code(err) != "AccessDeniedException" {
			t.Errorf("%s: %v, want allowed = %v", name, err, try.allowed)
		}
	}
}

func query(ctx context.Context, c *sdk.Client, attribute, value string, index *string) error {
	_, err := c.Query(ctx, &sdk.QueryInput{
		TableName: aws.String("tab"), IndexName: index, KeyConditionExpression: aws.String("#k = :v"), ExpressionAttributeNames: map[string]string{"#k": attribute},
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": &types.AttributeValueMemberS{Value: value}},
	})
	return err
}

func TestEncryptedTableNeedsDecrypt(t *testing.T) {
	x := newTenant(t)
	x.makeUser()
	admin := x.create("tab", true)
	ctx := t.Context()
	if _, err := admin.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("tab"), Item: id("a")}); err != nil {
		t.Fatal(err)
	}
	tables := `{"Effect":"Allow","Action":"dynamodb:*","Resource":"*"}`
	get := &sdk.GetItemInput{TableName: aws.String("tab"), Key: id("a")}
	if _, err := x.as("without", tables).GetItem(ctx, get); code(err) != "AccessDeniedException" {
		t.Errorf("without kms:Decrypt: %v", err)
	}
	via := func(service string) string {
		return tables + `,{"Effect":"Allow","Action":"kms:Decrypt","Resource":"` + x.key + `","Condition":{"StringEquals":{"kms:ViaService":"` + service + `.` + x.cloud.Region + `.amazonaws.com",` +
			`"kms:EncryptionContext:aws:dynamodb:tableName":"tab","kms:EncryptionContext:aws:dynamodb:subscriberId":"` + x.cloud.Account + `"}}}`
	}
	if _, err := x.as("by-way-of-dynamodb", via("dynamodb")).GetItem(ctx, get); err != nil {
		t.Errorf("with kms:Decrypt by way of DynamoDB: %v", err)
	}
	if _, err := x.as("by-way-of-another", via("sqs")).GetItem(ctx, get); code(err) != "AccessDeniedException" {
		t.Errorf("with kms:Decrypt by way of another service: %v", err)
	}
	// The service's own work is let in by its grant alone.
	d, err := admin.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: aws.String("tab")})
	if err != nil || d.Table.TableStatus != types.TableStatusActive {
		t.Errorf("status of the table: %v, %v", d.Table.TableStatus, err)
	}
	_, err = admin.UpdateTimeToLive(ctx, &sdk.UpdateTimeToLiveInput{TableName: aws.String("tab"), TimeToLiveSpecification: &types.TimeToLiveSpecification{Enabled: aws.Bool(true), AttributeName: aws.String("ends")}})
	if err != nil {
		t.Fatal(err)
	}
	item := id("expired")
	item["ends"] = &types.AttributeValueMemberN{Value: fmt.Sprint(time.Now().Unix() - 10)}
	if _, err := admin.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("tab"), Item: item}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the expired item to go", func() bool {
		out, err := admin.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("tab"), Key: id("expired")})
		return err == nil && out.Item == nil
	})
	if _, err := admin.DeleteTable(ctx, &sdk.DeleteTableInput{TableName: aws.String("tab")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grant to go", func() bool {
		out, err := kms.NewFromConfig(x.cfg).ListGrants(ctx, &kms.ListGrantsInput{KeyId: &x.key})
		return err == nil && len(out.Grants) == 0
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

package kms

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/store"
)

// managed are the services for which AWS keeps a key of its own, alias/aws/<service>.
var managed = map[string]bool{
	"dynamodb": true, "lambda": true, "s3": true, "sns": true, "sqs": true, "ssm": true,
	"secretsmanager": true, "codecommit": true, "events": true, "kinesis": true,
}

// managedPolicy lets everybody in the account use the key by way of its
// service, and look at it. Nobody can manage it.
const managedPolicy = `{"Version":"2012-10-17","Id":"auto-SERVICE-1","Statement":[` +
	`{"Sid":"Allow access through SERVICE for all principals in the account that are authorized to use SERVICE","Effect":"Allow","Principal":{"AWS":"*"},` +
	`"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:CreateGrant","kms:DescribeKey"],"Resource":"*",` +
	`"Condition":{"StringEquals":{"kms:CallerAccount":"ACCOUNT","kms:ViaService":"SERVICE.REGION.amazonaws.com"}}},` +
	`{"Sid":"Allow direct access to key metadata to the account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::ACCOUNT:root"},` +
	`"Action":["kms:Describe*","kms:Get*","kms:List*","kms:RevokeGrant"],"Resource":"*"}]}`

// makeManaged makes the key that AWS manages for a service, when it is first
// needed, and returns its id.
func (s *Service) makeManaged(region, service string) (id string, err error) {
	now := time.Now()
	row, err := s.newKey(region, now)
	if err != nil {
		return "", err
	}
	row.ManagedBy = service
	row.Description = "Default key that protects my " + service + " data when no other key is defined"
	row.Policy = strings.NewReplacer("SERVICE", service, "ACCOUNT", s.Account, "REGION", region).Replace(managedPolicy)
	row.Rotation = rotation{Enabled: true, Period: yearly, Next: now.AddDate(0, 0, yearly)}
	alias := region + "/alias/aws/" + service
	// It belongs to the region, not to the request that happens to need it first.
	err = s.DB.Update(context.Background(), func(tx *store.Tx) error {
		if a, ok, err := aliasRows.Get(tx, alias); err != nil || ok {
			id = a.Key
			return err
		}
		id = row.ID
		tx.OnCommit(s.alias.Forget)
		if err := aliasRows.Put(tx, alias, aliasRow{Key: id, Created: now, Updated: now}); err != nil {
			return err
		}
		if err := s.sendRotation(tx, row); err != nil {
			return err
		}
		return s.put(tx, row)
	})
	return id, err
}

func (k *key) manager() types.KeyManagerType {
	if k.ManagedBy != "" {
		return types.KeyManagerTypeAws
	}
	return types.KeyManagerTypeCustomer
}

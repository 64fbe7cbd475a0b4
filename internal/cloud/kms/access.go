package kms

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// contextPrefix begins the condition keys for the pairs of an encryption context.
const contextPrefix = "kms:EncryptionContext:"

// on is the access to one key under the operation's own name. The key is named
// as the request does; more may add condition keys.
// A key that is not there leaves nothing to judge: the operation then says so.
func on[In any](s *Service, name func(*In) *string, more ...func(*In, map[string][]string)) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		a, ok := s.access(c, "kms:"+c.Op, name(in))
		if !ok {
			return nil
		}
		for _, m := range more {
			m(in, a.Context)
		}
		return []authz.Access{a}
	})
}

// access is an action on the key that name means, with the keys that every
// KMS request has.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
func (s *Service) access(c *wire.Call, action string, name *string) (authz.Access, bool) {
	k, err := s.find(c.Region, name)
	if err != nil {
		// The ARN of a key that is not there is judged by identity policies (see
		// ResourcePolicy), so that only who might see the key learns that it is gone.
		if ref, err := s.parse(c.Region, deref(name)); err == nil && ref.id != "" {
			return authz.Access{Action: action, Resource: s.arn(c.Region, ref.id), Context: s.caller(c)}, true
		}
		return authz.Access{}, false
	}
	a := s.accessTo(c, action, k)
	if i := strings.Index(*name, "alias/"); i >= 0 {
		a.Context["kms:RequestAlias"] = []string{(*name)[i:]}
	}
	return a, true
}

func (s *Service) accessTo(c *wire.Call, action string, k *key) authz.Access {
	keys := s.caller(c)
	keys["kms:KeySpec"], keys["kms:KeyUsage"], keys["kms:KeyOrigin"], keys["kms:MultiRegion"] = keySpec, keyUsage, keyOrigin, keyMultiRegion
	for t, v := range k.Tags {
		keys["aws:ResourceTag/"+t] = []string{v}
	}
	return authz.Access{Action: action, Resource: k.arn, Context: keys}
}

// What is the same of all keys and requests.
var (
	keySpec        = []string{string(types.KeySpecSymmetricDefault)}
	keyUsage       = []string{string(types.KeyUsageTypeEncryptDecrypt)}
	keyOrigin      = []string{string(types.OriginTypeAwsKms)}
	keyMultiRegion = []string{"false"}
	keyAlgorithm   = []string{string(types.EncryptionAlgorithmSpecSymmetricDefault)}
)

// usualKeys is how many condition keys a service's request has, about.
const usualKeys = 14

func (s *Service) caller(c *wire.Call) map[string][]string {
	keys := make(map[string][]string, usualKeys)
	keys["kms:CallerAccount"] = []string{c.Principal.Account}
	if c.Principal.Via != "" {
		keys["kms:ViaService"] = []string{c.Principal.Via + "." + c.Region + ".amazonaws.com"}
	}
	return keys
}

// withContext adds the condition keys of an encryption context.
func withContext(keys map[string][]string, ec map[string]string) {
	keys["kms:EncryptionAlgorithm"] = keyAlgorithm
	if len(ec) == 0 {
		return
	}
	keys["kms:EncryptionContextKeys"] = namesOf(ec)
	for k, v := range ec {
		keys[contextPrefix+k] = []string{v}
	}
}

// namesOf are the names of an encryption context, in order.
func namesOf(ec map[string]string) []string {
	names := make([]string, 0, len(ec))
	for k := range ec {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// tagKeys adds the condition keys of tags that a request brings.
func tagKeys(keys map[string][]string, tags []types.Tag) {
	for _, t := range tags {
		keys["aws:RequestTag/"+deref(t.TagKey)] = []string{deref(t.TagValue)}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], deref(t.TagKey))
	}
}

func boolKey(b bool) []string { return []string{strconv.FormatBool(b)} }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

package s3

import (
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// access is a rule for one action, on the bucket or, with a key, the object.
func access(action string, bucket, key *string) []authz.Access {
	resource := arn(*bucket)
	if key != nil {
		resource += "/" + *key
	}
	return []authz.Access{{Action: "s3:" + action, Resource: resource}}
}

// keys are the condition keys of a request.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
type keys map[string][]string

// say fills a key if the request says anything of it.
func (k keys) say(name string, value *string) {
	if value != nil && *value != "" {
		k["s3:"+name] = []string{*value}
	}
}

// onVersion is access to a version of an object, the current one if it names none.
func onVersion(action string, bucket, key, id *string) []authz.Access {
	if id == nil {
		return access(action, bucket, key)
	}
	all := access(strings.Replace(action, "Object", "ObjectVersion", 1), bucket, key)
	all[0].Context = keys{"s3:VersionId": {*id}}
	return all
}

// reading is access to what an object holds, which its tags may decide.
func reading(bucket, key, id *string, tags map[string]string) []authz.Access {
	all := onVersion("GetObject", bucket, key, id)
	for tag, value := range tags {
		if all[0].Context == nil {
			all[0].Context = keys{}
		}
		all[0].Context["s3:ExistingObjectTag/"+tag] = []string{value}
	}
	return all
}

// tags are those of an object that policies may ask about. What cannot be found
// has none, and the operation will say so; no policy narrows the root user.
func (s *Service) tags(c *wire.Call, bucket, key, id *string) (tags map[string]string) {
	if c.Principal.Type == authz.Root {
		return nil
	}
	_ = s.DB.View(func(tx *store.Tx) error {
		v, err := find(tx, *bucket, *key, id)
		tags = v.Tags
		return err
	})
	return tags
}

// A making is what a request that makes an object says of it.
type making struct {
	bucket, key, tagging, keyID, source *string
	acl                                 types.ObjectCannedACL
	encryption                          types.ServerSideEncryption
	class                               types.StorageClass
	directive                           types.MetadataDirective
	preconditions
}

// access is what makes an object, with tags and a canned ACL if it is given any.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
func (m making) access() []authz.Access {
	k := keys{}
	k.say("x-amz-acl", (*string)(&m.acl))
	k.say("x-amz-server-side-encryption", (*string)(&m.encryption))
	k.say("x-amz-server-side-encryption-aws-kms-key-id", m.keyID)
	k.say("x-amz-storage-class", (*string)(&m.class))
	k.say("x-amz-copy-source", m.source)
	k.say("x-amz-metadata-directive", (*string)(&m.directive))
	k.say("if-match", m.match)
	k.say("if-none-match", m.noneMatch)
	tags, _ := parseTags(m.tagging) // the operation refuses what cannot be read
	for tag, value := range tags {
		k["s3:RequestObjectTag/"+tag] = []string{value}
		k["s3:RequestObjectTagKeys"] = append(k["s3:RequestObjectTagKeys"], tag)
	}
	all := access("PutObject", m.bucket, m.key)
	if m.tagging != nil && *m.tagging != "" {
		all = append(all, access("PutObjectTagging", m.bucket, m.key)...)
	}
	if m.acl != "" {
		all = append(all, access("PutObjectAcl", m.bucket, m.key)...)
	}
	for i := range all {
		all[i].Context = k
	}
	return all
}

// listed is access to the names in a bucket.
func listed(action string, bucket, prefix, delimiter *string, most *int32) []authz.Access {
	k := keys{"s3:prefix": {""}}
	k.say("prefix", prefix)
	k.say("delimiter", delimiter)
	if most != nil {
		k["s3:max-keys"] = []string{strconv.Itoa(int(*most))}
	}
	all := access(action, bucket, nil)
	all[0].Context = k
	return all
}

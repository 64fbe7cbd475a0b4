package wire

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"miniforge/internal/cloud/authz"
)

// requestTags finds the tags that inputs of a type bring: a map, a list of
// structs with a key and a value, or, to take tags away, a list of keys. nil
// says that they bring none.
func requestTags(in reflect.Type) func(in reflect.Value) (tags map[string]string, keys []string) {
	for _, name := range []string{"Tags", "TagKeys"} {
		f, ok := in.FieldByName(name)
		switch {
		case !ok:
		case f.Type == reflect.TypeFor[map[string]string]():
			return func(in reflect.Value) (map[string]string, []string) {
				tags, _ := reflect.TypeAssert[map[string]string](in.FieldByIndex(f.Index))
				return tags, slices.Sorted(maps.Keys(tags))
			}
		case f.Type == reflect.TypeFor[[]string]():
			return func(in reflect.Value) (map[string]string, []string) {
				keys, _ := reflect.TypeAssert[[]string](in.FieldByIndex(f.Index))
				return nil, keys
			}
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			return func(in reflect.Value) (map[string]string, []string) { return listedTags(in.FieldByIndex(f.Index)) }
		}
	}
	return nil
}

func listedTags(list reflect.Value) (tags map[string]string, keys []string) {
	text := func(tag reflect.Value, names ...string) string {
		for _, n := range names {
			if f := tag.FieldByName(n); f.IsValid() {
				if s, ok := reflect.TypeAssert[*string](f); ok && s != nil {
					return *s
				}
			}
		}
		return ""
	}
	for i := range list.Len() {
		if tags == nil {
			tags = map[string]string{}
		}
		k := text(list.Index(i), "Key", "TagKey")
		tags[k] = text(list.Index(i), "Value", "TagValue")
		keys = append(keys, k)
	}
	return tags, keys
}

// withTags adds to accesses what a request's tags mean for them: condition
// keys and, where something is made with tags, the right to tag it.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html
func (o *operation) withTags(all []authz.Access, in any) []authz.Access {
	if o.tags == nil {
		return all
	}
	tags, keys := o.tags(reflect.ValueOf(in).Elem())
	if len(keys) == 0 {
		return all
	}
	if action := o.api.Service + ":" + o.api.TagAction; o.api.TagAction != "" && (strings.HasPrefix(o.name, "Create") || strings.HasPrefix(o.name, "Put")) && len(all) > 0 &&
		!slices.ContainsFunc(all, func(a authz.Access) bool { return a.Action == action }) {
		all = append(slices.Clip(all), authz.Access{Action: action, Resource: all[0].Resource, Context: all[0].Context})
	}
	for i := range all {
		if all[i].Context["aws:TagKeys"] != nil {
			continue // the service has its own
		}
		c := make(map[string][]string, len(all[i].Context)+len(tags)+1)
		maps.Copy(c, all[i].Context)
		c["aws:TagKeys"] = keys
		for k, v := range tags {
			c["aws:RequestTag/"+k] = []string{v}
		}
		all[i].Context = c
	}
	return all
}

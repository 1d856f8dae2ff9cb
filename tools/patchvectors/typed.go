package main

import (
	"encoding/json"
	"math/rand"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// typedVectors hold what structured-merge-diff says of pairs of objects:
//
//	["validate", object, error or ""]
//	["set", object, fields]
//	["compare", old, new, added, modified, removed]
//	["merge", live, config, result]
//	["remove", object, fields, result]
func typedVectors(r *rand.Rand) *out {
	o := &out{}
	parser, err := typed.NewParser(itemSchema)
	must(err)
	of := parser.Type("item")
	typedOf := func(tree object, options ...typed.ValidationOptions) (*typed.TypedValue, error) {
		return of.FromUnstructured(copyOf(tree), options...)
	}
	fields := func(set *fieldpath.Set) json.RawMessage {
		text, err := set.ToJSON()
		must(err)
		return text
	}
	for range 130 * scale {
		old, new := randomItem(r, 2, chance(r, 30)), object{}
		if chance(r, 60) {
			new = mutate(r, old)
		} else {
			new = randomItem(r, 2, chance(r, 30))
		}
		left, err := typedOf(old, typed.AllowDuplicates)
		must(err)
		right, err := typedOf(new, typed.AllowDuplicates)
		must(err)
		set, err := left.ToFieldSet()
		must(err)
		o.line("set", old, fields(set))
		difference, err := left.Compare(right)
		must(err)
		o.line("compare", old, new, fields(difference.Added), fields(difference.Modified), fields(difference.Removed))
		if strict, err := typedOf(new); err == nil {
			merged, err := left.Merge(strict)
			must(err)
			o.line("merge", old, new, merged.AsValue().Unstructured())
		}
		other, err := right.ToFieldSet()
		must(err)
		if chance(r, 50) {
			other = other.Leaves()
		}
		o.line("remove", old, fields(other), left.RemoveItems(other).AsValue().Unstructured())
	}
	for range 200 * scale {
		tree := randomItem(r, 2, false)
		spoil(r, tree)
		_, err := typedOf(tree)
		message := ""
		if err != nil {
			message = err.Error()
		}
		// Several problems come in no order.
		if !strings.HasPrefix(message, "errors:") {
			o.line("validate", tree, message)
		}
	}
	return o
}

func copyOf(value any) any {
	switch value := value.(type) {
	case object:
		result := object{}
		for key, one := range value {
			result[key] = copyOf(one)
		}
		return result
	case []any:
		result := []any{}
		for _, one := range value {
			result = append(result, copyOf(one))
		}
		return result
	default:
		return value
	}
}

// mutate changes a little here and there.
func mutate(r *rand.Rand, tree object) object {
	result := copyOf(tree).(object)
	fresh := randomItem(r, 2, false)
	for _, field := range sortedKeys(fresh) {
		if chance(r, 20) {
			result[field] = fresh[field]
		}
	}
	for _, field := range sortedKeys(result) {
		switch value := result[field].(type) {
		case object:
			if field == "raw" || field == "labels" || field == "atomicLabels" || field == "items" {
				continue
			}
			mutated := mutate(r, value)
			if name, found := value["name"]; found {
				mutated["name"] = name
			}
			result[field] = mutated
		case []any:
			if chance(r, 30) && len(value) > 0 {
				at := r.Intn(len(value))
				value = append(value[:at:at], value[at+1:]...)
			}
			if chance(r, 20) {
				r.Shuffle(len(value), func(i, j int) { value[i], value[j] = value[j], value[i] })
			}
			result[field] = value
		default:
			if field != "name" && field != "number" && field != "protocol" && chance(r, 30) {
				if chance(r, 40) {
					delete(result, field)
				} else if chance(r, 30) {
					result[field] = nil
				}
			}
		}
	}
	return result
}

// spoil puts something into the object that does not fit.
func spoil(r *rand.Rand, tree object) {
	fields := sortedKeys(tree)
	if len(fields) == 0 || chance(r, 40) {
		field := pick(r, "name", "number", "labels", "mergingList", "mergingNumbers", "pointer", "nothing", "raw", "atomic", "replacingList", "portList")
		tree[field] = pick[any](r, "text", int64(1), 1.5, true, nil, object{"a": int64(1)}, []any{"a"}, []any{object{"value": "x"}},
			[]any{object{"name": "a"}, object{"name": "a"}}, []any{int64(1), int64(1)}, []any{nil}, object{"name": int64(1)}, object{})
		return
	}
	switch value := tree[pick(r, fields...)].(type) {
	case object:
		spoil(r, value)
	case []any:
		if len(value) > 0 {
			if item, isObject := value[r.Intn(len(value))].(object); isObject {
				spoil(r, item)
			}
		}
	}
}

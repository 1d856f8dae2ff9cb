package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"
)

// strategicVectors: [type, current, patch, result or null, error or ""].
func strategicVectors(r *rand.Rand) *out {
	o := &out{}
	kinds := map[string]func() any{
		"test.Item":                     func() any { return &Item{} },
		"io.k8s.api.core.v1.Pod":        func() any { return &corev1.Pod{} },
		"io.k8s.api.apps.v1.Deployment": func() any { return &appsv1.Deployment{} },
		"io.k8s.api.core.v1.Service":    func() any { return &corev1.Service{} },
	}
	try := func(kind string, current object, patch any) {
		empty := kinds[kind]
		run := func() (result object, err error, panicked bool) {
			defer func() {
				if recover() != nil {
					panicked = true
				}
			}()
			original := typedTree(current, empty())
			patchMap := map[string]any{}
			text, e := json.Marshal(patch)
			must(e)
			must(kjson.UnmarshalCaseSensitivePreserveInts(text, &patchMap))
			result, err = strategicpatch.StrategicMergeMapPatch(original, patchMap, empty())
			return
		}
		first, err, panicked := run()
		// Go's maps have no order: only what always comes out is a vector.
		for range 12 {
			again, e, p := run()
			if p || panicked || fmt.Sprint(e) != fmt.Sprint(err) || !reflect.DeepEqual(first, again) {
				return
			}
		}
		if err != nil {
			o.line(kind, typedTree(current, empty()), patch, nil, err.Error())
			return
		}
		o.line(kind, typedTree(current, empty()), patch, first, "")
	}
	for range 350 * scale {
		current := randomItem(r, 2, false)
		try("test.Item", current, randomPatch(r, current, 2))
	}
	for range 80 * scale {
		current, modified := randomItem(r, 2, false), randomItem(r, 2, false)
		try("test.Item", current, twoWay(current, modified, &Item{}, &Item{}))
	}
	for range 20 * scale {
		for kind, random := range map[string]func(*rand.Rand) object{
			"io.k8s.api.core.v1.Pod":        randomPod,
			"io.k8s.api.apps.v1.Deployment": randomDeployment,
			"io.k8s.api.core.v1.Service":    randomService,
		} {
			current, modified := random(r), random(r)
			try(kind, current, twoWay(current, modified, kinds[kind](), kinds[kind]()))
		}
	}
	return o
}

func twoWay(current, modified object, a, b any) any {
	typedTree(current, a)
	typedTree(modified, b)
	before, err := json.Marshal(a)
	must(err)
	after, err := json.Marshal(b)
	must(err)
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, a)
	if err != nil {
		return object{} // there is no patch between these two
	}
	var tree any
	must(json.Unmarshal(patch, &tree))
	return tree
}

// randomPatch makes a patch that mostly fits the object, with directives here and there.
func randomPatch(r *rand.Rand, current object, depth int) object {
	patch := randomItem(r, depth, false)
	for field := range current {
		if chance(r, 12) {
			patch[field] = nil
		}
	}
	directives(r, patch, current)
	return patch
}

func directives(r *rand.Rand, patch, current object) {
	for _, field := range sortedKeys(patch) {
		below, _ := current[field].(object)
		switch value := patch[field].(type) {
		case object:
			directives(r, value, below)
		case []any:
			listDirectives(r, patch, field, value, current[field])
		}
	}
	if chance(r, 8) {
		keep := []any{}
		for field := range patch {
			if field[0] != '$' {
				keep = append(keep, field)
			}
		}
		if chance(r, 50) {
			keep = append(keep, "value", "name")
		}
		sortAny(keep)
		patch["$retainKeys"] = keep
	}
	if chance(r, 4) {
		patch["$patch"] = pick(r, "replace", "delete", "merge", "other")
	}
	if chance(r, 10) {
		patch["$deleteFromPrimitiveList/"+pick(r, "mergingNumbers", "replacingNumbers")] = distinct(r, false)
	}
}

func listDirectives(r *rand.Rand, patch object, field string, list []any, current any) {
	order := []any{}
	for _, item := range list {
		entry, isObject := item.(object)
		if !isObject {
			order = append(order, item)
			continue
		}
		directives(r, entry, object{})
		key := "name"
		if field == "portList" {
			key = "number"
		}
		if chance(r, 12) {
			entry["$patch"] = pick(r, "delete", "delete", "replace", "merge")
		} else if value, found := entry[key]; found {
			order = append(order, object{key: value})
		}
	}
	if !chance(r, 35) {
		return
	}
	if old, isList := current.([]any); isList && chance(r, 80) {
		for _, item := range old {
			if chance(r, 50) {
				continue
			}
			if entry, isObject := item.(object); isObject {
				key := "name"
				if field == "portList" {
					key = "number"
				}
				item = object{key: entry[key]}
			}
			known := false
			for _, one := range order {
				known = known || reflect.DeepEqual(one, item)
			}
			if !known {
				at := r.Intn(len(order) + 1)
				order = append(order[:at], append([]any{item}, order[at:]...)...)
			}
		}
	}
	patch["$setElementOrder/"+field] = order
}

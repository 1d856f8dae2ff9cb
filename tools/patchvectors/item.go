package main

import (
	"encoding/json"
	"math/rand"

	"k8s.io/apimachinery/pkg/runtime"
)

// Item has a field of each patch strategy and list type; crates/api/src/testing.rs has the same.
type Item struct {
	Name             string                `json:"name,omitempty"`
	Value            string                `json:"value,omitempty"`
	Number           int64                 `json:"number,omitempty"`
	Protocol         string                `json:"protocol,omitempty"`
	MergingList      []Item                `json:"mergingList,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	PortList         []Item                `json:"portList,omitempty" patchStrategy:"merge" patchMergeKey:"number"`
	ReplacingList    []Item                `json:"replacingList,omitempty"`
	KeylessList      []Item                `json:"keylessList,omitempty" patchStrategy:"merge"`
	MergingNumbers   []int64               `json:"mergingNumbers,omitempty" patchStrategy:"merge"`
	ReplacingNumbers []int64               `json:"replacingNumbers,omitempty"`
	Pointer          *Item                 `json:"pointer,omitempty"`
	Replaced         *Item                 `json:"replaced,omitempty" patchStrategy:"replace"`
	Atomic           *Item                 `json:"atomic,omitempty"`
	Retaining        *Item                 `json:"retaining,omitempty" patchStrategy:"retainKeys"`
	RetainingList    []Item                `json:"retainingList,omitempty" patchStrategy:"merge,retainKeys" patchMergeKey:"name"`
	Labels           map[string]string     `json:"labels,omitempty"`
	AtomicLabels     map[string]string     `json:"atomicLabels,omitempty"`
	Items            map[string]Item       `json:"items,omitempty"`
	Raw              *runtime.RawExtension `json:"raw,omitempty"`
}

// itemSchema is the same for structured-merge-diff.
const itemSchema = `types:
- name: item
  map:
    fields:
    - {name: name, type: {scalar: string}}
    - {name: value, type: {scalar: string}}
    - {name: number, type: {scalar: numeric}}
    - {name: protocol, type: {scalar: string}, default: TCP}
    - {name: mergingList, type: {list: {elementType: {namedType: item}, elementRelationship: associative, keys: [name]}}}
    - {name: portList, type: {list: {elementType: {namedType: item}, elementRelationship: associative, keys: [number, protocol]}}}
    - {name: replacingList, type: {list: {elementType: {namedType: item}, elementRelationship: atomic}}}
    - {name: keylessList, type: {list: {elementType: {namedType: item}, elementRelationship: atomic}}}
    - {name: mergingNumbers, type: {list: {elementType: {scalar: numeric}, elementRelationship: associative}}}
    - {name: replacingNumbers, type: {list: {elementType: {scalar: numeric}, elementRelationship: atomic}}}
    - {name: pointer, type: {namedType: item}}
    - {name: replaced, type: {namedType: item}}
    - {name: atomic, type: {namedType: item, elementRelationship: atomic}}
    - {name: retaining, type: {namedType: item}}
    - {name: retainingList, type: {list: {elementType: {namedType: item}, elementRelationship: associative, keys: [name]}}}
    - {name: labels, type: {map: {elementType: {scalar: string}}}}
    - {name: atomicLabels, type: {map: {elementType: {scalar: string}, elementRelationship: atomic}}}
    - {name: items, type: {map: {elementType: {namedType: item}}}}
    - {name: raw, type: {namedType: __untyped_atomic_}}
- name: __untyped_atomic_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
- name: __untyped_deduced_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_deduced_}, elementRelationship: separable}
`

type object = map[string]any

func pick[T any](r *rand.Rand, from ...T) T { return from[r.Intn(len(from))] }

func chance(r *rand.Rand, percent int) bool { return r.Intn(100) < percent }

// randomItem makes a valid object; lists have distinct keys unless duplicates are asked for.
func randomItem(r *rand.Rand, depth int, duplicates bool) object {
	item := object{}
	add := func(percent int, field string, value func() any) {
		if chance(r, percent) {
			item[field] = value()
		}
	}
	text := func() any { return pick(r, "1", "2", "x<y", "") }
	add(30, "value", text)
	add(20, "number", func() any { return int64(r.Intn(3)) })
	add(15, "protocol", func() any { return pick(r, "TCP", "UDP") })
	numbers := func() any { return distinct(r, duplicates) }
	add(20, "mergingNumbers", numbers)
	add(15, "replacingNumbers", numbers)
	labels := func() any {
		labels := object{}
		for range r.Intn(3) {
			labels[pick(r, "a", "b", "c")] = text()
		}
		return labels
	}
	add(20, "labels", labels)
	add(10, "atomicLabels", labels)
	if depth == 0 {
		return item
	}
	child := func() any { return randomItem(r, depth-1, duplicates) }
	for _, field := range []string{"pointer", "replaced", "atomic", "retaining"} {
		add(14, field, child)
	}
	add(10, "raw", func() any { return object{"a": text(), "b": object{"c": int64(1)}} })
	add(12, "items", func() any { return object{pick(r, "a", "b"): child()} })
	list := func(key string) func() any {
		return func() any { return randomList(r, depth, duplicates, key) }
	}
	add(35, "mergingList", list("name"))
	add(20, "retainingList", list("name"))
	add(20, "portList", list("number"))
	add(10, "replacingList", list("name"))
	return item
}

func distinct(r *rand.Rand, duplicates bool) []any {
	list := []any{}
	for _, n := range r.Perm(5)[:r.Intn(5)] {
		list = append(list, int64(n))
		if duplicates && chance(r, 15) {
			list = append(list, int64(n))
		}
	}
	return list
}

func randomList(r *rand.Rand, depth int, duplicates bool, key string) []any {
	list := []any{}
	for _, n := range r.Perm(5)[:r.Intn(5)] {
		one := func() {
			item := randomItem(r, depth-1, duplicates)
			if key == "name" {
				item["name"] = string(rune('a' + n))
			} else {
				item["number"] = int64(80 + n/2)
				delete(item, "protocol")
				if n%2 == 1 {
					item["protocol"] = "UDP"
				} else if chance(r, 50) {
					item["protocol"] = "TCP"
				}
			}
			list = append(list, item)
		}
		one()
		if duplicates && chance(r, 15) {
			one()
		}
	}
	return list
}

// typedTree is what the API server patches: the object once through its Go type.
func typedTree(value, into any) object {
	text, err := json.Marshal(value)
	must(err)
	must(json.Unmarshal(text, into))
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(into)
	must(err)
	return tree
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

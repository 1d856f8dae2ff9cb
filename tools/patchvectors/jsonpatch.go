package main

import (
	"encoding/json"
	"math/rand"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// jsonPatchVectors: ["json" or "merge", document, patch, result or null, error or ""].
func jsonPatchVectors(r *rand.Rand) *out {
	o := &out{}
	text := func(value any) []byte {
		text, err := json.Marshal(value)
		must(err)
		return text
	}
	for range 150 * scale {
		document, patch := randomTree(r, 3), randomTree(r, 3)
		result, err := jsonpatch.MergePatch(text(document), text(patch))
		if err != nil {
			o.line("merge", document, patch, nil, err.Error())
			continue
		}
		o.line("merge", document, patch, json.RawMessage(result), "")
	}
	for range 500 * scale {
		document := randomTree(r, 3)
		patch := []any{}
		for range 1 + r.Intn(3) {
			operation := object{"op": pick(r, "add", "add", "remove", "replace", "move", "copy", "test"), "path": randomPointer(r)}
			if chance(r, 90) {
				operation["value"] = randomTree(r, 1)
			}
			if chance(r, 90) {
				operation["from"] = randomPointer(r)
			}
			patch = append(patch, operation)
		}
		decoded, err := jsonpatch.DecodePatch(text(patch))
		must(err)
		result, err, panicked := apply(decoded, text(document))
		switch {
		case panicked:
		case err != nil:
			o.line("json", document, patch, nil, err.Error())
		default:
			o.line("json", document, patch, json.RawMessage(result), "")
		}
	}
	return o
}

func apply(patch jsonpatch.Patch, document []byte) (result []byte, err error, panicked bool) {
	defer func() {
		if recover() != nil {
			panicked = true
		}
	}()
	result, err = patch.Apply(document)
	return
}

func randomPointer(r *rand.Rand) string {
	path := ""
	for range r.Intn(4) {
		path += "/" + pick(r, "a", "b", "c", "0", "1", "-", "-1", "d~1e", "a")
	}
	return path
}

// randomTree is an object with few names.
func randomTree(r *rand.Rand, depth int) object {
	tree := object{}
	for range r.Intn(4) {
		tree[pick(r, "a", "b", "c", "d/e")] = randomValue(r, depth)
	}
	return tree
}

func randomValue(r *rand.Rand, depth int) any {
	switch n := r.Intn(10); {
	case n < 2 && depth > 0:
		return randomTree(r, depth-1)
	case n < 5 && depth > 0:
		list := []any{}
		for range r.Intn(3) {
			list = append(list, randomValue(r, depth-1))
		}
		return list
	case n < 6:
		return nil
	case n < 8:
		return int64(r.Intn(3))
	default:
		return pick(r, "x", "y")
	}
}

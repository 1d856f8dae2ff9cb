package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// now stands for the time of the step in the vectors.
const now = "2030-01-01T00:00:00Z"

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// managedVectors are steps in the lives of objects:
//
//	[operation, subresource, manager, force, live, sent, result or null, status or null]
//
// live is null before the object exists; operation is "update" or "apply"; a status is
// [code, reason, message, [[field, message], …]].
func managedVectors(r *rand.Rand, openapi string) *out {
	o := &out{}
	converter := typeConverter(openapi)
	kinds := []struct {
		gvk    schema.GroupVersionKind
		random func(*rand.Rand) object
	}{
		{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, randomDeployment},
		{schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, randomPod},
		{schema.GroupVersionKind{Version: "v1", Kind: "Service"}, randomService},
		{schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, randomConfigMap},
	}
	for n := range 44 * scale {
		kind := kinds[n%len(kinds)]
		managers := map[string]*managedfields.FieldManager{}
		for subresource, filter := range filters(kind.gvk.Kind) {
			version := fieldpath.APIVersion(kind.gvk.GroupVersion().String())
			manager, err := managedfields.NewDefaultFieldManager(converter, scheme.Scheme, scheme.Scheme, scheme.Scheme,
				kind.gvk, kind.gvk.GroupVersion(), subresource, map[fieldpath.APIVersion]fieldpath.Filter{version: filter})
			must(err)
			managers[subresource] = manager
		}
		live(r, o, kind.gvk, kind.random, managers)
	}
	return o
}

// filters are those of the kinds' strategies in pkg/registry.
func filters(kind string) map[string]fieldpath.Filter {
	without := func(paths ...fieldpath.Path) fieldpath.Filter {
		return fieldpath.NewExcludeSetFilter(fieldpath.NewSet(paths...))
	}
	path := fieldpath.MakePathOrDie
	switch kind {
	case "Pod":
		return map[string]fieldpath.Filter{
			"":       without(path("status")),
			"status": without(path("spec"), path("metadata", "deletionTimestamp"), path("metadata", "ownerReferences")),
			"resize": fieldpath.NewIncludeMatcherFilter(
				fieldpath.MakePrefixMatcherOrDie("spec", "containers", fieldpath.MatchAnyPathElement(), "resources"),
				fieldpath.MakePrefixMatcherOrDie("spec", "containers", fieldpath.MatchAnyPathElement(), "resizePolicy"),
				fieldpath.MakePrefixMatcherOrDie("spec", "initContainers", fieldpath.MatchAnyPathElement(), "resources"),
				fieldpath.MakePrefixMatcherOrDie("spec", "initContainers", fieldpath.MatchAnyPathElement(), "resizePolicy"),
			),
		}
	case "Deployment":
		return map[string]fieldpath.Filter{"": without(path("status")), "status": without(path("spec"), path("metadata", "labels"))}
	case "Service":
		return map[string]fieldpath.Filter{"": without(path("status")), "status": without(path("spec"))}
	default:
		return map[string]fieldpath.Filter{"": without(), "status": without()}
	}
}

func live(r *rand.Rand, o *out, gvk schema.GroupVersionKind, random func(*rand.Rand) object, managers map[string]*managedfields.FieldManager) {
	var current runtime.Object // nil before it is created
	configs := map[string]object{}
	steps := 6
	crowd := chance(r, 8)
	if crowd {
		steps = 16
	}
	for step := range steps {
		subresource := ""
		if current != nil && chance(r, 25) {
			subresource = pick(r, "status", "status", "resize")
			if managers[subresource] == nil {
				subresource = "status"
			}
		}
		var before any
		liveObject, err := scheme.Scheme.New(gvk)
		must(err)
		if current != nil {
			liveObject = current.DeepCopyObject()
			before = treeOf(current, gvk)
		}
		var result runtime.Object
		if !crowd && chance(r, 60) {
			manager := pick(r, "kubectl", "argo", "helm")
			config := random(r)
			if last, found := configs[manager]; found && chance(r, 75) {
				config = mutateConfig(r, last)
			}
			configs[manager] = config
			if chance(r, 10) {
				config["metadata"].(object)["creationTimestamp"] = nil
			}
			sent := copyOf(config).(object)
			if chance(r, 4) {
				spoilConfig(r, sent)
			}
			force := chance(r, 40)
			result, err = managers[subresource].Apply(liveObject, &unstructured.Unstructured{Object: copyOf(sent).(object)}, manager, force)
			record(o, "apply", subresource, manager, force, before, sent, result, err, gvk)
		} else {
			manager := pick(r, "kubectl-edit", "controller", "kubelet")
			if crowd {
				manager = fmt.Sprintf("m%d", step)
			}
			sent := random(r)
			if current != nil {
				tree := treeOf(current, gvk)
				if chance(r, 70) {
					sent = mutateObject(r, tree, random(r))
				} else {
					sent["metadata"].(object)["uid"] = "u"
					sent["metadata"].(object)["managedFields"] = tree["metadata"].(object)["managedFields"]
				}
				switch {
				case chance(r, 3):
					sent["metadata"].(object)["managedFields"] = []any{object{}}
				case chance(r, 3):
					delete(sent["metadata"].(object), "managedFields")
				}
				if chance(r, 8) {
					setLastApplied(sent, configs)
				}
				if crowd {
					// Each of a crowd owns something of its own, so that there come to be many.
					sent = tree
					annotations, _ := sent["metadata"].(object)["annotations"].(object)
					if annotations == nil {
						annotations = object{}
					}
					annotations[manager] = "1"
					sent["metadata"].(object)["annotations"] = annotations
				}
			}
			typed, e := scheme.Scheme.New(gvk)
			must(e)
			typedTree(sent, typed)
			typed.GetObjectKind().SetGroupVersionKind(gvk)
			normalized := treeOf(typed, gvk)
			result, err = managers[subresource].Update(liveObject, typed, manager)
			record(o, "update", subresource, manager, false, before, normalized, result, err, gvk)
		}
		if err != nil || result == nil {
			continue
		}
		// Every step gets a time of its own, so that the entries have one order.
		tree := treeOf(result, gvk)
		stamp(tree, fmt.Sprintf("2024-01-01T00:00:%02dZ", step))
		tree["metadata"].(object)["uid"] = "u"
		current, err = scheme.Scheme.New(gvk)
		must(err)
		typedTree(tree, current)
		current.GetObjectKind().SetGroupVersionKind(gvk)
	}
}

func record(o *out, operation, subresource, manager string, force bool, before any, sent object, result runtime.Object, err error, gvk schema.GroupVersionKind) {
	if err != nil {
		status := []any{500, "", err.Error(), []any{}}
		if known, is := err.(apierrors.APIStatus); is {
			causes := []any{}
			if known.Status().Details != nil {
				for _, cause := range known.Status().Details.Causes {
					causes = append(causes, []any{cause.Field, cause.Message})
				}
			}
			status = []any{known.Status().Code, known.Status().Reason, known.Status().Message, causes}
		}
		o.line(operation, subresource, manager, force, before, sent, nil, status)
		return
	}
	tree := treeOf(result, gvk)
	stamp(tree, now)
	o.line(operation, subresource, manager, force, before, sent, tree, nil)
}

// stamp gives the entries that were written just now a time.
func stamp(tree object, to string) {
	entries, _ := tree["metadata"].(object)["managedFields"].([]any)
	for _, entry := range entries {
		entry := entry.(object)
		if text, found := entry["time"].(string); found {
			at, err := time.Parse(time.RFC3339, text)
			must(err)
			if at.Year() > 2024 {
				entry["time"] = to
			}
		}
	}
}

func treeOf(value runtime.Object, gvk schema.GroupVersionKind) object {
	value = value.DeepCopyObject()
	value.GetObjectKind().SetGroupVersionKind(gvk)
	text, err := json.Marshal(value)
	must(err)
	tree := object{}
	must(json.Unmarshal(text, &tree))
	return tree
}

func setLastApplied(sent object, configs map[string]object) {
	config, found := configs["kubectl"]
	if !found {
		return
	}
	text, err := json.Marshal(config)
	must(err)
	metadata := sent["metadata"].(object)
	annotations, _ := metadata["annotations"].(object)
	if annotations == nil {
		annotations = object{}
	}
	annotations[lastApplied] = string(text)
	metadata["annotations"] = annotations
}

// mutateConfig drops and changes some fields of what was applied before.
func mutateConfig(r *rand.Rand, config object) object {
	result := copyOf(config).(object)
	thin(r, result["metadata"].(object), 10, map[string]bool{"name": true, "namespace": true})
	if spec, found := result["spec"].(object); found {
		thin(r, spec, 10, nil)
	}
	if data, found := result["data"].(object); found {
		thin(r, data, 30, nil)
	}
	return result
}

// thin removes fields and list items, and changes texts.
func thin(r *rand.Rand, tree object, percent int, keep map[string]bool) {
	for _, field := range sortedKeys(tree) {
		if keep[field] {
			continue
		}
		if chance(r, percent) && field != "name" && field != "containerPort" && field != "protocol" && field != "port" && field != "ip" && field != "topologyKey" && field != "whenUnsatisfiable" {
			delete(tree, field)
			continue
		}
		switch value := tree[field].(type) {
		case object:
			thin(r, value, percent, nil)
		case []any:
			if len(value) > 1 && chance(r, 2*percent) {
				value = value[1:]
				tree[field] = value
			}
			for _, item := range value {
				if item, isObject := item.(object); isObject {
					thin(r, item, percent, nil)
				}
			}
		}
	}
}

// mutateObject is an edited object: some of its parts come from another.
func mutateObject(r *rand.Rand, tree, other object) object {
	result := copyOf(tree).(object)
	for _, part := range []string{"metadata", "spec", "status", "data"} {
		from, found := other[part].(object)
		if !found || chance(r, 40) {
			continue
		}
		into, found := result[part].(object)
		if !found {
			result[part] = from
			continue
		}
		for _, field := range sortedKeys(from) {
			if chance(r, 40) {
				into[field] = from[field]
			}
		}
		for _, field := range sortedKeys(into) {
			if chance(r, 8) && field != "managedFields" && field != "name" && field != "uid" {
				delete(into, field)
			}
		}
	}
	return result
}

func spoilConfig(r *rand.Rand, config object) {
	switch r.Intn(5) {
	case 0:
		config["metadata"].(object)["managedFields"] = []any{}
	case 1:
		config["nothing"] = "x"
	case 2:
		config["apiVersion"] = "other/v2"
	case 3:
		config["metadata"].(object)["labels"] = object{"a": int64(1)}
	case 4:
		config["metadata"].(object)["finalizers"] = []any{"a", "a"}
	}
}

func typeConverter(dir string) managedfields.TypeConverter {
	models := map[string]*spec.Schema{}
	for _, name := range []string{"api__v1_openapi.json", "apis__apps__v1_openapi.json"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(err)
		document := struct {
			Components struct {
				Schemas map[string]*spec.Schema `json:"schemas"`
			} `json:"components"`
		}{}
		must(json.Unmarshal(text, &document))
		for model, of := range document.Components.Schemas {
			models[model] = of
		}
	}
	converter, err := managedfields.NewTypeConverter(models, false)
	must(err)
	log.Printf("%d models", len(models))
	return converter
}

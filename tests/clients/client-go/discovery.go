package main

import (
	"context"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	discoveryclient "k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/restmapper"

	"xebec/clients/steps"
)

// discovery: what is served, kinds to resources, and clients that know no types.
func discovery(ctx context.Context, c *cluster) {
	client := c.clients.Discovery()
	steps.Do("the server's version", func() error {
		version, err := client.ServerVersion()
		if err != nil {
			return err
		}
		return steps.Equal("major and minor", version.Major+"."+version.Minor, "1.37")
	})
	steps.Do("groups and resources, aggregated", func() error {
		groups, resources, err := client.ServerGroupsAndResources()
		if err != nil {
			return err
		}
		names := map[string]bool{}
		for _, list := range resources {
			for _, resource := range list.APIResources {
				names[list.GroupVersion+"/"+resource.Name] = true
			}
		}
		for _, name := range []string{"v1/pods", "v1/pods/exec", "apps/v1/deployments/scale", "batch/v1/cronjobs", "coordination.k8s.io/v1/leases"} {
			if !names[name] {
				return steps.Equal(name+" is served", false, true)
			}
		}
		return steps.Equal("more than 15 groups", len(groups) > 15, true)
	})
	steps.Do("preferred resources that can be listed and deleted", func() error {
		lists, err := client.ServerPreferredNamespacedResources()
		if err != nil {
			return err
		}
		able := discoveryclient.FilteredBy(discoveryclient.SupportsAllVerbs{Verbs: []string{"list", "delete", "watch"}}, lists)
		found, err := discoveryclient.GroupVersionResources(able)
		if err != nil {
			return err
		}
		_, has := found[schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}]
		return steps.Equal("statefulsets among them", has, true)
	})
	steps.Do("OpenAPI v3 paths", func() error {
		paths, err := client.OpenAPIV3().Paths()
		if err != nil {
			return err
		}
		document, err := paths["apis/apps/v1"].Schema("application/json")
		if err != nil {
			return err
		}
		return steps.Equal("it tells of Deployments", strings.Contains(string(document), "io.k8s.api.apps.v1.Deployment"), true)
	})

	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))
	steps.Do("a RESTMapper: kind to resource and back, short names", func() error {
		mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "networking.k8s.io", Kind: "NetworkPolicy"})
		if err != nil {
			return err
		}
		kind, err := mapper.KindFor(schema.GroupVersionResource{Resource: "ingresses"})
		if err != nil {
			return err
		}
		short, err := restmapper.NewShortcutExpander(mapper, client, nil).ResourceFor(schema.GroupVersionResource{Resource: "deploy"})
		if err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("resource", mapping.Resource.String(), "networking.k8s.io/v1, Resource=networkpolicies"),
			steps.Equal("scope", mapping.Scope.Name(), "namespace"),
			steps.Equal("kind", kind.String(), "networking.k8s.io/v1, Kind=Ingress"),
			steps.Equal("short name", short.String(), "apps/v1, Resource=deployments"),
		)
	})
	steps.Do("the dynamic client: create, patch, list, delete", func() error {
		client, err := dynamic.NewForConfig(c.config)
		if err != nil {
			return err
		}
		maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace)
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": "dynamic", "labels": map[string]any{"by": "dynamic"}},
			"data":     map[string]any{"a": "1"},
		}}
		if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return err
		}
		if _, err := maps.Patch(ctx, "dynamic", "application/merge-patch+json", []byte(`{"data":{"b":"2"}}`), metav1.PatchOptions{}); err != nil {
			return err
		}
		list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "by=dynamic"})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return steps.Equal("listed", len(list.Items), 1)
		}
		data, _, _ := unstructured.NestedStringMap(list.Items[0].Object, "data")
		return steps.Every(
			steps.Equal("a", data["a"], "1"), steps.Equal("b", data["b"], "2"),
			steps.Equal("kind of the list", list.GetKind(), "ConfigMapList"),
		)
	})
	steps.Do("the metadata client sees names and labels only", func() error {
		client, err := metadata.NewForConfig(c.config)
		if err != nil {
			return err
		}
		maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace)
		list, err := maps.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list.Items, func(item metav1.PartialObjectMetadata) bool { return item.Name == "dynamic" })
		if at < 0 {
			return steps.Equal("there", false, true)
		}
		return steps.Every(
			steps.Equal("label", list.Items[at].Labels["by"], "dynamic"),
			maps.Delete(ctx, "dynamic", metav1.DeleteOptions{}),
		)
	})
}

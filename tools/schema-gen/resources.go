package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// resourceList is a group version's discovery document.
type resourceList struct {
	Resources []struct {
		Name, SingularName, Kind, Group, Version, StorageVersionHash string
		Namespaced                                                   bool
		ShortNames, Categories, Verbs                                []string
	} `json:"resources"`
}

// aggregated is the discovery document that has all groups but the core one, in the order of preference.
type aggregated struct {
	Items []struct {
		Metadata struct{ Name string }
		Versions []struct{ Version string }
	}
}

// unstable tells versions that v1.37 serves only when asked to: of all alpha and beta versions none is on by default.
var unstable = regexp.MustCompile("alpha|beta")

// resourceTable has a line "group NAME VERSION..." a group ("-" is the core group), most preferred first; a line
// "resource NAME VERSION PLURAL SINGULAR KIND SCOPE [key=value ...]" a resource, in discovery's order; and below it
// "sub NAME KIND VERBS [GROUP/VERSION]" for each subresource (the kind's group version where it is not the resource's).
// SCOPE is namespaced or cluster; keys: short, categories, verbs, hash (storageVersionHash), key (the folder in
// etcd; none for what is not stored), stored (the group version that upstream stores, where it is another one).
func resourceTable(source string) string {
	discovery := filepath.Join(source, "api", "discovery")
	stored := readStorage(source)
	var text strings.Builder
	var all aggregated
	read(filepath.Join(discovery, "aggregated_v2.json"), &all)

	table := func(group string, versions []string) {
		name := group
		if group == "" {
			name = "-"
		}
		fmt.Fprintln(&text, "group", name, strings.Join(versions, " "))
		for _, version := range versions {
			file := "apis__" + group + "__" + version + ".json"
			if group == "" {
				file = "api__" + version + ".json"
			}
			var list resourceList
			read(filepath.Join(discovery, file), &list)
			for _, one := range list.Resources {
				parent, sub, isSub := strings.Cut(one.Name, "/")
				if isSub {
					fmt.Fprint(&text, "sub ", sub, " ", one.Kind, " ", strings.Join(one.Verbs, ","))
					if one.Version != "" {
						fmt.Fprint(&text, " ", groupVersion(one.Group, one.Version))
					}
					fmt.Fprintln(&text)
					continue
				}
				scope := "cluster"
				if one.Namespaced {
					scope = "namespaced"
				}
				fmt.Fprint(&text, "resource ", name, " ", version, " ", parent, " ", one.SingularName, " ", one.Kind, " ", scope)
				add := func(key, value string) {
					if value != "" {
						fmt.Fprint(&text, " ", key, "=", value)
					}
				}
				add("short", strings.Join(one.ShortNames, ","))
				add("categories", strings.Join(one.Categories, ","))
				add("verbs", strings.Join(one.Verbs, ","))
				add("hash", one.StorageVersionHash)
				where := stored[groupVersion(group, version)+" "+parent]
				add("key", where.folder)
				if where.version != groupVersion(group, version) {
					add("stored", where.version)
				}
				fmt.Fprintln(&text)
			}
		}
	}
	table("", []string{"v1"})
	for _, group := range all.Items {
		var versions []string
		for _, one := range group.Versions {
			if !unstable.MatchString(one.Version) {
				versions = append(versions, one.Version)
			}
		}
		if len(versions) > 0 {
			table(group.Metadata.Name, versions)
		}
	}
	return text.String()
}

func groupVersion(group, version string) string {
	if group == "" {
		return version
	}
	return group + "/" + version
}

// storage is where and as what a resource is stored.
type storage struct{ folder, version string }

var (
	storageEntry   = regexp.MustCompile(`gvr\("([^"]*)", "([^"]*)", "([^"]*)"\): \{`)
	storagePath    = regexp.MustCompile(`ExpectedEtcdPath:\s*"(/registry/[^"]*)"(\s*\+\s*namespace)?`)
	storageVersion = regexp.MustCompile(`ExpectedGVK:\s*gvkP\("([^"]*)", "([^"]*)"`)
)

// readStorage reads the data of upstream's own test of etcd paths, by "group/version resource".
func readStorage(source string) map[string]storage {
	text, err := os.ReadFile(filepath.Join(source, "test", "integration", "etcd", "data.go"))
	check(err)
	stored := map[string]storage{}
	entries := storageEntry.FindAllSubmatchIndex(text, -1)
	for i, entry := range entries {
		end := len(text)
		if i+1 < len(entries) {
			end = entries[i+1][0]
		}
		part := func(n int) string { return string(text[entry[2*n]:entry[2*n+1]]) }
		body := text[entry[1]:end]
		path := storagePath.FindSubmatch(body)
		if path == nil {
			log.Fatalf("no path for %s", part(3))
		}
		folder := string(path[1])
		if len(path[2]) == 0 {
			folder = folder[:strings.LastIndex(folder, "/")+1]
		}
		version := groupVersion(part(1), part(2))
		own := version
		if as := storageVersion.FindSubmatch(body); as != nil {
			version = groupVersion(string(as[1]), string(as[2]))
		}
		if key := own + " " + part(3); stored[key].folder == "" {
			stored[key] = storage{strings.TrimSuffix(folder, "/"), version}
		}
	}
	return stored
}

func read(file string, into any) {
	text, err := os.ReadFile(file)
	check(err)
	check(json.Unmarshal(text, into))
}

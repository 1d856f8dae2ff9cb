package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// openAPI has the published definitions by name.
type openAPI map[string]definition

type definition struct {
	MapType    string              `json:"x-kubernetes-map-type"`
	Required   []string            `json:"required"`
	Properties map[string]property `json:"properties"`
}

type property struct {
	ListType    string          `json:"x-kubernetes-list-type"`
	ListMapKeys []string        `json:"x-kubernetes-list-map-keys"`
	MapType     string          `json:"x-kubernetes-map-type"`
	Default     json.RawMessage `json:"default"`
}

// readOpenAPI reads the documents of version 3: unlike version 2's they have the defaults.
func readOpenAPI(source string) openAPI {
	files, err := filepath.Glob(filepath.Join(source, "api", "openapi-spec", "v3", "*.json"))
	check(err)
	all := openAPI{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		var document struct {
			Components struct {
				Schemas openAPI `json:"schemas"`
			} `json:"components"`
		}
		check(json.Unmarshal(text, &document))
		maps.Copy(all, document.Components.Schemas)
	}
	return all
}

// defaultText is the default as JSON, empty where it says no more than Go's zero value.
func (p property) defaultText(flags string) string {
	var compact bytes.Buffer
	if len(p.Default) > 0 {
		check(json.Compact(&compact, p.Default))
	}
	text := compact.String()
	switch text {
	case "", "{}":
		return ""
	case `""`, "0", "false":
		if !strings.Contains(flags, "p") {
			return ""
		}
	}
	return text
}

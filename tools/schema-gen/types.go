package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log"
	"reflect"
	"sort"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// leaves are the types that are no plain structs, maps, slices or scalars, by the shape's name in the table.
var leaves = map[reflect.Type]string{
	reflect.TypeOf(metav1.Time{}):                                  "time",
	reflect.TypeOf(metav1.MicroTime{}):                             "microtime",
	reflect.TypeOf(resource.Quantity{}):                            "quantity",
	reflect.TypeOf(intstr.IntOrString{}):                           "intorstring",
	reflect.TypeOf(runtime.RawExtension{}):                         "rawextension",
	reflect.TypeOf(metav1.FieldsV1{}):                              "fieldsv1",
	reflect.TypeOf(apiextensionsv1.JSON{}):                         "json",
	reflect.TypeOf(apiextensionsv1.JSONSchemaPropsOrArray{}):       "schemaorarray",
	reflect.TypeOf(apiextensionsv1.JSONSchemaPropsOrBool{}):        "schemaorbool",
	reflect.TypeOf(apiextensionsv1.JSONSchemaPropsOrStringArray{}): "schemaorstrings",
	reflect.TypeOf([]byte(nil)):                                    "bytes",
	reflect.TypeOf((*any)(nil)).Elem():                             "json",
	reflect.TypeOf((*runtime.Object)(nil)).Elem():                  "rawextension",
}

var (
	jsonMarshaler = reflect.TypeOf((*json.Marshaler)(nil)).Elem()
	textMarshaler = reflect.TypeOf((*encoding.TextMarshaler)(nil)).Elem()
	// protoMessage is what generated.pb.go gives every message.
	protoMessage = reflect.TypeOf((*interface{ MarshalToSizedBuffer([]byte) (int, error) })(nil)).Elem()
)

// types are all struct types reachable from the registered kinds, by model name.
type types struct {
	openapi openAPI
	structs map[string]reflect.Type
}

func collect(kinds []kind, openapi openAPI) *types {
	all := &types{openapi, map[string]reflect.Type{}}
	for _, one := range kinds {
		all.shape(one.goType)
	}
	return all
}

// table has, for each struct, a line "struct NAME [atomic]" and below it a line a field:
//
//	name shape flags number [key=value ...]
//
// shape: bool int32 int64 float64 string bytes time microtime quantity intorstring rawextension fieldsv1
// json schemaorarray schemaorbool schemaorstrings, a struct's name, "[]SHAPE" or "{}SHAPE" (a map).
// flags: p pointer, e omitempty, z omitzero, r required, k patchStrategy retainKeys, x patchStrategy replace,
// w list wrapped into a message; "-" for none.
// number: in protobuf, "0" for none; "2.5": number 5 in the embedded struct that is number 2.
// keys: list=set, list=KEY,KEY (map list), patch=merge, patch=merge:KEY, map=atomic, map=granular (a struct's or map's
// own word about apply), in=NAME.NAME (the embedded structs it comes from), go=TYPE (the Go type, where the shape does not tell it), default=JSON.
func (t *types) table() string {
	names := make([]string, 0, len(t.structs))
	for name := range t.structs {
		names = append(names, name)
	}
	sort.Strings(names)
	var text strings.Builder
	for _, name := range names {
		definition := t.openapi[name]
		fmt.Fprint(&text, "struct ", name)
		if definition.MapType == "atomic" {
			fmt.Fprint(&text, " atomic")
		}
		fmt.Fprintln(&text)
		for _, line := range t.fields(t.structs[name], definition, "", "") {
			fmt.Fprintln(&text, line)
		}
	}
	return text.String()
}

// noMessage stands for an embedded struct that protobuf leaves out (TypeMeta).
const noMessage = "none"

// fields gives the lines of a struct's fields, those of embedded structs in their place.
// via has the protobuf numbers of the embedded structs they are in, each followed by a dot; embedded their names.
func (t *types) fields(structType reflect.Type, definition definition, via, embedded string) []string {
	var lines []string
	for i := range structType.NumField() {
		field := structType.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		number := protobufNumber(field)
		switch {
		case name == "-" || field.PkgPath != "" && !field.Anonymous:
			continue
		case field.Anonymous && name == "":
			inner := noMessage
			if number != "0" && via != noMessage {
				inner = via + number + "."
			}
			within := strings.TrimPrefix(embedded+"."+field.Name, ".")
			lines = append(lines, t.fields(field.Type, definition, inner, within)...)
		case name == "":
			log.Fatalf("%v.%s has no JSON name", structType, field.Name)
		default:
			if via == noMessage {
				number = "0"
			} else {
				number = via + number
			}
			lines = append(lines, t.field(field, name, options, number, embedded, definition))
		}
	}
	return lines
}

func (t *types) field(field reflect.StructField, name, options, number, embedded string, definition definition) string {
	goType := field.Type
	flags := ""
	if goType.Kind() == reflect.Pointer {
		flags += "p"
		goType = goType.Elem()
	}
	if goType.Kind() == reflect.Pointer {
		log.Fatalf("%s: pointer to pointer", field.Name)
	}
	has := func(option string) bool { return strings.Contains(","+options+",", ","+option+",") }
	if has("omitzero") {
		flags += "z"
	} else if has("omitempty") {
		flags += "e"
	}
	for _, required := range definition.Required {
		if required == name {
			flags += "r"
		}
	}

	var extra []string
	if embedded != "" {
		extra = append(extra, "in="+embedded)
	}
	property := definition.Properties[name]
	isList := goType.Kind() == reflect.Slice && leaves[goType] == ""
	patch := field.Tag.Get("patchStrategy")
	for _, strategy := range strings.Split(patch, ",") {
		switch {
		case strategy == "retainKeys":
			flags += "k"
		case strategy == "replace" && !isList:
			flags += "x"
		case strategy == "merge" && isList:
			key := field.Tag.Get("patchMergeKey")
			if key != "" {
				extra = append(extra, "patch=merge:"+key)
			} else {
				extra = append(extra, "patch=merge")
			}
		case strategy != "" && strategy != "replace":
			log.Fatalf("%s: patch strategy %q on a %v", name, strategy, goType)
		}
	}
	if isList && reflect.PointerTo(goType).Implements(protoMessage) {
		flags += "w"
	}
	if isList {
		switch property.ListType {
		case "set":
			extra = append(extra, "list=set")
		case "map":
			extra = append(extra, "list="+strings.Join(property.ListMapKeys, ","))
		}
	} else if property.MapType != "" {
		extra = append(extra, "map="+property.MapType)
	}
	if told := typeName(goType); told != "" {
		extra = append(extra, "go="+told)
	}
	if text := property.defaultText(flags); text != "" {
		extra = append(extra, "default="+text)
	}
	if flags == "" {
		flags = "-"
	}
	return strings.Join(append([]string{name, t.shape(goType), flags, number}, extra...), " ")
}

// shape names the shape of a type and remembers the structs in it.
func (t *types) shape(goType reflect.Type) string {
	if leaf := leaves[goType]; leaf != "" {
		return leaf
	}
	if goType.Kind() != reflect.Struct || goType.NumField() == 0 || !goType.Field(0).Anonymous {
		for _, custom := range []reflect.Type{jsonMarshaler, textMarshaler} {
			if goType.Implements(custom) || reflect.PointerTo(goType).Implements(custom) {
				log.Fatalf("%v encodes itself", goType)
			}
		}
	}
	switch goType.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Int32:
		return "int32"
	case reflect.Int64, reflect.Int:
		return "int64"
	case reflect.Float64:
		return "float64"
	case reflect.String:
		return "string"
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + t.shape(goType.Elem())
	case reflect.Map:
		if goType.Key().Kind() != reflect.String {
			log.Fatalf("%v has keys that are no strings", goType)
		}
		return "{}" + t.shape(goType.Elem())
	case reflect.Struct:
		name := modelName(goType)
		if known, found := t.structs[name]; found && known != goType {
			log.Fatalf("%s is both %v and %v", name, known, goType)
		} else if !found {
			t.structs[name] = goType
			t.visit(goType)
		}
		return name
	}
	log.Fatalf("no shape for %v", goType)
	return ""
}

// visit collects what a struct refers to.
func (t *types) visit(structType reflect.Type) {
	for i := range structType.NumField() {
		field := structType.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		goType := field.Type
		if goType.Kind() == reflect.Pointer {
			goType = goType.Elem()
		}
		switch {
		case name == "-" || field.PkgPath != "" && !field.Anonymous:
		case field.Anonymous && name == "":
			t.visit(goType)
		default:
			t.shape(goType)
		}
	}
}

// modelName is OpenAPI's name of a type.
func modelName(goType reflect.Type) string {
	if named, ok := reflect.Zero(goType).Interface().(interface{ OpenAPIModelName() string }); ok {
		// A type that embeds another one inherits its name.
		if name := named.OpenAPIModelName(); strings.HasSuffix(name, "."+goType.Name()) {
			return name
		}
	}
	log.Fatalf("%v has no model name", goType)
	return ""
}

// typeName is the Go type where its scalars have names of their own.
func typeName(goType reflect.Type) string {
	inner := goType
	for leaves[inner] == "" && inner.PkgPath() == "" && (inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map) {
		inner = inner.Elem()
	}
	named := inner.PkgPath() != "" && inner.Kind() != reflect.Struct || goType.Kind() == reflect.Map && goType.Key().PkgPath() != ""
	if !named {
		return ""
	}
	return goType.String()
}

func protobufNumber(field reflect.StructField) string {
	parts := strings.Split(field.Tag.Get("protobuf"), ",")
	if len(parts) < 2 {
		return "0"
	}
	if _, err := strconv.Atoi(parts[1]); err != nil {
		log.Fatalf("%s: protobuf tag %q", field.Name, field.Tag.Get("protobuf"))
	}
	return parts[1]
}

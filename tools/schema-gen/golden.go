package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/framer"
)

// depthMax bounds how deep pointers are filled: JSON schemas hold themselves.
const depthMax = 7

// writeGolden writes what upstream's own golden files lack: every kind empty ("zero"), and every kind with all
// pointers, lists and maps there but all values in them zero ("sparse"); lists among them. And frames of a watch.
func writeGolden(folder string, kinds []kind) {
	for _, one := range kinds {
		group, version := one.group, one.version
		if group == everyGroup {
			group, version = "", "v1"
		}
		for variant, fill := range map[string]bool{"zero": false, "sparse": true} {
			object := reflect.New(one.goType)
			if fill {
				sparse(object.Elem(), 0)
			}
			writeObject(filepath.Join(folder, variant), one.name, group, version, object.Interface())
		}
	}
	writeFrames(filepath.Join(folder, "watch"))
}

func writeObject(folder, name, group, version string, object any) {
	runtimeObject, ok := object.(runtime.Object)
	if !ok {
		return
	}
	gvk := metav1.SchemeGroupVersion.WithKind(name)
	gvk.Group, gvk.Version = group, version
	runtimeObject.GetObjectKind().SetGroupVersionKind(gvk)
	file := name
	if group == "" {
		file = "core." + version + "." + name
	} else {
		file = group + "." + version + "." + name
	}
	check(os.MkdirAll(folder, 0o755))
	text, err := json.Marshal(object)
	check(err)
	check(os.WriteFile(filepath.Join(folder, file+".json"), text, 0o644))
	if _, ok := object.(runtime.ProtobufMarshaller); ok {
		check(os.WriteFile(filepath.Join(folder, file+".pb"), encoded(runtimeObject), 0o644))
	}
}

func encoded(object runtime.Object) []byte {
	var buffer bytes.Buffer
	check(protobuf.NewSerializer(nil, nil).Encode(object, &buffer))
	return buffer.Bytes()
}

// sparse fills pointers, lists and maps with zero values. Types that read their own JSON get what they read back.
func sparse(value reflect.Value, depth int) {
	switch held := value.Addr().Interface().(type) {
	case *metav1.Time:
		held.Time = time.Unix(1, 0)
		return
	case *metav1.MicroTime:
		held.Time = time.Unix(1, 5000)
		return
	case *metav1.FieldsV1:
		held.SetRawString("{}")
		return
	case *apiextensionsv1.JSON:
		held.Raw = []byte("{}")
		return
	case *runtime.RawExtension:
		held.Raw = []byte(`{"a":1}`)
		return
	case *apiextensionsv1.JSONSchemaPropsOrArray:
		held.JSONSchemas = []apiextensionsv1.JSONSchemaProps{{}}
		return
	case *apiextensionsv1.JSONSchemaPropsOrBool:
		held.Allows, held.Schema = true, &apiextensionsv1.JSONSchemaProps{}
		return
	case *apiextensionsv1.JSONSchemaPropsOrStringArray:
		held.Property = []string{""}
		return
	}
	if leaves[value.Type()] != "" {
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			if field := value.Field(i); field.CanSet() && !strings.HasPrefix(value.Type().Field(i).Tag.Get("json"), "-") {
				sparse(field, depth)
			}
		}
	case reflect.Pointer:
		if depth < depthMax {
			value.Set(reflect.New(value.Type().Elem()))
			sparse(value.Elem(), depth+1)
		}
	case reflect.Slice:
		if value.Type().Elem().Kind() != reflect.Uint8 && depth < depthMax {
			value.Set(reflect.MakeSlice(value.Type(), 1, 1))
			sparse(value.Index(0), depth+1)
		}
	case reflect.Map:
		if depth < depthMax {
			inner := reflect.New(value.Type().Elem()).Elem()
			sparse(inner, depth+1)
			value.Set(reflect.MakeMap(value.Type()))
			value.SetMapIndex(reflect.Zero(value.Type().Key()), inner)
		}
	}
}

// writeFrames writes a watch of config maps in both encodings.
func writeFrames(folder string) {
	check(os.MkdirAll(folder, 0o755))
	var binary, text bytes.Buffer
	frames := framer.NewLengthDelimitedFrameWriter(&binary)
	for _, event := range []string{"ADDED", "MODIFIED", "DELETED", "BOOKMARK"} {
		object := &corev1.ConfigMap{}
		object.Kind, object.APIVersion = "ConfigMap", "v1"
		object.Name, object.ResourceVersion = "settings", "7"
		if event != "BOOKMARK" {
			object.Data = map[string]string{"long": strings.Repeat("x<y", 100), "a": "b"}
		}
		raw := encoded(object)
		var message bytes.Buffer
		watchEvent := &metav1.WatchEvent{Type: event, Object: runtime.RawExtension{Raw: raw}}
		check(protobuf.NewRawSerializer(nil, nil).Encode(watchEvent, &message))
		_, err := frames.Write(message.Bytes())
		check(err)
		objectText, err := json.Marshal(object)
		check(err)
		check(json.NewEncoder(&text).Encode(&metav1.WatchEvent{Type: event, Object: runtime.RawExtension{Raw: objectText}}))
	}
	check(os.WriteFile(filepath.Join(folder, "configmaps.pb"), binary.Bytes(), 0o644))
	check(os.WriteFile(filepath.Join(folder, "configmaps.json"), text.Bytes(), 0o644))
}

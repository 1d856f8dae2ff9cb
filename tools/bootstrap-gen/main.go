// bootstrap-gen prints what upstream's kube-apiserver creates after its start, as compact JSON:
// RBAC roles and bindings, system priority classes, flow control. One object a line, so that a
// new upstream version gives a readable diff.
//
//	cd tools/bootstrap-gen && go run . ../../crates/apiserver/tables
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"sort"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	flowcontrol "k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	flowcontroldefaults "k8s.io/kubernetes/pkg/apis/flowcontrol/v1"
	scheduling "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	_ "k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// table is one file: objects in the order in which they are created.
type table struct{ lines [][]byte }

func (t *table) add(gv schema.GroupVersion, kind string, object runtime.Object) {
	object.GetObjectKind().SetGroupVersionKind(gv.WithKind(kind))
	line, err := json.Marshal(object)
	if err != nil {
		log.Fatal(err)
	}
	t.lines = append(t.lines, line)
}

func (t *table) write(path string) {
	if err := os.WriteFile(path, append(bytes.Join(t.lines, []byte("\n")), '\n'), 0o644); err != nil {
		log.Fatal(err)
	}
}

func rbac() *table {
	t := &table{}
	gv := rbacv1.SchemeGroupVersion
	for _, role := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		t.add(gv, "ClusterRole", &role)
	}
	for _, binding := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		t.add(gv, "ClusterRoleBinding", &binding)
	}
	roles := bootstrappolicy.NamespaceRoles()
	for _, namespace := range sorted(roles) {
		for _, role := range roles[namespace] {
			t.add(gv, "Role", &role)
		}
	}
	bindings := bootstrappolicy.NamespaceRoleBindings()
	for _, namespace := range sorted(bindings) {
		for _, binding := range bindings[namespace] {
			t.add(gv, "RoleBinding", &binding)
		}
	}
	return t
}

func sorted[T any](byNamespace map[string]T) []string {
	var names []string
	for name := range byNamespace {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// nodeRules are the rules that the Node authorizer applies to what it doesn't subdivide.
func nodeRules() *table {
	t := &table{}
	t.add(rbacv1.SchemeGroupVersion, "ClusterRole", &rbacv1.ClusterRole{Rules: bootstrappolicy.NodeRules()})
	return t
}

func priorityClasses() *table {
	t := &table{}
	for _, class := range scheduling.SystemPriorityClasses() {
		scheduling.SetDefaults_PriorityClass(class)
		t.add(schedulingv1.SchemeGroupVersion, "PriorityClass", class)
	}
	return t
}

func flow() *table {
	t := &table{}
	gv := flowcontrolv1.SchemeGroupVersion
	for _, level := range append(flowcontrol.MandatoryPriorityLevelConfigurations, flowcontrol.SuggestedPriorityLevelConfigurations...) {
		level = level.DeepCopy()
		flowcontroldefaults.SetObjectDefaults_PriorityLevelConfiguration(level)
		t.add(gv, "PriorityLevelConfiguration", level)
	}
	for _, one := range append(flowcontrol.MandatoryFlowSchemas, flowcontrol.SuggestedFlowSchemas...) {
		one = one.DeepCopy()
		flowcontroldefaults.SetObjectDefaults_FlowSchema(one)
		t.add(gv, "FlowSchema", one)
	}
	return t
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: bootstrap-gen DIRECTORY")
	}
	for name, t := range map[string]*table{
		"bootstrap-rbac.jsonl":             rbac(),
		"bootstrap-node-rules.jsonl":       nodeRules(),
		"bootstrap-priority-classes.jsonl": priorityClasses(),
		"bootstrap-flowcontrol.jsonl":      flow(),
	} {
		t.write(filepath.Join(os.Args[1], name))
	}
}

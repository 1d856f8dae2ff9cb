package main

import (
	"fmt"
	"math/rand"
	"sort"
)

func sortedKeys(tree object) []string {
	keys := []string{}
	for key := range tree {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func sortAny(list []any) {
	sort.Slice(list, func(i, j int) bool { return fmt.Sprint(list[i]) < fmt.Sprint(list[j]) })
}

func randomMeta(r *rand.Rand) object {
	meta := object{"name": "x", "namespace": "default"}
	if chance(r, 60) {
		meta["labels"] = randomStrings(r)
	}
	if chance(r, 40) {
		meta["annotations"] = randomStrings(r)
	}
	if chance(r, 20) {
		list := []any{}
		for _, n := range r.Perm(3)[:1+r.Intn(2)] {
			list = append(list, pick(r, "x/a", "x/b", "x/c")+fmt.Sprint(n))
		}
		meta["finalizers"] = list
	}
	if chance(r, 15) {
		meta["ownerReferences"] = []any{object{"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": pick(r, "1", "2")}}
	}
	return meta
}

func randomStrings(r *rand.Rand) object {
	strings := object{}
	for _, n := range r.Perm(4)[:1+r.Intn(3)] {
		strings[[]string{"app", "tier", "example.com/a", "b"}[n]] = pick(r, "1", "2", "<x>")
	}
	return strings
}

func maybe(r *rand.Rand, percent int, in object, field string, value func() any) {
	if chance(r, percent) {
		in[field] = value()
	}
}

func randomContainer(r *rand.Rand, name string) object {
	container := object{"name": name, "image": pick(r, "nginx:1", "nginx:2", "busybox")}
	maybe(r, 40, container, "env", func() any {
		env := []any{}
		for _, n := range r.Perm(4)[:1+r.Intn(3)] {
			variable := object{"name": fmt.Sprintf("V%d", n)}
			if chance(r, 70) {
				variable["value"] = pick(r, "1", "2")
			} else {
				variable["valueFrom"] = object{"configMapKeyRef": object{"name": "cm", "key": pick(r, "a", "b")}}
			}
			env = append(env, variable)
		}
		return env
	})
	maybe(r, 40, container, "ports", func() any {
		ports := []any{}
		for _, n := range r.Perm(4)[:1+r.Intn(3)] {
			port := object{"containerPort": int64(80 + n/2), "protocol": []string{"TCP", "UDP"}[n%2]}
			if chance(r, 50) {
				port["name"] = fmt.Sprintf("p%d", n)
			}
			ports = append(ports, port)
		}
		return ports
	})
	maybe(r, 40, container, "resources", func() any {
		return object{"limits": object{"cpu": pick(r, "1", "100m"), "memory": pick(r, "1Gi", "64Mi")}}
	})
	maybe(r, 30, container, "args", func() any { return []any{pick(r, "a", "b"), "c"} })
	maybe(r, 30, container, "volumeMounts", func() any {
		return []any{object{"name": "v0", "mountPath": pick(r, "/a", "/b")}}
	})
	maybe(r, 30, container, "livenessProbe", func() any {
		return object{"httpGet": object{"path": "/", "port": pick[any](r, int64(80), "http")}, "periodSeconds": int64(1 + r.Intn(3))}
	})
	maybe(r, 20, container, "securityContext", func() any {
		return object{"runAsUser": int64(r.Intn(3)), "capabilities": object{"add": []any{pick(r, "NET_ADMIN", "SYS_TIME")}}}
	})
	return container
}

func randomPodSpec(r *rand.Rand) object {
	spec := object{}
	containers := []any{}
	for _, n := range r.Perm(3)[:1+r.Intn(2)] {
		containers = append(containers, randomContainer(r, string(rune('a'+n))))
	}
	spec["containers"] = containers
	maybe(r, 20, spec, "initContainers", func() any { return []any{randomContainer(r, "init")} })
	maybe(r, 40, spec, "volumes", func() any {
		volumes := []any{}
		for _, n := range r.Perm(3)[:1+r.Intn(2)] {
			volume := object{"name": fmt.Sprintf("v%d", n)}
			switch r.Intn(3) {
			case 0:
				volume["emptyDir"] = object{}
			case 1:
				volume["configMap"] = object{"name": pick(r, "a", "b")}
			default:
				volume["hostPath"] = object{"path": "/x"}
			}
			volumes = append(volumes, volume)
		}
		return volumes
	})
	maybe(r, 30, spec, "nodeSelector", func() any { return object{pick(r, "a", "b"): "1"} })
	maybe(r, 30, spec, "tolerations", func() any { return []any{object{"key": pick(r, "a", "b"), "operator": "Exists"}} })
	maybe(r, 30, spec, "securityContext", func() any {
		if chance(r, 50) {
			return object{}
		}
		return object{"fsGroup": int64(r.Intn(3))}
	})
	maybe(r, 20, spec, "imagePullSecrets", func() any { return []any{object{"name": pick(r, "s", "t")}} })
	maybe(r, 20, spec, "hostAliases", func() any { return []any{object{"ip": pick(r, "1.1.1.1", "1.1.1.2"), "hostnames": []any{"a"}}} })
	maybe(r, 20, spec, "topologySpreadConstraints", func() any {
		return []any{object{"maxSkew": int64(1 + r.Intn(2)), "topologyKey": pick(r, "zone", "host"), "whenUnsatisfiable": "DoNotSchedule"}}
	})
	maybe(r, 30, spec, "restartPolicy", func() any { return pick(r, "Always", "Never") })
	maybe(r, 30, spec, "terminationGracePeriodSeconds", func() any { return int64(r.Intn(3)) })
	return spec
}

func randomPod(r *rand.Rand) object {
	pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": randomMeta(r), "spec": randomPodSpec(r)}
	maybe(r, 60, pod, "status", func() any {
		status := object{"phase": pick(r, "Pending", "Running")}
		maybe(r, 60, status, "conditions", func() any {
			conditions := []any{}
			for _, n := range r.Perm(3)[:1+r.Intn(2)] {
				conditions = append(conditions, object{"type": []string{"Ready", "Initialized", "PodScheduled"}[n], "status": pick(r, "True", "False")})
			}
			return conditions
		})
		maybe(r, 40, status, "podIPs", func() any { return []any{object{"ip": pick(r, "10.0.0.1", "10.0.0.2")}} })
		maybe(r, 40, status, "containerStatuses", func() any {
			return []any{object{"name": "a", "ready": chance(r, 50), "restartCount": int64(r.Intn(2)), "image": "nginx", "imageID": ""}}
		})
		return status
	})
	return pod
}

func randomDeployment(r *rand.Rand) object {
	spec := object{
		"selector": object{"matchLabels": randomStrings(r)},
		"template": object{"metadata": object{"labels": randomStrings(r)}, "spec": randomPodSpec(r)},
	}
	maybe(r, 60, spec, "replicas", func() any { return int64(r.Intn(4)) })
	maybe(r, 50, spec, "strategy", func() any {
		if chance(r, 40) {
			return object{"type": "Recreate"}
		}
		return object{"type": "RollingUpdate", "rollingUpdate": object{"maxSurge": pick[any](r, int64(1), "25%")}}
	})
	deployment := object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": randomMeta(r), "spec": spec}
	maybe(r, 40, deployment, "status", func() any {
		return object{"replicas": int64(1 + r.Intn(3)), "conditions": []any{object{"type": pick(r, "Available", "Progressing"), "status": "True"}}}
	})
	return deployment
}

func randomService(r *rand.Rand) object {
	spec := object{}
	ports := []any{}
	for _, n := range r.Perm(4)[:1+r.Intn(3)] {
		port := object{"port": int64(80 + n/2), "protocol": []string{"TCP", "UDP"}[n%2], "targetPort": pick[any](r, int64(80), "http")}
		if chance(r, 60) {
			port["name"] = fmt.Sprintf("p%d", n)
		}
		ports = append(ports, port)
	}
	spec["ports"] = ports
	maybe(r, 60, spec, "selector", func() any { return randomStrings(r) })
	maybe(r, 40, spec, "type", func() any { return pick(r, "ClusterIP", "NodePort") })
	maybe(r, 40, spec, "externalIPs", func() any { return []any{pick(r, "1.1.1.1", "2.2.2.2")} })
	maybe(r, 20, spec, "sessionAffinityConfig", func() any { return object{"clientIP": object{"timeoutSeconds": int64(r.Intn(3))}} })
	return object{"apiVersion": "v1", "kind": "Service", "metadata": randomMeta(r), "spec": spec}
}

func randomConfigMap(r *rand.Rand) object {
	configMap := object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": randomMeta(r)}
	maybe(r, 90, configMap, "data", func() any { return randomStrings(r) })
	maybe(r, 20, configMap, "immutable", func() any { return chance(r, 50) })
	return configMap
}

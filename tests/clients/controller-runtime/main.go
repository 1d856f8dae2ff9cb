// The controller-runtime client: envtest starts Xebec where it expects kube-apiserver, on an etcd and on the embedded
// store, and a manager with a reconciler works against it. ASSETS is the directory of kube-apiserver, etcd and kubectl.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"xebec/clients/steps"
)

const namespace = "default"

func main() {
	ctrl.SetLogger(logr.Discard())
	for _, store := range []string{"etcd", "embedded"} {
		on(store)
	}
	steps.End()
}

// suite is one control plane and what the steps know of it.
type suite struct {
	store string
	env   *envtest.Environment
	// direct asks the server; what managers read comes from their caches.
	direct client.Client
}

func on(store string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s := &suite{store: store}
	do := func(name string, step func() error) { steps.Do("on "+store+": "+name, step) }
	steps.OnFault = func() { _ = s.env.Stop() }
	do("envtest starts", s.start)
	do("Xebec serves, and keeps its state where it should", s.check)
	s.reconciling(ctx, do)
	s.clients(ctx, do)
	do("the server starts again, with all that was there", func() error { return s.restart(ctx) })
	do("envtest stops", s.env.Stop)
}

func (s *suite) start() error {
	os.Setenv("STORE", s.store)
	directory, err := os.MkdirTemp(os.Getenv("WORK"), "envtest-")
	if err != nil {
		return err
	}
	s.env = &envtest.Environment{
		BinaryAssetsDirectory: os.Getenv("ASSETS"),
		// A directory of ours outlives a stop of the server.
		ControlPlane: envtest.ControlPlane{APIServer: &envtest.APIServer{CertDir: directory}},
	}
	if log, err := os.Create(os.Getenv("WORK") + "/envtest-" + s.store + ".log"); err == nil {
		s.env.ControlPlane.APIServer.Out, s.env.ControlPlane.APIServer.Err = log, log
	}
	config, err := s.env.Start()
	if err != nil {
		return err
	}
	s.direct, err = client.New(config, client.Options{})
	return err
}

func (s *suite) check() error {
	disco, err := discovery.NewDiscoveryClientForConfig(s.env.Config)
	if err != nil {
		return err
	}
	version, err := disco.ServerVersion()
	if err != nil {
		return err
	}
	keys, err := keysIn(s.env.ControlPlane.Etcd.URL)
	return steps.Every(err,
		steps.Equal("Xebec", strings.Contains(version.GitVersion, "+xebec"), true),
		steps.Equal("keys in etcd", keys > 0, s.store == "etcd"),
	)
}

// keysIn counts what lies under /registry/ in an etcd, by its JSON gateway.
func keysIn(etcd *url.URL) (int, error) {
	encode := func(key string) string { return base64.StdEncoding.EncodeToString([]byte(key)) }
	body := fmt.Sprintf(`{"key":%q,"range_end":%q,"count_only":true}`, encode("/registry/"), encode("/registry0"))
	answer, err := http.Post(etcd.JoinPath("/v3/kv/range").String(), "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var found struct {
		Count int `json:"count,string"`
	}
	return found.Count, json.NewDecoder(answer.Body).Decode(&found)
}

// running is a manager that was started.
type running struct {
	ctrl.Manager
	stop context.CancelFunc
	done chan error
}

func (s *suite) manage(ctx context.Context, name string) (*running, error) {
	m, err := ctrl.NewManager(s.env.Config, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"},
		// The managers of the two stores are of one process, and name their controllers alike.
		Controller:     config.Controller{SkipNameValidation: ptr.To(true)},
		LeaderElection: true, LeaderElectionID: "runner", LeaderElectionNamespace: namespace, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: ptr.To(6 * time.Second), RenewDeadline: ptr.To(4 * time.Second), RetryPeriod: ptr.To(500 * time.Millisecond),
	})
	if err != nil {
		return nil, err
	}
	if err := setUp(m, name); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	r := &running{m, stop, make(chan error, 1)}
	go func() { r.done <- m.Start(ctx) }()
	return r, nil
}

func job(name, by string) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{settingsKey: "settings"}},
		Spec: batchv1.JobSpec{
			ManagedBy: &by,
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers:    []corev1.Container{{Name: "c", Image: "example.com/none"}},
			}},
		},
	}
}

func key(name string) client.ObjectKey { return client.ObjectKey{Namespace: namespace, Name: name} }

// kept waits until the ConfigMap of a Job holds this.
func (s *suite) kept(ctx context.Context, name, data string) error {
	return steps.Eventually(ctx, 15*time.Second, func(ctx context.Context) error {
		var kept corev1.ConfigMap
		if err := s.direct.Get(ctx, key(name), &kept); err != nil {
			return err
		}
		return steps.Equal("data", fmt.Sprint(kept.Data), data)
	})
}

// reconciling: managers, who leads, what the reconciler makes of what happens.
func (s *suite) reconciling(ctx context.Context, do func(string, func() error)) {
	var first *running
	do("a manager leads, its caches synced", func() error {
		var err error
		if first, err = s.manage(ctx, "first"); err != nil {
			return err
		}
		select {
		case <-first.Elected():
		case err := <-first.done:
			return fmt.Errorf("it ended: %w", err)
		case <-time.After(15 * time.Second):
			return errors.New("it does not lead")
		}
		return steps.Equal("synced", first.GetCache().WaitForCacheSync(ctx), true)
	})
	defer first.stop()
	cached := first.GetClient()
	do("a Job gets its ConfigMap, which it controls, and a finalizer", func() error {
		if err := s.direct.Create(ctx, job("one", manager)); err != nil {
			return err
		}
		if err := s.kept(ctx, "one", "map[by:first]"); err != nil {
			return err
		}
		var made batchv1.Job
		var kept corev1.ConfigMap
		if err := steps.Every(s.direct.Get(ctx, key("one"), &made), s.direct.Get(ctx, key("one"), &kept)); err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("finalizer", controllerutil.ContainsFinalizer(&made, finalizer), true),
			steps.Equal("controlled", metav1.IsControlledBy(&kept, &made), true),
		)
	})
	do("its status was patched, which the cache sees too", func() error {
		return steps.Eventually(ctx, 10*time.Second, func(ctx context.Context) error {
			var seen batchv1.Job
			if err := cached.Get(ctx, key("one"), &seen); err != nil {
				return err
			}
			return steps.Every(
				steps.Equal("active", seen.Status.Active, 1),
				steps.Equal("started", seen.Status.StartTime != nil, true),
			)
		})
	})
	do("an event tells of it", func() error {
		return steps.Eventually(ctx, 10*time.Second, func(ctx context.Context) error {
			var list eventsv1.EventList
			if err := s.direct.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{"reason": "Made"}); err != nil {
				return err
			}
			if len(list.Items) != 1 {
				return steps.Equal("events", len(list.Items), 1)
			}
			return steps.Every(
				steps.Equal("note", list.Items[0].Note, "made one for one"),
				steps.Equal("regarding", list.Items[0].Regarding.Kind, "Job"),
				steps.Equal("related", list.Items[0].Related.Kind, "ConfigMap"),
			)
		})
	})
	do("what it owns is put right when it is changed, and made again when it is deleted", func() error {
		var kept corev1.ConfigMap
		if err := s.direct.Get(ctx, key("one"), &kept); err != nil {
			return err
		}
		uid := kept.UID
		kept.Data["by"] = "somebody else"
		if err := steps.Every(s.direct.Update(ctx, &kept), s.kept(ctx, "one", "map[by:first]"), s.direct.Delete(ctx, &kept), s.kept(ctx, "one", "map[by:first]")); err != nil {
			return err
		}
		err := s.direct.Get(ctx, key("one"), &kept)
		return steps.Every(err, steps.Equal("another one", kept.UID != uid, true))
	})
	do("a Secret that it watches changes what it makes", func() error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings"}, StringData: map[string]string{"color": "red"}}
		if err := steps.Every(s.direct.Create(ctx, secret), s.kept(ctx, "one", "map[by:first color:red]")); err != nil {
			return err
		}
		secret.StringData = map[string]string{"color": "blue"}
		return steps.Every(s.direct.Update(ctx, secret), s.kept(ctx, "one", "map[by:first color:blue]"))
	})
	do("an index finds the Jobs of a manager, and leaves out the others", func() error {
		if err := steps.Every(s.direct.Create(ctx, job("two", manager)), s.direct.Create(ctx, job("other", "example.com/other"))); err != nil {
			return err
		}
		return steps.Eventually(ctx, 10*time.Second, func(ctx context.Context) error {
			var ours, all batchv1.JobList
			if err := steps.Every(cached.List(ctx, &ours, client.MatchingFields{byManager: manager}), cached.List(ctx, &all)); err != nil {
				return err
			}
			return steps.Every(steps.Equal("ours", len(ours.Items), 2), steps.Equal("all", len(all.Items), 3))
		})
	})
	do("metadata and unstructured objects are read through the cache", func() error {
		meta := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}}
		loose := &unstructured.Unstructured{}
		loose.SetAPIVersion("v1")
		loose.SetKind("ConfigMap")
		if err := steps.Every(cached.Get(ctx, key("one"), meta), first.GetCache().Get(ctx, key("one"), loose)); err != nil {
			return err
		}
		by, _, _ := unstructured.NestedString(loose.Object, "data", "by")
		return steps.Every(steps.Equal("annotation", meta.Annotations[settingsKey], "settings"), steps.Equal("by", by, "first"))
	})
	do("a Job that is deleted waits for its finalizer, and takes its ConfigMap with it", func() error {
		gone := job("two", manager)
		if err := steps.Every(s.kept(ctx, "two", "map[by:first color:blue]"), s.direct.Delete(ctx, gone, client.PropagationPolicy(metav1.DeletePropagationBackground))); err != nil {
			return err
		}
		return steps.Eventually(ctx, 15*time.Second, func(ctx context.Context) error {
			noJob := s.direct.Get(ctx, key("two"), &batchv1.Job{})
			noMap := s.direct.Get(ctx, key("two"), &corev1.ConfigMap{})
			return steps.Equal("both are gone", apierrors.IsNotFound(noJob) && apierrors.IsNotFound(noMap), true)
		})
	})
	do("a second manager waits, leads when the first stops, and does its work", func() error {
		second, err := s.manage(ctx, "second")
		if err != nil {
			return err
		}
		defer func() { second.stop(); <-second.done }()
		select {
		case <-second.Elected():
			return errors.New("two lead at once")
		case <-time.After(2 * time.Second):
		}
		first.stop()
		if err := <-first.done; err != nil {
			return err
		}
		select {
		case <-second.Elected():
		case <-time.After(15 * time.Second):
			return errors.New("it does not lead")
		}
		return steps.Every(s.kept(ctx, "one", "map[by:second color:blue]"), s.direct.Create(ctx, job("three", manager)), s.kept(ctx, "three", "map[by:second color:blue]"))
	})
}

// clients: what the client itself does, and other users.
func (s *suite) clients(ctx context.Context, do func(string, func() error)) {
	do("server-side apply, by two owners", func() error {
		apply := func(owner string, options ...client.ApplyOption) error {
			wanted := coreapply.ConfigMap("applied", namespace).WithData(map[string]string{"owner": owner})
			return s.direct.Apply(ctx, wanted, append(options, client.FieldOwner(owner))...)
		}
		if err := apply("a"); err != nil {
			return err
		}
		if err := apply("b"); !apierrors.IsConflict(err) {
			return fmt.Errorf("no conflict: %v", err)
		}
		return steps.Every(apply("b", client.ForceOwnership), s.kept(ctx, "applied", "map[owner:b]"))
	})
	do("a patch under an optimistic lock is refused when another was faster", func() error {
		var one, two corev1.ConfigMap
		if err := steps.Every(s.direct.Get(ctx, key("applied"), &one), s.direct.Get(ctx, key("applied"), &two)); err != nil {
			return err
		}
		patch := func(object *corev1.ConfigMap, value string) error {
			before := object.DeepCopy()
			object.Data["x"] = value
			return s.direct.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		}
		if err := patch(&one, "1"); err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("conflict", apierrors.IsConflict(patch(&two, "2")), true),
			s.kept(ctx, "applied", "map[owner:b x:1]"),
		)
	})
	do("CreateOrPatch creates, patches, and leaves alone", func() error {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "either"}}
		var results []controllerutil.OperationResult
		for _, value := range []string{"1", "2", "2"} {
			result, err := controllerutil.CreateOrPatch(ctx, s.direct, object, func() error {
				object.Data = map[string]string{"v": value}
				return nil
			})
			if err != nil {
				return err
			}
			results = append(results, result)
		}
		return steps.Equal("results", fmt.Sprint(results), "[created updated unchanged]")
	})
	do("a pod is taken without a service account, as envtest asks for", func() error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "lone"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/none"}}}}
		if err := s.direct.Create(ctx, pod); err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("volumes", len(pod.Spec.Volumes), 0),
			steps.Equal("phase", pod.Status.Phase, corev1.PodPending),
		)
	})
	do("another user of envtest's authority may what a role says, and no more", func() error {
		jane, err := s.env.AddUser(envtest.User{Name: "jane", Groups: []string{"team"}}, nil)
		if err != nil {
			return err
		}
		hers, err := client.New(jane.Config(), client.Options{})
		if err != nil {
			return err
		}
		before := hers.List(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace))
		role := &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "team"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}},
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "team"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "team"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "team"}},
		}
		if err := steps.Every(s.direct.Create(ctx, role), s.direct.Create(ctx, binding)); err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("forbidden before", apierrors.IsForbidden(before), true),
			steps.Eventually(ctx, 5*time.Second, func(ctx context.Context) error {
				return hers.List(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace))
			}),
			steps.Equal("secrets are forbidden", apierrors.IsForbidden(hers.List(ctx, &corev1.SecretList{}, client.InNamespace(namespace))), true),
		)
	})
	do("what envtest's authority did not sign is nobody's", func() error {
		config := rest.AnonymousClientConfig(s.env.Config)
		config.BearerToken = "nonsense"
		stranger, err := client.New(config, client.Options{Mapper: s.direct.RESTMapper()})
		if err != nil {
			return err
		}
		return steps.Equal("unauthorized", apierrors.IsUnauthorized(stranger.List(ctx, &corev1.PodList{})), true)
	})
}

// restart stops the API server alone and starts it again.
func (s *suite) restart(ctx context.Context) error {
	var before, after corev1.ConfigMap
	if err := s.direct.Get(ctx, key("applied"), &before); err != nil {
		return err
	}
	server := s.env.ControlPlane.APIServer
	if err := steps.Every(server.Stop(), server.Start()); err != nil {
		return err
	}
	if err := s.direct.Get(ctx, key("applied"), &after); err != nil {
		return err
	}
	return steps.Every(
		steps.Equal("uid", after.UID, before.UID),
		steps.Equal("revision", after.ResourceVersion, before.ResourceVersion),
	)
}

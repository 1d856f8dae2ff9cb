package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/util/retry"

	"xebec/clients/steps"
)

// writes: typed apply and its conflicts, updates that race, patches, subresources, owners and finalizers.
func writes(ctx context.Context, c *cluster) {
	deployments := c.clients.AppsV1().Deployments(namespace)
	maps := c.clients.CoreV1().ConfigMaps(namespace)
	labels := map[string]string{"app": "web"}
	web := func(replicas int32) *appsapply.DeploymentApplyConfiguration {
		return appsapply.Deployment("web", namespace).WithLabels(labels).WithSpec(appsapply.DeploymentSpec().
			WithReplicas(replicas).
			WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithSpec(coreapply.PodSpec().
				WithTerminationGracePeriodSeconds(1).
				WithContainers(coreapply.Container().WithName("web").WithImage(c.image).WithCommand("httpd", "-f", "-p", "8080").
					WithReadinessProbe(coreapply.Probe().WithPeriodSeconds(1).
						WithTCPSocket(coreapply.TCPSocketAction().WithPort(intstrOf(8080))))))))
	}
	steps.Do("server-side apply with a typed configuration", func() error {
		made, err := deployments.Apply(ctx, web(2), metav1.ApplyOptions{FieldManager: "first"})
		if err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("manager", made.ManagedFields[0].Manager, "first"),
			steps.Equal("operation", made.ManagedFields[0].Operation, metav1.ManagedFieldsOperationApply),
			steps.Equal("default", made.Spec.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType),
		)
	})
	steps.Do("applied again, it changes nothing", func() error {
		before, err := deployments.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		after, err := deployments.Apply(ctx, web(2), metav1.ApplyOptions{FieldManager: "first"})
		if err != nil {
			return err
		}
		return steps.Equal("generation", after.Generation, before.Generation)
	})
	steps.Do("another manager has a conflict, and forces it", func() error {
		other := appsapply.Deployment("web", namespace).WithSpec(appsapply.DeploymentSpec().WithReplicas(3))
		_, err := deployments.Apply(ctx, other, metav1.ApplyOptions{FieldManager: "second"})
		var status *apierrors.StatusError
		if !errors.As(err, &status) || !apierrors.IsConflict(err) || len(status.ErrStatus.Details.Causes) != 1 {
			return fmt.Errorf("no conflict over one field: %v", err)
		}
		made, err := deployments.Apply(ctx, other, metav1.ApplyOptions{FieldManager: "second", Force: true})
		if err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("field in conflict", status.ErrStatus.Details.Causes[0].Field, ".spec.replicas"),
			steps.Equal("replicas", *made.Spec.Replicas, 3),
		)
	})
	steps.Do("what is extracted of one manager is what it applied", func() error {
		found, err := deployments.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		second, err := appsapply.ExtractDeployment(found, "second")
		if err != nil {
			return err
		}
		first, err := appsapply.ExtractDeployment(found, "first")
		if err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("second's replicas", *second.Spec.Replicas, 3),
			steps.Equal("second has no template", second.Spec.Template == nil, true),
			steps.Equal("first has no replicas any more", first.Spec.Replicas == nil, true),
			steps.Equal("first's image", *first.Spec.Template.Spec.Containers[0].Image, c.image),
		)
	})
	steps.Do("who no longer applies a field takes it away", func() error {
		with := func(keys ...string) error {
			data := map[string]string{}
			for _, key := range keys {
				data[key] = key
			}
			_, err := maps.Apply(ctx, coreapply.ConfigMap("owned", namespace).WithData(data), metav1.ApplyOptions{FieldManager: "first"})
			return err
		}
		if err := steps.Every(with("a", "b", "c"), with("a", "c")); err != nil {
			return err
		}
		left, err := maps.Get(ctx, "owned", metav1.GetOptions{})
		return steps.Every(err, steps.Equal("data", fmt.Sprint(left.Data), "map[a:a c:c]"))
	})
	steps.Do("a stale update is a conflict", func() error {
		old, err := maps.Get(ctx, "owned", metav1.GetOptions{})
		if err != nil {
			return err
		}
		newer := old.DeepCopy()
		newer.Data["a"] = "newer"
		if _, err := maps.Update(ctx, newer, metav1.UpdateOptions{}); err != nil {
			return err
		}
		_, err = maps.Update(ctx, old, metav1.UpdateOptions{})
		return steps.Equal("conflict", apierrors.IsConflict(err), true)
	})
	steps.Do("eight that count at once, each retrying on conflict, lose nothing", func() error {
		if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "count"}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		patient := retry.DefaultBackoff
		patient.Steps = 50
		var all sync.WaitGroup
		faults := make([]error, 8)
		for who := range faults {
			all.Go(func() {
				for range 5 {
					faults[who] = retry.RetryOnConflict(patient, func() error {
						count, err := maps.Get(ctx, "count", metav1.GetOptions{})
						if err != nil {
							return err
						}
						if count.Data == nil {
							count.Data = map[string]string{}
						}
						count.Data["ticks"] += "x"
						_, err = maps.Update(ctx, count, metav1.UpdateOptions{})
						return err
					})
					if faults[who] != nil {
						return
					}
				}
			})
		}
		all.Wait()
		count, err := maps.Get(ctx, "count", metav1.GetOptions{})
		return steps.Every(append(faults, err, steps.Equal("ticks", count.Data["ticks"], strings.Repeat("x", 40)))...)
	})
	steps.Do("JSON, merge and strategic merge patches", func() error {
		for kind, patch := range map[types.PatchType]string{
			types.JSONPatchType:           `[{"op":"test","path":"/spec/replicas","value":3},{"op":"add","path":"/metadata/annotations/json","value":"1"}]`,
			types.MergePatchType:          `{"metadata":{"annotations":{"merge":"1"}}}`,
			types.StrategicMergePatchType: `{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}`,
		} {
			if kind == types.JSONPatchType {
				// An addition into a map needs the map.
				if _, err := deployments.Patch(ctx, "web", types.MergePatchType, []byte(`{"metadata":{"annotations":{"x":"y"}}}`), metav1.PatchOptions{}); err != nil {
					return err
				}
			}
			if _, err := deployments.Patch(ctx, "web", kind, []byte(patch), metav1.PatchOptions{}); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
		made, err := deployments.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		container := made.Spec.Template.Spec.Containers[0]
		return steps.Every(
			steps.Equal("annotations", made.Annotations["json"]+made.Annotations["merge"], "11"),
			steps.Equal("the image is still there", container.Image, c.image),
			steps.Equal("env", container.Env[0].Value, "1"),
		)
	})
	steps.Do("a dry run leaves nothing behind", func() error {
		made, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "dry-"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return err
		}
		_, err = maps.Get(ctx, made.Name, metav1.GetOptions{})
		return steps.Every(
			steps.Equal("a name is made", strings.HasPrefix(made.Name, "dry-") && len(made.Name) == 9, true),
			steps.Equal("not found", apierrors.IsNotFound(err), true),
		)
	})
	steps.Do("what is invalid is told field by field", func() error {
		_, err := deployments.Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"replicas":-1,"minReadySeconds":-2}}`), metav1.PatchOptions{})
		var status *apierrors.StatusError
		if !errors.As(err, &status) || !apierrors.IsInvalid(err) {
			return fmt.Errorf("not invalid: %v", err)
		}
		named := map[string]bool{}
		for _, cause := range status.ErrStatus.Details.Causes {
			named[cause.Field] = true
		}
		return steps.Equal("both fields are named", named["spec.replicas"] && named["spec.minReadySeconds"], true)
	})
	steps.Do("strict validation refuses an unknown field", func() error {
		_, err := maps.Patch(ctx, "owned", types.MergePatchType, []byte(`{"dta":{"a":"1"}}`), metav1.PatchOptions{FieldValidation: metav1.FieldValidationStrict})
		return steps.Equal("told", err != nil && strings.Contains(err.Error(), `unknown field "dta"`), true)
	})
	steps.Do("scale and status are subresources", func() error {
		// The controller tells its status all the while.
		err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			scale, err := deployments.GetScale(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return err
			}
			scale.Spec.Replicas = 2
			_, err = deployments.UpdateScale(ctx, "web", scale, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			return err
		}
		return steps.Eventually(ctx, time.Minute, func(ctx context.Context) error {
			made, err := deployments.Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return err
			}
			return steps.Every(
				steps.Equal("replicas", *made.Spec.Replicas, 2),
				steps.Equal("seen by the controller", made.Status.ObservedGeneration, made.Generation),
				steps.Equal("ready", made.Status.ReadyReplicas, 2),
				steps.Equal("updated", made.Status.UpdatedReplicas, 2),
				steps.Equal("in all", made.Status.Replicas, 2),
			)
		})
	})
	steps.Do("what is owned goes with its owner; in the foreground, before it", func() error {
		owner, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		yes := true
		reference := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, BlockOwnerDeletion: &yes}
		owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "of-owner", OwnerReferences: []metav1.OwnerReference{reference}}}
		if _, err := maps.Create(ctx, owned, metav1.CreateOptions{}); err != nil {
			return err
		}
		foreground := metav1.DeletePropagationForeground
		if err := maps.Delete(ctx, "owner", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
			return err
		}
		return steps.Eventually(ctx, 20*time.Second, func(ctx context.Context) error {
			_, owned := maps.Get(ctx, "of-owner", metav1.GetOptions{})
			_, owner := maps.Get(ctx, "owner", metav1.GetOptions{})
			if apierrors.IsNotFound(owner) && !apierrors.IsNotFound(owned) {
				return errors.New("the owner went first")
			}
			return steps.Equal("both are gone", apierrors.IsNotFound(owner) && apierrors.IsNotFound(owned), true)
		})
	})
	steps.Do("a finalizer holds what is deleted until it is taken off", func() error {
		held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
		if _, err := maps.Create(ctx, held, metav1.CreateOptions{}); err != nil {
			return err
		}
		if err := maps.Delete(ctx, "held", metav1.DeleteOptions{}); err != nil {
			return err
		}
		held, err := maps.Get(ctx, "held", metav1.GetOptions{})
		if err != nil || held.DeletionTimestamp == nil {
			return steps.Every(err, errors.New("it is not being deleted"))
		}
		held.Finalizers = nil
		if _, err := maps.Update(ctx, held, metav1.UpdateOptions{}); err != nil {
			return err
		}
		_, err = maps.Get(ctx, "held", metav1.GetOptions{})
		return steps.Equal("gone", apierrors.IsNotFound(err), true)
	})
	steps.Do("a deletion for another uid is refused", func() error {
		wrong := types.UID("00000000-0000-0000-0000-000000000000")
		err := maps.Delete(ctx, "owned", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}})
		return steps.Equal("conflict", apierrors.IsConflict(err), true)
	})
}

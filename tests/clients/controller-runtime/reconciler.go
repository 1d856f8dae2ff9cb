package main

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/recorder"
)

const (
	// manager is whom the Jobs name that this reconciler cares for; the Job controller leaves those alone.
	manager   = "example.com/runner"
	finalizer = "example.com/cleanup"
	// settingsKey is the annotation that names the Secret whose data a Job is given.
	settingsKey = "example.com/settings"
	// byManager and bySettings are fields that the cache is indexed by.
	byManager  = "spec.managedBy"
	bySettings = "settings"
)

// reconciler keeps a ConfigMap for every Job of its manager, made of what a Secret says, tells of it in the Job's
// status and by an event, and takes it away with the Job.
type reconciler struct {
	client.Client
	events recorder.EventRecorder
	name   string
}

// setUp ties the reconciler to a manager: its indexes, what it is for, what it owns, what it watches.
func setUp(m ctrl.Manager, name string) error {
	ctx := context.Background()
	index := m.GetFieldIndexer()
	if err := index.IndexField(ctx, &batchv1.Job{}, byManager, func(object client.Object) []string {
		if by := object.(*batchv1.Job).Spec.ManagedBy; by != nil {
			return []string{*by}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := index.IndexField(ctx, &batchv1.Job{}, bySettings, func(object client.Object) []string {
		return []string{object.GetAnnotations()[settingsKey]}
	}); err != nil {
		return err
	}
	r := &reconciler{m.GetClient(), m.GetEventRecorder(name), name}
	return ctrl.NewControllerManagedBy(m).Named(name).
		For(&batchv1.Job{}).
		Owns(&corev1.ConfigMap{}).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.jobsOf)).
		Complete(r)
}

// jobsOf are those whose settings a Secret holds.
func (r *reconciler) jobsOf(ctx context.Context, secret client.Object) []reconcile.Request {
	var jobs batchv1.JobList
	if err := r.List(ctx, &jobs, client.InNamespace(secret.GetNamespace()), client.MatchingFields{bySettings: secret.GetName()}); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for _, job := range jobs.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&job)})
	}
	return requests
}

func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var job batchv1.Job
	if err := r.Get(ctx, request.NamespacedName, &job); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if job.Spec.ManagedBy == nil || *job.Spec.ManagedBy != manager {
		return reconcile.Result{}, nil
	}
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}}
	if !job.DeletionTimestamp.IsZero() {
		if err := client.IgnoreNotFound(r.Delete(ctx, kept)); err != nil {
			return reconcile.Result{}, err
		}
		if controllerutil.RemoveFinalizer(&job, finalizer) {
			return reconcile.Result{}, client.IgnoreNotFound(r.Update(ctx, &job))
		}
		return reconcile.Result{}, nil
	}
	if controllerutil.AddFinalizer(&job, finalizer) {
		if err := r.Update(ctx, &job); err != nil {
			return reconcile.Result{}, err
		}
	}
	data, err := r.settings(ctx, &job)
	if err != nil {
		return reconcile.Result{}, err
	}
	done, err := controllerutil.CreateOrUpdate(ctx, r.Client, kept, func() error {
		kept.Data = data
		return controllerutil.SetControllerReference(&job, kept, r.Scheme())
	})
	if err != nil {
		return reconcile.Result{}, err
	}
	if done == controllerutil.OperationResultCreated {
		r.events.Eventf(&job, kept, corev1.EventTypeNormal, "Made", "Making", "made %s for %s", kept.Name, job.Name)
	}
	before := job.DeepCopy()
	job.Status.Active = int32(len(data))
	if job.Status.StartTime == nil {
		now := metav1.Now()
		job.Status.StartTime = &now
	}
	return reconcile.Result{}, r.Status().Patch(ctx, &job, client.MergeFrom(before))
}

// settings is what the Job's ConfigMap is to hold: who made it, and the Secret's data, if there is one.
func (r *reconciler) settings(ctx context.Context, job *batchv1.Job) (map[string]string, error) {
	data := map[string]string{"by": r.name}
	name := job.Annotations[settingsKey]
	if name == "" {
		return data, nil
	}
	var secret corev1.Secret
	err := r.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return data, nil
	}
	for key, value := range secret.Data {
		data[key] = fmt.Sprintf("%s", value)
	}
	return data, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	watchtools "k8s.io/client-go/tools/watch"

	"xebec/clients/steps"
)

const many = 120

// lists: pages, snapshots, watches that begin with a list, that resume, that wait for something.
func lists(ctx context.Context, c *cluster) {
	secrets := c.clients.CoreV1().Secrets(namespace)
	steps.Do(fmt.Sprintf("%d secrets", many), func() error {
		for n := range many {
			secret := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s-%03d", n), Labels: map[string]string{"parity": []string{"even", "odd"}[n%2]}},
				StringData: map[string]string{"n": fmt.Sprint(n)},
			}
			if n%10 == 0 {
				secret.Type = "example.com/tenth"
			}
			made, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
			if err := steps.Every(err, steps.Equal("data", string(made.Data["n"]), fmt.Sprint(n))); err != nil {
				return err
			}
		}
		return nil
	})
	page := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return secrets.List(ctx, options)
	}
	steps.Do("a pager sees each once, in pages of 7, all at one revision", func() error {
		var pages int
		revisions := map[string]bool{}
		pages7 := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := secrets.List(ctx, options)
			if err == nil {
				pages++
				revisions[list.ResourceVersion] = true
				if pages == 2 {
					// What comes while the pages are turned is on none of them.
					_, err = secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "z-late"}}, metav1.CreateOptions{})
				}
			}
			return list, err
		})
		pages7.PageSize = 7
		names := map[string]int{}
		err := pages7.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
			names[object.(*corev1.Secret).Name]++
			return nil
		})
		for name, times := range names {
			if times != 1 {
				return fmt.Errorf("%s came %d times", name, times)
			}
		}
		return steps.Every(err,
			steps.Equal("names", len(names), many),
			steps.Equal("pages", pages, (many+6)/7),
			steps.Equal("revisions", len(revisions), 1),
			secrets.Delete(ctx, "z-late", metav1.DeleteOptions{}),
		)
	})
	steps.Do("field and label selectors narrow it", func() error {
		list, err := secrets.List(ctx, metav1.ListOptions{FieldSelector: "type=example.com/tenth", LabelSelector: "parity in (even),!missing"})
		return steps.Every(err, steps.Equal("found", len(list.Items), many/10))
	})
	steps.Do("how many are left, where a limit cuts", func() error {
		list, err := secrets.List(ctx, metav1.ListOptions{Limit: 50})
		if err != nil || list.RemainingItemCount == nil {
			return steps.Every(err, errors.New("nothing is said of what is left"))
		}
		return steps.Equal("left", *list.RemainingItemCount, many-50)
	})
	steps.Do("a token that means nothing is refused", func() error {
		_, err := secrets.List(ctx, metav1.ListOptions{Limit: 5, Continue: "nonsense"})
		return steps.Equal("refused as bad", apierrors.IsBadRequest(err), true)
	})
	steps.Do("streaming lists: initial events, then the bookmark that ends them, then news", func() error {
		yes := true
		watcher, err := secrets.Watch(ctx, metav1.ListOptions{
			SendInitialEvents: &yes, AllowWatchBookmarks: true, LabelSelector: "parity=odd",
			ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		})
		if err != nil {
			return err
		}
		defer watcher.Stop()
		var added int
		for event := range watcher.ResultChan() {
			secret := event.Object.(*corev1.Secret)
			switch {
			case event.Type == watch.Bookmark && secret.Annotations[metav1.InitialEventsAnnotationKey] == "true":
				if added != many/2 {
					return steps.Equal("initial events", added, many/2)
				}
				if err := secrets.Delete(ctx, "s-001", metav1.DeleteOptions{}); err != nil {
					return err
				}
			case event.Type == watch.Added:
				added++
			case event.Type == watch.Deleted:
				return steps.Equal("deleted", secret.Name, "s-001")
			}
		}
		return io.ErrUnexpectedEOF
	})
	steps.Do("a watch that is broken off resumes where it was", func() error {
		list, err := secrets.List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return err
		}
		// Each watch is cut after two events; RetryWatcher comes again with the last revision it saw.
		var watches int
		var current watch.Interface
		source := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			var err error
			watches++
			current, err = secrets.Watch(ctx, options)
			return current, err
		}}
		watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, source)
		if err != nil {
			return err
		}
		defer watcher.Stop()
		for n := range 6 {
			name := fmt.Sprintf("w-%d", n)
			if _, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
				return err
			}
			event := <-watcher.ResultChan()
			secret, ok := event.Object.(*corev1.Secret)
			if !ok {
				return fmt.Errorf("instead of %s came %v", name, event)
			}
			if err := steps.Every(steps.Equal("event", event.Type, watch.Added), steps.Equal("name", secret.Name, name)); err != nil {
				return err
			}
			if n%2 == 1 {
				current.Stop()
			}
		}
		return steps.Equal("it came more than twice", watches > 2, true)
	})
	steps.Do("a list from a revision that is yet to come is told to try again", func() error {
		// The client itself would try ten times.
		options := metav1.ListOptions{ResourceVersion: "900000000000", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}
		err := c.clients.CoreV1().RESTClient().Get().Namespace(namespace).Resource("secrets").
			VersionedParams(&options, scheme.ParameterCodec).MaxRetries(0).Do(ctx).Error()
		if !apierrors.IsTimeout(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
			return fmt.Errorf("not told that it is too large: %#v", err)
		}
		return nil
	})
	steps.Do("UntilWithSync waits for a condition", func() error {
		go func() {
			time.Sleep(300 * time.Millisecond)
			_, _ = secrets.Patch(ctx, "s-002", "application/merge-patch+json", []byte(`{"metadata":{"labels":{"done":"yes"}}}`), metav1.PatchOptions{})
		}()
		source := cache.NewListWatchFromClient(c.clients.CoreV1().RESTClient(), "secrets", namespace, fields.OneTermEqualSelector("metadata.name", "s-002"))
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		event, err := watchtools.UntilWithSync(short, source, &corev1.Secret{}, nil, func(event watch.Event) (bool, error) {
			return event.Object.(*corev1.Secret).Labels["done"] == "yes", nil
		})
		if err != nil {
			return err
		}
		return steps.Equal("event", event.Type, watch.Modified)
	})
	steps.Do("a collection is deleted by selector", func() error {
		if err := secrets.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "parity"}); err != nil {
			return err
		}
		list, err := page(ctx, metav1.ListOptions{})
		return steps.Every(err, steps.Equal("left", len(list.(*corev1.SecretList).Items), 6))
	})
}

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	informerfactory "k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"xebec/clients/steps"
)

// seen is what an informer told, in order.
type seen struct {
	sync.Mutex
	events []string
}

func (s *seen) add(what string) {
	s.Lock()
	defer s.Unlock()
	s.events = append(s.events, what)
}

// expect waits until exactly these events were told since the last time.
func (s *seen) expect(ctx context.Context, events ...string) error {
	return steps.Eventually(ctx, 10*time.Second, func(context.Context) error {
		s.Lock()
		defer s.Unlock()
		if !slices.Equal(s.events, events) {
			return fmt.Errorf("expected the events %q, got %q", events, s.events)
		}
		s.events = nil
		return nil
	})
}

// informers: a shared informer with handlers, an index and a lister; one over selectors; a controller with a queue.
func informers(ctx context.Context, c *cluster) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	maps := c.clients.CoreV1().ConfigMaps(namespace)
	put := func(name, color string) error {
		_, err := maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"color": color}},
			Data:       map[string]string{"n": "0"},
		}, metav1.CreateOptions{})
		return err
	}
	steps.Do("objects before the informer", func() error { return steps.Every(put("one", "red"), put("two", "blue")) })

	factory := informerfactory.NewSharedInformerFactoryWithOptions(c.clients, 0, informerfactory.WithNamespace(namespace))
	informer := factory.Core().V1().ConfigMaps()
	told := &seen{}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	ours := func(object any) (*corev1.ConfigMap, bool) {
		if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = tombstone.Obj
		}
		made := object.(*corev1.ConfigMap)
		return made, made.Labels["color"] != ""
	}
	handle := func(verb string, object any) {
		if made, ok := ours(object); ok {
			told.add(verb + " " + made.Name + "=" + made.Data["n"])
			queue.Add(made.Name)
		}
	}
	steps.Do("a shared informer syncs, with what was there", func() error {
		err := informer.Informer().AddIndexers(cache.Indexers{"color": func(object any) ([]string, error) {
			return []string{object.(*corev1.ConfigMap).Labels["color"]}, nil
		}})
		if err != nil {
			return err
		}
		handler, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { handle("added", object) },
			UpdateFunc: func(_, object any) { handle("updated", object) },
			DeleteFunc: func(object any) { handle("deleted", object) },
		})
		if err != nil {
			return err
		}
		factory.Start(ctx.Done())
		if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			return ctx.Err()
		}
		told.Lock()
		slices.Sort(told.events)
		told.Unlock()
		return told.expect(ctx, "added one=0", "added two=0")
	})
	steps.Do("it sees an addition, two updates and a deletion, in order", func() error {
		if err := put("three", "red"); err != nil {
			return err
		}
		for _, n := range []string{"1", "2"} {
			patch := fmt.Sprintf(`{"data":{"n":%q}}`, n)
			if _, err := maps.Patch(ctx, "three", "application/strategic-merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
				return err
			}
		}
		if err := maps.Delete(ctx, "two", metav1.DeleteOptions{}); err != nil {
			return err
		}
		return told.expect(ctx, "added three=0", "updated three=1", "updated three=2", "deleted two=0")
	})
	steps.Do("its index and lister answer from the cache", func() error {
		red, err := informer.Informer().GetIndexer().IndexKeys("color", "red")
		if err != nil {
			return err
		}
		slices.Sort(red)
		selector := labels.SelectorFromSet(labels.Set{"color": "red"})
		listed, err := informer.Lister().ConfigMaps(namespace).List(selector)
		if err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("red keys", fmt.Sprint(red), "[client-go/one client-go/three]"),
			steps.Equal("listed", len(listed), 2),
		)
	})
	steps.Do("a queue hands out each key once", func() error {
		var keys []string
		for queue.Len() > 0 {
			key, _ := queue.Get()
			keys = append(keys, key)
			queue.Done(key)
		}
		slices.Sort(keys)
		return steps.Equal("keys", fmt.Sprint(keys), "[one three two]")
	})
	steps.Do("an informer over a label and a field selector sees what comes in and what leaves", func() error {
		told := &seen{}
		narrow := informerfactory.NewSharedInformerFactoryWithOptions(c.clients, 0, informerfactory.WithNamespace(namespace),
			informerfactory.WithTweakListOptions(func(options *metav1.ListOptions) {
				options.LabelSelector = "color=red"
				options.FieldSelector = fields.OneTermNotEqualSelector("metadata.name", "one").String()
			})).Core().V1().ConfigMaps().Informer()
		handler, err := narrow.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { told.add("added " + object.(*corev1.ConfigMap).Name) },
			UpdateFunc: func(_, object any) { told.add("updated " + object.(*corev1.ConfigMap).Name) },
			DeleteFunc: func(object any) {
				gone, _ := ours(object)
				told.add("deleted " + gone.Name + " " + gone.Labels["color"])
			},
		})
		if err != nil {
			return err
		}
		go narrow.Run(ctx.Done())
		if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			return ctx.Err()
		}
		paint := func(name, color string) error {
			patch := fmt.Sprintf(`[{"op":"replace","path":"/metadata/labels/color","value":%q}]`, color)
			_, err := maps.Patch(ctx, name, "application/json-patch+json", []byte(patch), metav1.PatchOptions{})
			return err
		}
		return steps.Every(
			told.expect(ctx, "added three"),
			paint("one", "green"), paint("three", "blue"), paint("three", "red"), paint("one", "red"),
			told.expect(ctx, "deleted three red", "added three"),
		)
	})
}

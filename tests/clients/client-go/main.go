// The client-go client: what controllers and tools written with client-go do to a cluster, a step a line.
// KUBECONFIG leads to the cluster, IMAGE is an image with busybox that its node has.
package main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"xebec/clients/steps"
)

const namespace = "client-go"

// cluster is what the steps share.
type cluster struct {
	config *rest.Config
	// clients speaks protobuf, as controllers do.
	clients kubernetes.Interface
	image   string
	// protobufs and others count answers by what they were written in.
	protobufs, others atomic.Int64
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := &cluster{image: os.Getenv("IMAGE")}
	steps.Do("a client from a kubeconfig", c.connect)
	steps.Do("a namespace", func() error { return c.makeNamespace(ctx) })
	discovery(ctx, c)
	informers(ctx, c)
	lists(ctx, c)
	writes(ctx, c)
	election(ctx, c)
	containers(ctx, c)
	access(ctx, c)
	steps.Do("all typed answers were protobuf", func() error {
		return steps.Every(
			steps.Equal("answers in another form", c.others.Load(), 0),
			steps.Equal("more than 100 in protobuf", c.protobufs.Load() > 100, true),
		)
	})
	steps.Do("the namespace goes with all in it", func() error { return c.dropNamespace(ctx) })
	steps.End()
}

func (c *cluster) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	c.config = config
	typed := rest.CopyConfig(config)
	typed.ContentType = "application/vnd.kubernetes.protobuf"
	typed.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	typed.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{next, c} })
	c.clients, err = kubernetes.NewForConfig(typed)
	return err
}

// counting looks at what answers about objects are written in. Versions and documents have forms of their own.
type counting struct {
	next http.RoundTripper
	c    *cluster
}

func (t counting) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(request)
	path := request.URL.Path
	if err != nil || !strings.Contains(path, "/namespaces") && !strings.Contains(path, "reviews") {
		return answer, err
	}
	switch answer.Header.Get("Content-Type") {
	case "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf;stream=watch":
		t.c.protobufs.Add(1)
	case "application/json":
		t.c.others.Add(1)
	}
	return answer, nil
}

func (c *cluster) makeNamespace(ctx context.Context) error {
	made, err := c.clients.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"made-by": "client-go"}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// The controllers give it what pods need.
	account := func(ctx context.Context) error {
		_, err := c.clients.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	return steps.Every(
		steps.Equal("phase", made.Status.Phase, corev1.NamespaceActive),
		steps.Equal("label of its name", made.Labels["kubernetes.io/metadata.name"], namespace),
		steps.Eventually(ctx, 20*time.Second, account),
	)
}

func (c *cluster) dropNamespace(ctx context.Context) error {
	if err := c.clients.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return steps.Eventually(ctx, time.Minute, func(ctx context.Context) error {
		left, err := c.clients.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return steps.Every(err, steps.Equal("state", string(left.Status.Phase), "gone"))
	})
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	streaming "k8s.io/streaming/pkg/httpstream"

	"xebec/clients/steps"
)

// intstrOf is a port by number.
func intstrOf(port int) intstr.IntOrString { return intstr.FromInt(port) }

// containers: a pod that runs, what it says, what is run in it, ports of it, its eviction.
func containers(ctx context.Context, c *cluster) {
	pods := c.clients.CoreV1().Pods(namespace)
	const script = `echo first; echo second; mkdir -p /w; echo from the pod >/w/index.html; httpd -p 8080 -h /w; trap 'exit 0' TERM; while true; do sleep 1; done`
	steps.Do("a pod runs", func() error {
		grace := int64(1)
		_, err := pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "worker", Labels: map[string]string{"app": "worker"}},
			Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: &grace,
				Containers: []corev1.Container{{
					Name: "c", Image: c.image, Command: []string{"sh", "-c", script},
					ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstrOf(8080)}}},
				}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		watcher, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", "worker").String()})
		if err != nil {
			return err
		}
		defer watcher.Stop()
		limit := time.After(time.Minute)
		for {
			select {
			case event := <-watcher.ResultChan():
				pod, ok := event.Object.(*corev1.Pod)
				if !ok {
					return fmt.Errorf("the watch ended with %v", event)
				}
				for _, condition := range pod.Status.Conditions {
					if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
						return steps.Equal("an address", pod.Status.PodIP != "", true)
					}
				}
			case <-limit:
				return errors.New("it is not ready after a minute")
			}
		}
	})
	steps.Do("logs: all, the tail, with times", func() error {
		logs := func(options corev1.PodLogOptions) string {
			text, err := pods.GetLogs("worker", &options).DoRaw(ctx)
			if err != nil {
				return err.Error()
			}
			return string(text)
		}
		one := int64(1)
		stamped := strings.Fields(logs(corev1.PodLogOptions{Timestamps: true, TailLines: &one}))
		if len(stamped) != 2 {
			return fmt.Errorf("with times: %q", stamped)
		}
		_, err := time.Parse(time.RFC3339Nano, stamped[0])
		return steps.Every(err,
			steps.Equal("all", logs(corev1.PodLogOptions{}), "first\nsecond\n"),
			steps.Equal("tail", logs(corev1.PodLogOptions{TailLines: &one}), "second\n"),
		)
	})
	steps.Do("logs that are followed until nobody reads on", func() error {
		short, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := pods.GetLogs("worker", &corev1.PodLogOptions{Follow: true}).Stream(short)
		if err != nil {
			return err
		}
		defer stream.Close()
		got := make([]byte, len("first\nsecond\n"))
		if _, err := io.ReadFull(stream, got); err != nil {
			return err
		}
		return steps.Equal("followed", string(got), "first\nsecond\n")
	})

	command := func(stdin bool, words ...string) *url.URL {
		return c.clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name("worker").SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Container: "c", Command: words, Stdin: stdin, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	}
	overWebSocket := func(url *url.URL) (remotecommand.Executor, error) {
		return remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, url.String())
	}
	overSPDY := func(url *url.URL) (remotecommand.Executor, error) {
		return remotecommand.NewSPDYExecutor(c.config, http.MethodPost, url)
	}
	fallback := func(url *url.URL) (remotecommand.Executor, error) {
		spdy, err := overSPDY(url)
		if err != nil {
			return nil, err
		}
		// What does not upgrade makes it fall back.
		plain := *url
		plain.Path = "/version"
		socket, err := overWebSocket(&plain)
		if err != nil {
			return nil, err
		}
		return remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool { return streaming.IsUpgradeFailure(err) })
	}
	for _, way := range []struct {
		name string
		open func(*url.URL) (remotecommand.Executor, error)
	}{{"over WebSocket", overWebSocket}, {"over SPDY", overSPDY}, {"over SPDY, where WebSocket fails", fallback}} {
		steps.Do("exec "+way.name+": input, both outputs, exit code", func() error {
			executor, err := way.open(command(true, "sh", "-c", "cat; echo wrong >&2; exit 7"))
			if err != nil {
				return err
			}
			input := strings.Repeat("0123456789abcdef", 20000)
			var out, wrong bytes.Buffer
			err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &out, Stderr: &wrong})
			var exit utilexec.CodeExitError
			if !errors.As(err, &exit) {
				return fmt.Errorf("no exit code: %v", err)
			}
			return steps.Every(
				steps.Equal("exit code", exit.Code, 7),
				steps.Equal("bytes out", out.Len(), len(input)),
				steps.Equal("the same", out.String() == input, true),
				steps.Equal("errors", wrong.String(), "wrong\n"),
			)
		})
	}

	forward := c.clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name("worker").SubResource("portforward").URL()
	spdyDialer := func() (httpstream.Dialer, error) {
		transport, upgrader, err := spdy.RoundTripperFor(c.config)
		return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, forward), err
	}
	for _, way := range []struct {
		name string
		dial func() (httpstream.Dialer, error)
	}{
		{"over SPDY", spdyDialer},
		{"over SPDY in WebSocket", func() (httpstream.Dialer, error) { return portforward.NewSPDYOverWebsocketDialer(forward, c.config) }},
	} {
		steps.Do("port-forward "+way.name+", several connections", func() error {
			dialer, err := way.dial()
			if err != nil {
				return err
			}
			stop, ready := make(chan struct{}), make(chan struct{})
			var said bytes.Buffer
			forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, &said)
			if err != nil {
				return err
			}
			ended := make(chan error, 1)
			go func() { ended <- forwarder.ForwardPorts() }()
			select {
			case <-ready:
			case err := <-ended:
				return fmt.Errorf("it ended: %w", err)
			}
			ports, err := forwarder.GetPorts()
			if err != nil {
				return err
			}
			for range 5 {
				// A connection each.
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
				answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
				if err != nil {
					return err
				}
				body, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err := steps.Every(err, steps.Equal("page", string(body), "from the pod\n")); err != nil {
					return err
				}
			}
			close(stop)
			return steps.Every(<-ended, steps.Equal("complaints", said.String(), ""))
		})
	}
	steps.Do("through the API server's proxy", func() error {
		page, err := pods.ProxyGet("http", "worker", "8080", "/", nil).DoRaw(ctx)
		return steps.Every(err, steps.Equal("page", string(page), "from the pod\n"))
	})
	steps.Do("an ephemeral container joins it", func() error {
		pod, err := pods.Get(ctx, "worker", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "look", Image: c.image, Command: []string{"sh", "-c", "wget -qO- http://127.0.0.1:8080/"}},
		})
		if _, err := pods.UpdateEphemeralContainers(ctx, "worker", pod, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return steps.Eventually(ctx, 30*time.Second, func(ctx context.Context) error {
			said, err := pods.GetLogs("worker", &corev1.PodLogOptions{Container: "look"}).DoRaw(ctx)
			return steps.Every(err, steps.Equal("it saw", string(said), "from the pod\n"))
		})
	})
	steps.Do("an eviction waits for a disruption budget, and goes through without it", func() error {
		one := intstrOf(1)
		budgets := c.clients.PolicyV1().PodDisruptionBudgets(namespace)
		_, err := budgets.Create(ctx, &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: "worker"},
			Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "worker"}}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		err = steps.Eventually(ctx, 20*time.Second, func(ctx context.Context) error {
			budget, err := budgets.Get(ctx, "worker", metav1.GetOptions{})
			return steps.Every(err, steps.Equal("healthy by the controller's count", budget.Status.CurrentHealthy, 1))
		})
		if err != nil {
			return err
		}
		evict := func() error {
			return pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "worker", Namespace: namespace}})
		}
		if err := evict(); !apierrors.IsTooManyRequests(err) || !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
			return fmt.Errorf("not held back by the budget: %v", err)
		}
		if err := steps.Every(budgets.Delete(ctx, "worker", metav1.DeleteOptions{}), evict()); err != nil {
			return err
		}
		return steps.Eventually(ctx, 30*time.Second, func(ctx context.Context) error {
			_, err := pods.Get(ctx, "worker", metav1.GetOptions{})
			return steps.Equal("gone", apierrors.IsNotFound(err), true)
		})
	})
}

package main

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"xebec/clients/steps"
)

// election: two candidates for a Lease; the first leads, hands over, and the second leads.
func election(ctx context.Context, c *cluster) {
	leading, stopped := make(chan string, 2), make(chan string, 2)
	candidate := func(name string) context.CancelFunc {
		ctx, resign := context.WithCancel(ctx)
		lock := &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "leader", Namespace: namespace},
			Client:     c.clients.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		}
		go leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: lock, ReleaseOnCancel: true, Name: name,
			LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 500 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { leading <- name },
				OnStoppedLeading: func() { stopped <- name },
			},
		})
		return resign
	}
	next := func(from chan string) string {
		select {
		case name := <-from:
			return name
		case <-time.After(15 * time.Second):
			return "nobody"
		}
	}
	holder := func() (string, int32) {
		lease, err := c.clients.CoordinationV1().Leases(namespace).Get(ctx, "leader", metav1.GetOptions{})
		if err != nil {
			return err.Error(), 0
		}
		return *lease.Spec.HolderIdentity, *lease.Spec.LeaseTransitions
	}
	var resign context.CancelFunc
	steps.Do("a candidate leads, and holds the Lease", func() error {
		resign = candidate("first")
		name := next(leading)
		held, _ := holder()
		return steps.Every(steps.Equal("leader", name, "first"), steps.Equal("holder", held, "first"))
	})
	steps.Do("a second waits; the first hands over, and the second leads", func() error {
		defer candidate("second")()
		select {
		case name := <-leading:
			return steps.Equal("second leader", name, "none")
		case <-time.After(2 * time.Second):
		}
		began := time.Now()
		resign()
		out, in := next(stopped), next(leading)
		held, transitions := holder()
		return steps.Every(
			steps.Equal("who stopped", out, "first"), steps.Equal("who leads", in, "second"),
			steps.Equal("holder", held, "second"), steps.Equal("transitions", transitions > 0, true),
			steps.Equal("by being handed over, not by waiting for the end", time.Since(began) < 5*time.Second, true),
		)
	})
}

// incluster is what runs in a pod of the end-to-end test: a program as people write them with client-go,
// which finds the cluster by its in-cluster configuration and says which pods of its namespace it sees.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace := os.Getenv("NAMESPACE")

	// Once as a list, once through an informer.
	pods, err := clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("the informer of pods does not sync: %w", ctx.Err())
	}
	for _, pod := range pods.Items {
		_, exists, err := informer.GetStore().GetByKey(pod.Namespace + "/" + pod.Name)
		if err != nil {
			return err
		}
		fmt.Printf("pod %s cached=%t\n", pod.Name, exists)
	}
	version, err := clients.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	fmt.Printf("%d pods in %s, served by %s\n", len(pods.Items), namespace, version.GitVersion)
	return nil
}

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"

	"xebec/clients/steps"
)

// access: accounts, tokens, roles, reviews, impersonation, events.
func access(ctx context.Context, c *cluster) {
	core := c.clients.CoreV1()
	const account = "reader"
	const user = "system:serviceaccount:" + namespace + ":" + account
	var token string
	steps.Do("a service account with a role", func() error {
		_, noAccount := core.ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
		_, noRole := c.clients.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Name: account},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}}},
		}, metav1.CreateOptions{})
		_, noBinding := c.clients.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: account},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: namespace}},
		}, metav1.CreateOptions{})
		return steps.Every(noAccount, noRole, noBinding)
	})
	steps.Do("a token for ten minutes", func() error {
		seconds := int64(600)
		made, err := core.ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		token = made.Status.Token
		left := time.Until(made.Status.ExpirationTimestamp.Time)
		return steps.Equal("it ends in ten minutes", left > 9*time.Minute && left <= 10*time.Minute, true)
	})
	steps.Do("a TokenReview knows it, and not another", func() error {
		review := func(token string) (*authenticationv1.TokenReview, error) {
			return c.clients.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
		}
		good, err := review(token)
		if err != nil {
			return err
		}
		head, rest, _ := strings.Cut(token, ".")
		bad, err := review(head + ".x" + rest)
		if err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("authenticated", good.Status.Authenticated, true),
			steps.Equal("user", good.Status.User.Username, user),
			steps.Equal("groups", fmt.Sprint(good.Status.User.Groups), "[system:serviceaccounts system:serviceaccounts:"+namespace+" system:authenticated]"),
			steps.Equal("another", bad.Status.Authenticated, false),
		)
	})
	steps.Do("its bearer may what the role says and no more", func() error {
		config := rest.AnonymousClientConfig(c.config)
		config.BearerToken = token
		bearer, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		maps, err := bearer.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		self, err := bearer.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		_, secrets := bearer.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
		config.BearerToken += "x"
		forged, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		_, unknown := forged.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
		return steps.Every(
			steps.Equal("config maps", len(maps.Items) > 0, true),
			steps.Equal("who it is", self.Status.UserInfo.Username, user),
			steps.Equal("secrets are forbidden", apierrors.IsForbidden(secrets), true),
			steps.Equal("a forged token is nobody's", apierrors.IsUnauthorized(unknown), true),
		)
	})
	steps.Do("SubjectAccessReview, its forms for oneself and for a namespace", func() error {
		may := func(verb, resource string) string {
			attributes := &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: resource}
			review, err := c.clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: attributes},
			}, metav1.CreateOptions{})
			if err != nil {
				return err.Error()
			}
			local, err := c.clients.AuthorizationV1().LocalSubjectAccessReviews(namespace).Create(ctx, &authorizationv1.LocalSubjectAccessReview{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace},
				Spec:       authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: attributes},
			}, metav1.CreateOptions{})
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(review.Status.Allowed, local.Status.Allowed)
		}
		self, err := c.clients.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		return steps.Every(
			steps.Equal("get configmaps", may("get", "configmaps"), "true true"),
			steps.Equal("delete configmaps", may("delete", "configmaps"), "false false"),
			steps.Equal("the administrator may all", self.Status.Allowed, true),
		)
	})
	steps.Do("impersonation, with what the rules of somebody else are", func() error {
		config := rest.CopyConfig(c.config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
		other, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		rules, err := other.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
			Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		var found int
		for _, rule := range rules.Status.ResourceRules {
			if fmt.Sprint(rule.Resources) == "[configmaps]" && fmt.Sprint(rule.Verbs) == "[get list]" {
				found++
			}
		}
		return steps.Every(steps.Equal("the role's rule", found, 1), steps.Equal("incomplete", rules.Status.Incomplete, false))
	})
	steps.Do("an event recorder's events are there, counted as a series", func() error {
		broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: c.clients.EventsV1()})
		if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
			return err
		}
		defer broadcaster.Shutdown()
		about, err := core.ConfigMaps(namespace).Get(ctx, "owned", metav1.GetOptions{})
		if err != nil {
			return err
		}
		recorder := broadcaster.NewRecorder(scheme.Scheme, "client-go-client")
		for range 3 {
			recorder.Eventf(about, nil, corev1.EventTypeNormal, "Looked", "Looking", "looked at %s", about.Name)
		}
		return steps.Eventually(ctx, 15*time.Second, func(ctx context.Context) error {
			list, err := c.clients.EventsV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=Looked,regarding.name=owned"})
			if err != nil || len(list.Items) != 1 {
				return steps.Every(err, steps.Equal("events", len(list.Items), 1))
			}
			event := list.Items[0]
			return steps.Every(
				steps.Equal("note", event.Note, "looked at owned"),
				steps.Equal("controller", event.ReportingController, "client-go-client"),
			)
		})
	})
}

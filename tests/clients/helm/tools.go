//go:build tools

// Package helm pins the helm whose work the script beside this checks.
package helm

import _ "helm.sh/helm/v4/cmd/helm"

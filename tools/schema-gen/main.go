// Command schema-gen writes the tables of facts that crate `api` reads: what built-in types are made of
// (types.txt), which kinds are registered (kinds.txt) and which resources v1.37 serves (resources.txt); and what
// crate `apiserver` says of types in words (prose.txt.gz, see prose.go).
//
// It reflects over the Go types and joins what only the published OpenAPI and discovery documents tell.
// Building Xebec does not need it; run it when the target version of Kubernetes changes:
//
//	cd tools/schema-gen && go run . ../../crates/api/tables ../../crates/apiserver/tables
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kubernetesVersion is the module whose `api` folder is read (as files only).
const kubernetesVersion = "v1.37.2"

func main() {
	log.SetFlags(0)
	source := flag.String("kubernetes", "", "folder of k8s.io/kubernetes "+kubernetesVersion+" (default: in the module cache)")
	golden := flag.Bool("golden", false, "write golden files for the tests instead of the tables")
	cases := flag.String("compare", "", "file of cases to compare with Go (see compare.go)")
	flag.Parse()
	if *cases != "" {
		compare(*cases, registered())
		return
	}
	if flag.NArg() == 0 || (flag.NArg() == 1 && !*golden) {
		log.Fatal("usage: schema-gen [-kubernetes FOLDER] OUTPUT-FOLDER PROSE-FOLDER")
	}
	if *source == "" {
		cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
		check(err)
		*source = filepath.Join(strings.TrimSpace(string(cache)), "k8s.io", "kubernetes@"+kubernetesVersion)
	}

	if *golden {
		writeGolden(flag.Arg(0), registered())
		return
	}
	openapi := readOpenAPI(*source)
	scheme := registered()
	types := collect(scheme, openapi)

	write(flag.Arg(0), "types.txt", types.table())
	write(flag.Arg(0), "kinds.txt", kindTable(scheme))
	write(flag.Arg(0), "resources.txt", resourceTable(*source))
	writeCompressed(flag.Arg(1), "prose.txt.gz", proseTable(*source, func(name string) bool {
		_, published := openapi[name]
		return published || types.structs[name] != nil
	}))
}

func write(folder, name, text string) {
	header := fmt.Sprintf("# Written by tools/schema-gen from Kubernetes %s; see there for what the columns are.\n", kubernetesVersion)
	check(os.WriteFile(filepath.Join(folder, name), []byte(header+text), 0o644))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

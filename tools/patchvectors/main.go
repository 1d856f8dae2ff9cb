// Command patchvectors asks upstream's own libraries what comes of patches and writes the answers
// as vectors for the tests of crates/api: one JSON array a line, compact, made from a fixed seed.
//
//	go run . [-seed N] [-scale N] OPENAPI_V3_DIR OUTPUT_DIR
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"log"
	"math/rand"
	"os"
	"path/filepath"
)

// scale multiplies the number of vectors.
var scale int

type out struct {
	buffer bytes.Buffer
	count  int
}

// line writes one vector. HTML escaping is off so that the files stay readable.
func (o *out) line(values ...any) {
	encoder := json.NewEncoder(&o.buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(values); err != nil {
		log.Fatal(err)
	}
	o.count++
}

func (o *out) save(dir, name string) {
	if err := os.WriteFile(filepath.Join(dir, name), o.buffer.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
	log.Printf("%s: %d vectors, %d KiB", name, o.count, o.buffer.Len()/1024)
}

func main() {
	log.SetFlags(0)
	seed := flag.Int64("seed", 1, "where chance starts")
	flag.IntVar(&scale, "scale", 1, "how many times the committed number of vectors")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: patchvectors [-seed N] [-scale N] OPENAPI_V3_DIR OUTPUT_DIR")
	}
	openapi, dir := flag.Arg(0), flag.Arg(1)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	strategicVectors(rand.New(rand.NewSource(*seed+0))).save(dir, "strategic.jsonl")
	jsonPatchVectors(rand.New(rand.NewSource(*seed+1))).save(dir, "json.jsonl")
	typedVectors(rand.New(rand.NewSource(*seed+2))).save(dir, "typed.jsonl")
	managedVectors(rand.New(rand.NewSource(*seed+3)), openapi).save(dir, "managed.jsonl")
}

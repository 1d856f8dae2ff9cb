package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"reflect"
	"strings"

	kjson "sigs.k8s.io/json"
)

// compare holds what Xebec makes of objects against what Go makes of them. The file comes from
//
//	XEBEC_CASES=/tmp/cases cargo test -p api --test round_trip -- --ignored cases_for_upstream
//
// and has a line a case: group, version, kind, object, then what was said of it and the result.
func compare(file string, kinds []kind) {
	types := map[string]reflect.Type{}
	for _, one := range kinds {
		types[one.group+" "+one.version+" "+one.name] = one.goType
	}
	input, err := os.Open(file)
	check(err)
	defer input.Close()
	scanner := bufio.NewScanner(input)
	scanner.Buffer(nil, 1<<24)
	cases, different := 0, 0
	for scanner.Scan() {
		columns := strings.SplitN(scanner.Text(), "\t", 6)
		object := reflect.New(types[strings.Join(columns[:3], " ")]).Interface()
		said, result := decoded(columns[3], object)
		if said != columns[4] || result != columns[5] {
			different++
			if different <= 20 {
				fmt.Printf("%v\n  object %s\n  Go    %s | %s\n  Xebec %s | %s\n", columns[:3], columns[3], said, result, columns[4], columns[5])
			}
		}
		cases++
	}
	check(scanner.Err())
	if different > 0 {
		log.Fatalf("%d of %d cases differ", different, cases)
	}
	fmt.Printf("%d cases agree\n", cases)
}

func decoded(text string, object any) (said, result string) {
	strict, err := kjson.UnmarshalStrict([]byte(text), object)
	if err != nil {
		return "error", err.Error()
	}
	var complaints []string
	for _, one := range strict {
		complaints = append(complaints, one.Error())
	}
	written, err := json.Marshal(object)
	check(err)
	return strings.Join(complaints, ", "), string(written)
}

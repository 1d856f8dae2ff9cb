package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// prose is what OpenAPI says of types and fields in words, as a table:
//
//	TYPE            TEXT
//	.FIELD          TEXT  VALUES
//
// Columns are separated by tabs. TEXT has its newlines, tabs and backslashes escaped; a text that was there before
// is `=N`, the number of the texts before it. VALUES are the possible ones as JSON, where they are named; those of
// an array's items stand behind `[]`.
type prose struct {
	out  strings.Builder
	seen map[string]int
}

// proseTable reads the definitions that the API server is built with, as source: the published documents lack the
// possible values. Types that `wanted` does not have are left out.
func proseTable(source string, wanted func(name string) bool) string {
	path := filepath.Join(source, "pkg", "generated", "openapi", "zz_generated.openapi.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	check(err)
	packages := map[string]string{}
	for _, spec := range file.Imports {
		if spec.Name != nil {
			packages[spec.Name.Name] = unquote(spec.Path)
		}
	}
	schemas := map[string]*ast.CompositeLit{}
	names := map[string]string{}
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(function.Body, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.KeyValueExpr:
				if name, maker := registration(node, packages); maker != "" {
					names[name] = maker
				}
			case *ast.CompositeLit:
				if isSelector(node.Type, "spec", "SchemaProps") && schemas[function.Name.Name] == nil {
					schemas[function.Name.Name] = node
				}
			}
			return true
		})
	}
	table := prose{seen: map[string]int{}}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if schema := schemas[names[name]]; schema != nil && wanted(name) {
			table.add(name, schema)
		}
	}
	return table.out.String()
}

// registration takes `corev1.Pod{}.OpenAPIModelName(): schema_…_Pod(ref)` apart.
func registration(pair *ast.KeyValueExpr, packages map[string]string) (name, maker string) {
	key, ok := pair.Key.(*ast.CallExpr)
	value, ok2 := pair.Value.(*ast.CallExpr)
	if !ok || !ok2 {
		return "", ""
	}
	method, ok := key.Fun.(*ast.SelectorExpr)
	function, ok2 := value.Fun.(*ast.Ident)
	if !ok || !ok2 {
		return "", ""
	}
	literal, ok := method.X.(*ast.CompositeLit)
	if !ok {
		return "", ""
	}
	kind, ok := literal.Type.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	host, rest, _ := strings.Cut(packages[kind.X.(*ast.Ident).Name], "/")
	parts := strings.Split(host, ".")
	slices.Reverse(parts)
	return strings.Join(append(parts, strings.Split(rest, "/")...), ".") + "." + kind.Sel.Name, function.Name
}

func (p *prose) add(name string, schema *ast.CompositeLit) {
	p.line(name, schema)
	properties, _ := member(schema, "Properties").(*ast.CompositeLit)
	if properties == nil {
		return
	}
	fields := map[string]*ast.CompositeLit{}
	for _, element := range properties.Elts {
		pair := element.(*ast.KeyValueExpr)
		if props, ok := member(pair.Value.(*ast.CompositeLit), "SchemaProps").(*ast.CompositeLit); ok {
			fields[unquote(pair.Key.(*ast.BasicLit))] = props
		}
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		p.line("."+field, fields[field])
	}
}

func (p *prose) line(name string, schema *ast.CompositeLit) {
	description := ""
	if literal := member(schema, "Description"); literal != nil {
		description = unquote(literal.(*ast.BasicLit))
	}
	values := enum(schema)
	if items := itemsOf(schema); items != nil && values == "" {
		if values = enum(items); values != "" {
			values = "[]" + values
		}
	}
	if description == "" && values == "" && strings.HasPrefix(name, ".") {
		return
	}
	text := strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\t", "\\t").Replace(description)
	if number, ok := p.seen[text]; ok {
		text = "=" + strconv.Itoa(number)
	} else {
		p.seen[text] = len(p.seen)
	}
	fmt.Fprintf(&p.out, "%s\t%s", name, text)
	if values != "" {
		fmt.Fprintf(&p.out, "\t%s", values)
	}
	p.out.WriteByte('\n')
}

// itemsOf is the schema of an array's items, where it stands in the array's.
func itemsOf(schema *ast.CompositeLit) *ast.CompositeLit {
	items, ok := member(schema, "Items").(*ast.UnaryExpr)
	if !ok {
		return nil
	}
	outer, ok := member(items.X.(*ast.CompositeLit), "Schema").(*ast.UnaryExpr)
	if !ok {
		return nil
	}
	props, _ := member(outer.X.(*ast.CompositeLit), "SchemaProps").(*ast.CompositeLit)
	return props
}

func enum(schema *ast.CompositeLit) string {
	literal, ok := member(schema, "Enum").(*ast.CompositeLit)
	if !ok {
		return ""
	}
	var values []string
	for _, element := range literal.Elts {
		values = append(values, unquote(element.(*ast.BasicLit)))
	}
	text, err := json.Marshal(values)
	check(err)
	return string(text)
}

// member is the value of a literal's field.
func member(literal *ast.CompositeLit, name string) ast.Expr {
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == name {
				return pair.Value
			}
		}
	}
	return nil
}

func isSelector(expression ast.Expr, of, name string) bool {
	selector, ok := expression.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	identifier, ok := selector.X.(*ast.Ident)
	return ok && identifier.Name == of
}

func unquote(literal *ast.BasicLit) string {
	text, err := strconv.Unquote(literal.Value)
	check(err)
	return text
}

// writeCompressed writes a table that is read rarely.
func writeCompressed(folder, name, text string) {
	var out bytes.Buffer
	writer, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	check(err)
	_, err = writer.Write([]byte(text))
	check(err)
	check(writer.Close())
	check(os.WriteFile(filepath.Join(folder, name), out.Bytes(), 0o644))
}

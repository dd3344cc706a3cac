// Deploycheck checks what deploys the worker, and makes the schemas that manifests are checked against. It is a module of
// its own, for the sake of the worker's dependencies.
//
//	deploycheck dockerfile FILE        what BuildKit itself warns of
//	deploycheck compose FILE…          each file by Compose's own loader, schema and consistency rules
//	deploycheck schemas DIR MODULE…    schemas for kubeconform, from the sources of Kubernetes and of custom resources
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "deploycheck:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("found %d arguments, want dockerfile, compose or schemas with theirs", len(args))
	}
	switch args[0] {
	case "dockerfile":
		return dockerfile(args[1])
	case "compose":
		for _, path := range args[1:] {
			if err := compose(ctx, path); err != nil {
				return err
			}
		}
		return nil
	case "schemas":
		return schemas(args[1], args[2:])
	default:
		return fmt.Errorf("found %q, want dockerfile, compose or schemas", args[0])
	}
}

// Ipqs-worker enriches OpenCTI's observables with what IPQualityScore knows of them. See the README, or run it with
// --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, stop, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}, os.Environ())
	os.Exit(code)
}

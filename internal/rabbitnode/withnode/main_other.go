//go:build !unix

// Command withnode runs another command with a RabbitMQ node. It needs a Unix system.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "withnode needs a Unix system; set TEST_AMQP_URL and run the command itself")
	os.Exit(125)
}

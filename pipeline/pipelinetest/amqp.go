package pipelinetest

import (
	"os"
	"testing"
)

// AMQPURL returns the address of the RabbitMQ that tests may use, from TEST_AMQP_URL. Without one the test is skipped, or
// fails where CI=true. Tests share the node: they use names of their own and delete what they made.
func AMQPURL(tb testing.TB) string {
	tb.Helper()
	url := os.Getenv("TEST_AMQP_URL")
	if url != "" {
		return url
	}
	const missing = "TEST_AMQP_URL is not set: run the tests with `go run ./internal/rabbitnode/withnode -- go test ./...`"
	if os.Getenv("CI") == "true" {
		tb.Fatal(missing)
	}
	tb.Skip(missing)
	return ""
}

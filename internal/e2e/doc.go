// Package e2e holds the tests of the whole worker: the program as a process of its own, a real RabbitMQ between its hops,
// and stand-ins for OpenCTI, IPQS and an OpenTelemetry collector around it.
package e2e

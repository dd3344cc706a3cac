// Package pipelinetest has what the tests of transports share.
//
// [Conformance] is the list of promises that every [pipeline.Transport] keeps, as tests; [Watermill] runs Watermill's own
// suite for Pub/Subs on it. [AMQPURL] finds the RabbitMQ that tests use, and [FaultProxy] stands between a client and a
// server, to cut, stall and refuse connections.
package pipelinetest

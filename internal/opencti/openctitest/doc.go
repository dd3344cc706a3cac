// Package openctitest is a stand-in for an OpenCTI platform: as much of one as an enrichment connector can see, behaving as
// one chosen release. Tests and the demo talk to it; nothing in it is a mock that answers what the test hopes for.
//
//	the API       graphql.go, schema.graphql, resolver.go   validates each document against the release's own schema,
//	                                                        then executes it; refuses what that release would refuse
//	jobs          job.go        [Platform.Enrich] makes the work and publishes the message as that release words it
//	works         work.go       counts and closes works by that release's rules, the harmful ones included
//	the importer  importer.go   the platform's worker: takes published objects, checks them, reports each to its work
//	whole bundles bundle.go     stixBundlePush, and the worker that splits what came that way
//	callbacks     callback.go   the worker that posts jobs to a connector that does not consume its queue
//	the broker    broker.go     [Memory] in this process, [AMQP] on a real RabbitMQ with the real topology
//
// What differs between releases is one line in schema.graphql (its comments carry the releases) or one field of rules
// (rules.go). Both are written apart from the client's own table, so that a mistake there shows here.
//
// A [Platform] is an http.Handler and safe for concurrent use. Close ends its goroutines. What it notices that no well-behaved
// connector does (an object without a sequence number, a base64 that is none) it keeps in [Platform.Complaints], which a test
// asserts to be empty.
package openctitest

// Package openctitest is a fake OpenCTI platform for tests and the demo. It behaves as one chosen release, as far as an
// enrichment connector can see it.
//
//	API             graphql.go, schema.graphql, resolver.go, entity.go   validates each document against the release's schema and
//	                                                                     executes it; refuses what that release refuses
//	jobs            job.go        [Platform.Enrich] makes the work and publishes the message in the form of that release
//	works           work.go       counts and closes works by that release's rules, including the harmful ones
//	importer        importer.go   takes published objects, checks them, and reports each to its work
//	graph           graph.go, incoming.go, upsert.go, decay.go           entities, relationships and external references, and what
//	                                                                     an import changes in them; see below
//	countries       country.go    a part of the platform's own data set
//	whole bundles   bundle.go     stixBundlePush, and the worker that splits such a bundle
//	HTTP callback   callback.go   the worker that posts jobs to a connector that does not consume its queue
//	broker          broker.go     [Memory] in this process, [AMQP] on a RabbitMQ with the platform's topology
//
// A difference between releases is one line in schema.graphql (its comments name the releases) or one field of rules
// (rules.go). Both are separate from the client's own table, so that a mistake there makes a test fail.
//
// An import treats existing objects as the platform's upsert does: a value is replaced if the confidence that applies is at least
// the existing one, an author only if it is higher; an empty value is always filled; lists only grow; a marking is replaced by a
// higher one of its type. Observables have no confidence, so nothing protects them. An indicator decays and takes each score of a
// source once. [Platform.Write] applies the same rules to other sources, and [Platform.Graph] returns a copy of all objects for
// comparisons. A draft has copies of what is changed in it.
//
// A [Platform] is an http.Handler and safe for concurrent use. Close ends its goroutines. [Platform.Complaints] lists what a
// correct connector does not do, such as sending an object without a sequence number; tests assert that it is empty.
package openctitest

// Package rabbitnode runs a private RabbitMQ node for tests.
//
// A [Node] listens on loopback only, on ports that were free when it was made, with a directory, an Erlang cookie and a
// port mapper (epmd) of its own. It neither needs nor disturbs a RabbitMQ that the machine may run as a service, and
// several nodes can run at once.
//
//	node, err := rabbitnode.Start(ctx, rabbitnode.Options{})
//	...
//	defer node.Close()
//	connect(node.URL())
//
// [Node.Kill] takes the node's power away, [Node.Stop] ends it in order; [Node.Start] brings it back on the same port with
// the data it had. Everything that was started ends with the process that started it, however that process ends: a small
// shell holds the other end of a pipe and cleans up when the pipe closes.
//
// [StartCluster] makes several nodes that are one broker, each of which can be killed and started again.
//
// [Options].TLS makes a node listen for TLS too, with whatever certificate a test wants to see refused.
//
// The command withnode beside this package runs any command with a node's address in TEST_AMQP_URL.
package rabbitnode

// Package redisnode runs a private Redis for tests.
//
// A [Server] listens on loopback only, on a port that was free when it was made, and keeps everything in memory. It neither
// needs nor disturbs a Redis that the machine may run as a service. It is a redis-server or a valkey-server, whichever is
// installed; the command withnode of package rabbitnode installs one where it may.
//
//	server, err := redisnode.Start(ctx)
//	...
//	defer server.Close()
//	connect(server.URL())
//
// [Server.Kill] takes its power away, and with it all that it knew; [Server.Start] brings it back on the same port. It ends
// with the process that started it, however that one ends: a small shell holds the other end of a pipe.
package redisnode

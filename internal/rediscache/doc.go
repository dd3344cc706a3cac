// Package rediscache shares between processes what internal/credit keeps: answers, counts of credits, the pace. It needs a
// Redis 5 or newer, or a Valkey, and one key space in it; several deployments and accounts may share one.
//
// Redis away costs nothing but the sharing. Everything here has a counterpart in memory that is kept up to date alongside,
// and takes over when Redis does not answer within two seconds; a circuit breaker has it asked again after five seconds
// only. The log says so once, and once when it is back. What was counted apart meanwhile is not added up afterwards.
//
// What more than one process could do at once is a script, which Redis runs as one: taking credits within the budget, the
// next place in the pace, giving a claim back.
package rediscache

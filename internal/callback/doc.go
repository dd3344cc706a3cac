// Package callback takes OpenCTI's jobs over HTTP, for a connector that does not reach the queue they lie in: a worker of
// OpenCTI's consumes that queue and posts each job here.
//
//	OpenCTI ─▶ listen queue ─▶ OpenCTI's worker ── POST ─▶ Server ─▶ Options.Accept
//	                               │                          │
//	                               └── acknowledges on 202 ◀──┘
//
// The worker acknowledges a job on 202 and puts it back into its queue on anything else, also when it waits for more than
// 300 seconds. So the one rule here is that 202 is said once the job is safe and not before; all else ([Server] says which
// status means what) leaves the job where it is.
//
// Who posts is known by a bearer token. Up to OpenCTI 6.9 it is the connector's own ([Token]); from 7.260224 on a JWT of an
// hour, signed by the platform with one of the keys that a registration tells ([Keys]).
package callback

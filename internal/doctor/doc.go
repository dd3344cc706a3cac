// Package doctor finds out why a worker could not work, before it is started or beside it: it goes every way that the
// worker would go, as far as that changes nothing, and says what it found and what to do about it.
//
//	configuration   every option, and its warnings
//	opencti         is it there, is its certificate trusted, is it new enough
//	token           whom it belongs to, what they may do and see, how sure they may be
//	registration    does it exist, and is it what the configuration says; it is read, never sent
//	broker          connection, TLS, login
//	permissions     may queues be made, written and read; may jobs be taken; may results be published
//	queues          are they there, and as the worker would declare them
//	ipqs            the account: key and credits, without spending one
//	cache           the Redis that processes share, if there is one
//	clock           against the clocks of OpenCTI and IPQS
//
// What a check needs and another one found broken is not asked for again: the check is skipped and says why. The queue and
// the message that the permissions are tried with are the doctor's own: nobody gets to see them, and they go with the connection.
// No finding quotes a secret.
package doctor

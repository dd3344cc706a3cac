// Package credit sees to it that IPQS is asked as seldom as it may be: every question costs money.
//
// A [Keeper] is a [ipqs.Lookuper] around another one. A question goes inwards through these, and stops at the first that
// knows the answer or may not go on:
//
//	[Cache]    an answer that was kept is given again; those who ask the same at the same time share one answer
//	[Limiter]  who waits for somebody goes first; no faster, and no more at once, than IPQS takes
//	[Budget]   not more credits than may be spent in a day, nor those that the account is to keep
//	next       the circuit breaker, and the client
//
// What several processes share (the answers, the day's count, the pace) is behind [Store], [Ledger] and [Pacer]. Those in
// this package are for one process; internal/rediscache has the ones for many.
//
// The report of a kept answer says when it was given (AskedAt), and that is the clock of the job: what is concluded from it
// is as old as it is, not as young as the job. Two jobs about one observable within an answer's life so make the same
// verdict of the same time.
//
// Keys of what is kept are keyed hashes (HMAC-SHA256 under the account's API key): a store shows neither an address nor a
// password to who looks at its keys, and accounts do not get each other's answers.
package credit

// Package ipqstest is an IPQualityScore to test against and to demonstrate with: it answers the endpoints for values, for
// leaks and for files the way the real one is documented to, from values alone, with nothing behind it.
//
// [NewServer] listens on a free loopback port; [Fake] is the http.Handler in it, and its Client makes requests without a
// network, in a testing/synctest bubble too. The same value always gets the same answer, in every process; only
// request_id differs from lookup to lookup, and first_seen of what is in no leak: that is the time of the lookup, as with
// the real one. All names are invented, addresses and domains are those set aside for
// documentation.
//
// Scores come from a hash of the value and spread evenly over 0–25, 26–50, 51–75 and 76–100. Some values are special:
//
//	198.51.100.0/26    2001:db8:f0::/48   VPN
//	198.51.100.64/26   2001:db8:f1::/48   TOR exit node, host tor-exit-…, score above 75
//	198.51.100.128/26  2001:db8:f2::/48   proxy on a home line
//	198.51.100.192/26  2001:db8:f3::/48   nothing known: null ASN, "N/A", coordinates too
//	e-mail addresses with  disposable, spamtrap, catchall, leaked, timeout (validity unknown), invalid, noscore
//	phone numbers ending in  00 (not valid, all null), 98 (disconnected), 99 (activity unknown)
//	URLs and domains with    phishing, malware, spam, parked, adult, redirect, shortlink, ipv6 (resolves to one),
//	                         unreachable, noscore
//	e-mail addresses, user names and passwords in leaks with  exposed, safe (in none)
//	files with               EICAR in them (two engines detect it)
//	files with names with    forever (the scan goes on for ever), immediate (its result is there at once),
//	                         inconclusive (no engine has run), noid (its scan has no request id), refused
//
// Other domains resolve to IPv4, some to IPv6 or to "N/A". Other IP addresses have an autonomous system, one in eight
// has none. An e-mail address without @ is not valid; a text that is no IP address or host name, or no URL, is refused.
//
// The key must come in the IPQS-KEY header and the value as a parameter. In the path a value is taken for a key, as the
// real one does, and refused. What the account has left is at account/{key}.
package ipqstest

// Package tracequery reads one trace from where traces are kept: from the query API of Jaeger, or from Tempo's. Both answer at
// /api/traces/{id}, and the answer says whose it is.
package tracequery

// Package telemetry makes the loggers and the tracer provider that the rest of the worker takes as plain values.
//
// Logs are log/slog, as text or as the JSON that OpenCTI's own connectors write: [NewLogger]. Watermill logs through
// [NewWatermillLogger].
//
// Traces are OpenTelemetry's, set up by its standard variables: [Tracing]. Without a collector to send them to, no span is
// ever made, which costs nothing. One job is one trace, over all hops and processes, and its id follows from the job:
// [WithJobKey] and [TraceID]. So a job that a crash makes begin anew is still the same trace, and whoever knows the job
// can tell its trace without searching.
package telemetry

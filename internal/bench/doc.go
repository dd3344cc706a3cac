// Package bench measures how fast and how cheap the worker is, and reports it in Markdown and JSON. It is no part of the
// program that is shipped; the command beside it runs it:
//
//	make bench               everything, half an hour
//	make bench BENCH=quick   a few minutes
//
// A figure that compares two things takes them in turns, in one go on one broker, at least five times each, and is the ratio
// of the medians: a machine is never equally fast twice. What a figure should reach stands beside it; whether it does is no
// matter of the exit status.
//
// The rows: the hops alone against what the bare AMQP client does with the same guarantees ([Bench.Hops]) and against
// watermill-amqp's own publisher and subscriber ([Bench.Stock]); the whole worker, a process of its own between stand-ins for
// OpenCTI and IPQS in another one ([Bench.Whole], [Bench.Tracing], [Bench.Slow], [Bench.Scale], [Bench.Latency],
// [Bench.Growth], [Bench.Manual], [Bench.Start]); the five stages without a broker ([Bench.Embedded]); and the stages one by one ([Bench.Micro]).
package bench

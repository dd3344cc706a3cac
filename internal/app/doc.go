// Package app puts the worker together: it registers with OpenCTI, connects the pipeline to what the registration leads
// to, and keeps it running until it is told to stop.
//
// [Run] is the connector. [Enrich] is the same five stages for values typed on a command line, without OpenCTI and
// without a broker. Both are constructors, an errgroup and a defer or two: there is no container and no global.
package app

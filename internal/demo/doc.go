// Package demo shows the worker at work without accounts, broker or network: in-process stand-ins answer as OpenCTI and
// IPQS are documented to, faults included, and the connector's own code ([app.Run]) enriches a few hundred observables
// on the embedded transport.
package demo

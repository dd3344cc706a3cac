// Package demo shows the worker at work without accounts, broker or network: in-process stand-ins answer as OpenCTI and
// IPQS are documented to, faults included, and the connector's own code ([app.Run]) enriches a few hundred observables
// on the embedded transport. [Serve] puts the same stand-ins on ports,
// for workers that run as processes of their own.
package demo

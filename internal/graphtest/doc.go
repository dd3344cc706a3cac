// Package graphtest tests what enrichments do to the graph of an OpenCTI that other sources write to as well. The jobs pass
// the pipeline's own stages and the client of OpenCTI; OpenCTI is the one of openctitest. There is no broker: a test decides
// when a stage runs and when an object is imported.
package graphtest

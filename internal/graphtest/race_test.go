//go:build race

package graphtest

// The race detector makes a history take ten times as long, and finds nothing in one goroutine.
const raceDetector = true

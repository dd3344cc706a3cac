// Package stages says what happens to an enrichment job: five typed functions and nothing else.
//
//	resolve  the job OpenCTI asked for   → the entity it is about, if we may and want to look it up
//	lookup   the entity's value          → what IPQS says of it, and when
//	score    that answer                 → a verdict: score, level, labels, the factors that led to it
//	bundle   entity, answer and verdict  → the STIX 2.1 bundle
//	publish  the bundle                  → OpenCTI, and the end of its work
//
// A playbook's job goes the same way and has no work: the bundle is the one that its step was given, with ours in it, and
// what OpenCTI gets is one answer to the step. Whatever goes wrong, [Ending] answers with the bundle as it came, and a job
// that was answered ([Job].Answered) is never answered again.
//
// A [Stage] is a value: its name, which sections of the [Job] it needs, which it fills, and a function. It knows no
// broker, no retry and no queue; those are the pipeline's. Resolve, lookup and publish meet the world through the small
// interfaces declared here; score and bundle are functions of the job alone, clock included (lookup stamps the time), so
// the same job makes the same bundle, byte for byte, however often it is delivered or replayed.
//
// What score and bundle decide by is apart from them, as tables: models (model.go, level.go, fact.go), and what a note shows
// (themes.go, markdown.go). One package holds it all because all of it speaks of one [Job].
//
// What can go wrong travels as a [Fault]: its class decides what the pipeline does, its reason what metrics, dead letters
// and the analyst read. Errors of the outside packages become faults in one table, in classify.go.
package stages

// Package stages holds the five typed functions that process an enrichment job.
//
//	resolve  the job OpenCTI asked for   → the entity, if it may be looked up, and what OpenCTI has of our objects about it
//	lookup   the entity's value          → the answer of IPQS, and when it was given
//	score    that answer                 → a verdict: score, level, labels, findings
//	bundle   all of these                → the objects that are missing in OpenCTI or have changed, as a STIX 2.1 bundle
//	publish  the bundle                  → OpenCTI, and the end of its work
//
// # What is written
//
// Only objects of the worker's own, and only those that are missing or differ from the [State] that resolve read. Publish reads
// it again where it is older than ten seconds or the job was delivered before, and makes the bundle again with the same function.
// An indicator of another author is linked and never sent. The score of the observable follows the [ScorePolicy], a revoked
// indicator the [RevivePolicy]. What an import cannot do (take labels and types off, revoke or restore an indicator) is in
// [Changes]. docs/graph.md lists it by object.
//
// # Playbooks
//
// A playbook's job has no work. Its bundle is the one that its step was given, with ours added by the same rules. What came with
// it keeps its bytes, except that the observable that the step is about takes our score (as the policy allows against both the
// bundle and the platform) and labels, and that an indicator of the worker's takes score, labels and types. The platform itself
// is not changed. OpenCTI gets one answer to the step: on any failure [Ending] answers with the bundle as it came, and a job that
// was answered ([Job].Answered) is never answered again.
//
// # Stages and faults
//
// A [Stage] is a value: its name, which sections of the [Job] it needs, which it fills, and a function. It knows no broker, no
// retry and no queue; those are the pipeline's. Resolve, lookup and publish use OpenCTI and IPQS through the small interfaces
// declared here. Score and bundle are functions of the job alone, clock included (lookup stamps the time), so the same job makes
// the same bundle, byte for byte.
//
// An error is a [Fault]: its class decides what the pipeline does, its reason is the label of metrics, dead letters and work
// messages. Errors of other packages become faults in one table, in classify.go.
package stages

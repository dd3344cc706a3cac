// Package deadletters is what an operator does with what the pipeline gave up: list the dead letters, read one, replay,
// drop, export and import them.
//
// A [Store] goes through the hops' poison queues one after the other, by [pipeline.Postbox], and decides for each letter
// that a [Filter] lets through what becomes of it. It never holds a letter that its queue does not: a letter leaves its
// poison queue together with its replay's arrival at its hop, or because it was dropped. So whatever interrupts it, a lost
// connection, Ctrl-C, SIGKILL, the letters and the replays together are as many as before.
//
// While a Store goes through a queue, the letters that it has seen and kept are in its hands: somebody else who looks
// through the same queue at the same time does not see them. They are back when it ends, however it ends.
//
// What a letter says comes from strangers and goes to terminals: [Show] masks what looks like a credential, and writes what
// is not printable as an escape. [Store.Export] writes letters as they are, so that [Store.Import] can put them back.
package deadletters

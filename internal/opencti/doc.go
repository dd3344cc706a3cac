// Package opencti speaks OpenCTI's connector protocol, from platform 5.4 to the newest 7.x, for one connector of type
// INTERNAL_ENRICHMENT. It imports nothing of ours and knows no broker: AMQP is the transport's business, what travels in
// it is ours.
//
// A connector's life, and where it is written:
//
//	about, register, ping       client.go, connector.go   who we are, who we talk to, that we live
//	a job message arrives       message.go                [DecodeRequest]
//	the entity is read          entity.go, tlp.go         [Client.Entity], [StrictestTLP]
//	the work gets its reports   work.go, workstate.go     [Works]: received, announced, processed or failed
//	objects are published       push.go                   [PushMessage], one object in each
//	or a playbook is answered   playbook.go               [Client.AnswerPlaybook]: never both
//
// What differs between releases is declared in one table (capability.go), chosen by the version that the platform names
// (version.go) and used everywhere else as a plain [Capabilities] value. The GraphQL documents are the files of
// operations/, one operation in each; operation.go declares in which releases each is valid.
//
// Four rules of the platform shape the API. Several jobs can share a work id, so a job is identified by work and entity
// ([Request.Key], [WorkJob]). A work counts: addExpectations, then publish, then toProcessed, in this order
// ([Works.Announce] returns before the caller publishes). From 6.8.7 to before 7.260510 the platform may forget a work's
// counters while its objects still wait, and its importer then drops them: there works are not counted at all
// ([Capabilities].Tracked). A playbook's job has no work: it is answered exactly once, with a whole bundle, even on failure;
// an answer that may have been heard is not repeated (once.go, [ErrUnsure]).
//
// Errors are [*Error] and match the sentinels of errors.go. None of them carries the token or the value of a variable.
package opencti

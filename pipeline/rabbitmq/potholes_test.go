package rabbitmq_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// potholes is what the usual ways to have Watermill on RabbitMQ stumble over (watermill 1.5.1, watermill-amqp 2.1.3), and the
// tests that show that we don't: functions, or cases of the conformance suite.
var potholes = []struct{ stumble, tests string }{
	{"a queue that somebody else made is declared anew, and refused", "TestDeclareMismatch; TestDeclareArguments; TestForeignQueueIsAwaited"},
	{"a header that is no string brings the message back for ever", "TestForeignMessages; TestUnmarshalStrangeHeaders"},
	{"so does a quorum queue's delivery count, after one nack", "TestQuorumDeliveryCount; TestDeliveryLimit"},
	{"a nacked message comes back at once, thousands of times a second", "a message that always fails does not spin; " +
		"TestAJobThatFailsForLongerWaitsOutsideOfTheHop"},
	{"a message without a UUID gets none; message-id is not read or written", "TestUnmarshalUUID; TestMarshalUUID"},
	{"a queue that is deleted hands out empty messages", "TestQueueDeleted"},
	{"an unroutable message counts as published", "TestUnroutablePublish; TestUnroutableAmongOthers"},
	{"a pool of channels is lost with the connection", "TestConnectionsLost; TestPublishOutlastsAShortLoss"},
	{"publishing without a connection fails at once", "TestPublishWhileDisconnected; TestSubscribeBeforeThereIsABroker"},
	{"a broker that blocks publishing blocks its callers for ever", "testBlocked; TestConfirmTimeout; TestStalledNetwork"},
	{"coming back takes a minute, and is a race", "TestPauses; TestConnectionsLost; TestWindowOutlivesConnections; testBrokerKilled"},
	{"a stop throws away what is in hand", "the end of the subscription drains; closing drains, and handlers may publish meanwhile; " +
		"TestAStopLetsJobsInHandFinish"},
	{"a handler that stops closes the publisher of the others", "TestATransportOutlivesThePipelineOnIt; " +
		"closing drains, and handlers may publish meanwhile"},
	{"a pipeline whose subscriptions have ended goes on, or ends as if all were well", "TestHopsThatStopByThemselvesAreAnError; TestQueueDeleted"},
	{"a message whose context has ended is never published", "a message with an ended context is published"},
	{"poisoning takes any error, and all of its text", "TestWhatCannotBeDoneIsDeadLettered; TestAStopGivesWaitingJobsBack; " +
		"TestAPoisonQueueThatRefusesDoesNotLoseTheJob"},
	{"a retry's waits are skipped by asking about them", "TestATransientFaultIsTriedAgainThenPassesOn; TestWhatTheServerAskedForIsHonoured"},
	{"a message counts as seen before it is handled", "a nacked message comes again, marked; an unsettled message comes again, marked"},
	{"throttling holds slots and knows no end; an open breaker nacks", "TestAnOutageOfAnHourCostsNothing; TestAStopDuringAPauseLosesNothing"},
	{"context and metadata get lost from message to message", "the context of a message; TestTheTraceOfAJob"},
	{"there is no order", "nothing is lost under many publishers and failures; TestALetterThatIsWrittenTwiceHasOneID"},
	{"of several messages published at once, the first are out when a later one fails", "TestUnroutableAmongOthers; TestPublishMany"},
	{"log fields are made for each message, and a channel for each publication", "BenchmarkFiveHops"},
}

// Every pothole has its tests still.
func TestPotholesAreTested(t *testing.T) {
	t.Parallel()
	var sources strings.Builder
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "pipelinetest") ||
			strings.HasSuffix(path, "potholes_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		sources.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pothole := range potholes {
		for test := range strings.SplitSeq(pothole.tests, "; ") {
			exists := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(test) + `\(|\{"` + regexp.QuoteMeta(test) + `", test`)
			if !exists.MatchString(sources.String()) {
				t.Errorf("%s: there is no test %q any more", pothole.stumble, test)
			}
		}
	}
}

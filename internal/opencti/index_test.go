package opencti_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shown is a thing to be shown, and where it is: "directory TestName", or "directory TestName/subtest".
type shown struct {
	what string
	by   []string
}

// traps are the protocol's.
func traps() []shown {
	return []shown{
		{"1: queues are never declared, their names come from the registration", []string{
			"internal/opencti TestNamesComeFromRegistration", "pipeline/rabbitmq TestForeignQueueIsAwaited",
		}},
		{"2: input fields are gated by version", []string{"internal/opencti TestRegisterInput", "internal/opencti TestWhatIsRefusedByNameIsDropped"}},
		{"3: pings do not wait behind jobs", []string{"internal/app TestPingDoesNotWaitBehindJobs", "internal/app TestPingsEvery40Seconds"}},
		{"4: addExpectations, then publish with confirms and mandatory, then toProcessed", []string{
			"stages TestPublish", "stages TestPublishStopsAtTheFirstFailure", "pipeline/rabbitmq TestUnroutablePublish", "pipeline/rabbitmq TestPush",
		}},
		{"5: as many are expected as the splitter makes", []string{"stages TestPublishAnnouncesWhatItSendsAndKeepsMarkings", "stix TestSplitVectors"}},
		{"6: a playbook's job has no work and one answer, on failure too", []string{
			"pipeline TestAPlaybooksJobIsEnrichedAndAnsweredOnce", "pipeline TestAPlaybookGoesOnWithWhatItHad",
			"internal/standin TestAPlaybookGoesOnOnceWhateverBecomesOfTheReply", "internal/opencti TestNoWork",
		}},
		{"7: stix_entity is a string inside JSON, event.bundle an object", []string{
			"internal/opencti TestPitfalls/stix_entity is a string inside JSON, event.bundle an object",
		}},
		{"8: the escapes of ids", []string{"stix TestIDVectors"}},
		{"9: no created_by_ref and no foreign marking on the enriched observable", []string{
			"internal/standin TestTheEnrichedObservableKeepsItsAuthorAndMarkings",
		}},
		{"10: x_opencti_labels is ignored beside the extension's labels", []string{
			"internal/standin TestLabelsAreWhereTheWorkerReadsThem", "stix TestMergePutsScoreAndLabelsWhereThePlatformReadsThem",
			"internal/opencti/openctitest TestExtensionLabelsWin",
		}},
		{"11: scores are integers", []string{"internal/standin TestEveryScoreIsAnInteger"}},
		{"12: opencti-draft-id is always sent", []string{
			"internal/opencti TestAlwaysSendDraftHeader", "internal/opencti TestDownloadInADraft", "stages TestScanInADraft",
		}},
		{"13: markings and authors that are not in the bundle are kept", []string{"stages TestPublishAnnouncesWhatItSendsAndKeepsMarkings"}},
		{"14: jobs that overtake each other lose no objects where works can die", []string{
			"internal/opencti TestOutOfOrderWorks", "internal/opencti TestTrackedHole", "internal/opencti TestPushBundleOutlastsTheCleanUp",
			"internal/e2e TestSixWorkersLoseNothingWhereOpenCTIDeletesCounters", "internal/e2e TestSixWorkersWouldLoseObjectsIfTheyNamedTheirWorks",
		}},
		{"15: acknowledged well within consumer_timeout, and expectations added once per work", []string{
			"pipeline TestSchedulesStayWellBelowTheBrokersPatience", "internal/opencti TestAnnounceAnswerLost", "internal/opencti TestWorksThatTwoJobsShare",
			"pipeline/rabbitmq TestJobsInHandEndOnceWhenTheConnectionIsLost",
			"internal/opencti TestWorks/redelivered after it was announced",
		}},
		{"16: the minimum is asked for in a registration, and its reply never logged", []string{
			"internal/opencti TestOperationFiles", "internal/opencti TestNeverAsked", "internal/opencti TestSecretPrintsNothing",
			"internal/opencti TestPitfalls/the reply of a registration is never logged",
		}},
		{"17: what the token's user may not do is said, or done without", []string{
			"internal/opencti TestPitfalls/a right that the token's user lacks is named",
			"internal/opencti TestWorksMayNotBeRead", "internal/app TestRefusalThatWaitingCannotMend", "internal/app TestALabelThatMayNotBeMade",
		}},
		{"18: an empty scope disables automatic jobs", []string{"internal/opencti TestPitfalls/no scope is an empty scope, which disables automatic jobs"}},
		{"19: a null work_id is left out", []string{"internal/opencti TestPitfalls/a null work_id is omitted, never sent as null or empty"}},
		{"20: base64 of the standard alphabet, padded", []string{"internal/opencti TestPitfalls/base64 of the standard alphabet, padded"}},
	}
}

// differences are what releases differ in.
func differences() []shown {
	return []shown{
		{"5.4: registration, ping, works, envelope, ids, names of exchanges and queues", []string{"internal/opencti TestBaselineOfEveryRelease"}},
		{"5.12.24: markings, labels and organizations as lists", []string{
			"internal/opencti TestCapabilities/markings, labels and organizations as lists", "internal/opencti TestState_entity",
		}},
		{"5.7.0: relationAdd takes StixRefRelationshipAddInput", []string{
			"internal/opencti TestNeverAsked/relationAdd, whose input type changed in 5.7.0",
		}},
		{"5.11.0 and 6.1.0: playbooks, event_id", []string{
			"internal/opencti TestCapabilities/playbook_compatible, playbookStepExecution, internal.playbook",
			"internal/opencti TestCapabilities/playbookStepExecution requires event_id", "internal/opencti TestAnswerPlaybook",
		}},
		{"6.0.0: event_type and entity_type in jobs, applicant_id null, confidence taken from the user", []string{
			"internal/opencti TestDecodeJobOfEachRelease", "internal/standin TestEveryReleaseTriggerAndEnd",
			"internal/standin TestConfidence_ofNewObjects",
			"internal/opencti TestCapabilities/update has to be forced before 6.0",
		}},
		{"6.2.0: trigger filters replace auto", []string{
			"internal/standin TestTriggerFiltersReplaceAuto", "internal/opencti/openctitest TestAutomaticJobsOfEachRelease",
		}},
		{"6.2.5: values of domains and e-mail addresses lower-cased", []string{"internal/opencti TestValuesAreAsThePlatformHasThem"}},
		{"6.2.6 and 6.5.7: stixBundlePush, its work_id", []string{
			"internal/opencti TestCapabilities/stixBundlePush", "internal/opencti TestCapabilities/stixBundlePush takes a work_id",
			"internal/opencti TestPushBundle",
		}},
		{"6.2.12: connectorInfo on ping", []string{"internal/opencti TestCapabilities/connectorInfo on ping", "internal/opencti TestPing"}},
		{"6.2.14 and 6.3.0: the worker splits and announces", []string{
			"internal/opencti TestEveryMessageHasOneObject", "internal/opencti/openctitest TestWholeBundle", "internal/app TestAnnouncing",
		}},
		{"6.4.0: drafts", []string{
			"internal/opencti TestCapabilities/drafts in jobs, headers and envelopes", "internal/opencti TestAlwaysSendDraftHeader",
			"internal/opencti TestNeverAsked/addDraftContext of 6.5.0, draftWorkspaceAdd of 6.4.0",
		}},
		{"6.5.7: listen_callback_uri, HTTP callback", []string{
			"internal/opencti TestCapabilities/listen_callback_uri", "internal/opencti TestRegisterForCallback", "internal/e2e TestCallbackOnRabbitMQ",
		}},
		{"6.7.0: the worker honours no_split", []string{
			"internal/opencti TestCapabilities/worker honours no_split", "internal/opencti TestPushMessage", "internal/opencti TestEveryMessageHasOneObject",
		}},
		{"6.8.7: isWorkAlive, dead_letter_routing, messages of dead works dropped", []string{
			"internal/opencti TestCapabilities/works are tracked before works can die",
			"internal/opencti TestNeverAsked/isWorkAlive of 6.8.7, too late once objects are queued",
			"internal/opencti TestNeverAsked/dead_letter_routing of 6.8.7, which is the worker's",
			"internal/opencti/openctitest TestDeadWorkLosesObjects",
		}},
		{"7.260510: force-closing keeps the counters", []string{
			"internal/opencti TestCapabilities/works are tracked again once force-closing keeps the key", "internal/opencti TestOutOfOrderWorks",
		}},
		{"6.8.9: auto_update, enrichment_resolution, mode, trigger, stix_entity, stix_objects", []string{
			"internal/opencti TestCapabilities/auto_update", "internal/opencti TestCapabilities/enrichment_resolution",
			"internal/opencti TestRegisterInput", "internal/opencti TestDecodeJobOfEachRelease", "internal/opencti/openctitest TestJobs",
			"internal/standin TestOwnUpdate_isSkipped",
		}},
		{"6.9.19: opencti-work-id, WORK_NOT_ALIVE", []string{
			"internal/opencti TestHeadersOfTheWorkerAreNeverSent", "internal/opencti TestErrorIs",
		}},
		{"6.9.6: a playbook's answer is merged, not put in place", []string{"internal/opencti TestAnswerPlaybook", "stages TestBundleOfAPlaybookGolden"}},
		{"7.260224: jwks and JWT for the callback", []string{
			"internal/opencti TestCapabilities/jwks and JWT for the callback", "internal/callback TestToken", "internal/e2e TestCallbackKeysChange",
		}},
		{"7.260422: completion by >=, multipart works; 7.260428 to 7.260609: toProcessed completes nothing", []string{
			"internal/opencti/openctitest TestCompletion", "internal/opencti TestWorks",
			"internal/opencti TestNeverAsked/multipart works of 7.260422, as the platform makes ours",
			"internal/opencti TestCapabilities/toProcessed completes nothing", "internal/opencti TestNothingToImport",
		}},
		{"7.260527: xtm_one_intent", []string{"internal/opencti TestNeverAsked/xtm_one_intent of 7.260527"}},
		{"7.260529: access is checked before automatic jobs", []string{
			"internal/opencti/openctitest TestAutomaticJobsOfEachRelease", "internal/opencti TestState_entity",
		}},
		{"7.260615: entity_type in playbook jobs", []string{"internal/opencti TestDecodeJobOfEachRelease"}},
		{"7.260807: labelAdd leaves an existing colour", []string{"internal/opencti TestEnsureLabel"}},
		{"after 7.260817: the platform splits what is pushed by its API", []string{
			"internal/app TestAnnouncing/pushed whole", "internal/opencti TestPushBundle",
		}},
		{"how versions are read", []string{"internal/opencti TestParseVersion", "internal/opencti TestVersionCompare"}},
	}
}

// TestIndex: every trap of the protocol, and everything that its releases differ in, is shown by a test that is there.
func TestIndex(t *testing.T) {
	t.Parallel()
	if n, m := len(traps()), len(differences()); n != 20 || m != 26 {
		t.Errorf("%d traps and %d differences, want 20 and 26", n, m)
	}
	sources := map[string]string{}
	for i, s := range append(traps(), differences()...) {
		if i < 20 && !strings.HasPrefix(s.what, fmt.Sprintf("%d: ", i+1)) {
			t.Errorf("trap %d is called %q", i+1, s.what)
		}
		for _, by := range s.by {
			directory, test, _ := strings.Cut(by, " ")
			name, sub, _ := strings.Cut(test, "/")
			if sources[directory] == "" {
				sources[directory] = tests(t, directory)
			}
			if !strings.Contains(sources[directory], "func "+name+"(t *testing.T)") || !strings.Contains(sources[directory], `"`+sub) {
				t.Errorf("%s: there is no %s", s.what, by)
			}
		}
	}
}

// tests returns the text of the tests in a directory of the module.
func tests(t *testing.T, directory string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(directory), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

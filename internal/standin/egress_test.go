package standin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/egress/egresstest"
	"opencti-ipqs-worker/internal/observable"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// kindOf returns the kind of lookup of a type; of Hostname there is none.
func kindOf(typeName, value string) ipqs.Kind {
	switch typeName {
	case "IPv4-Addr", "IPv6-Addr":
		return ipqs.KindIP
	case "Email-Addr":
		return ipqs.KindEmail
	case "Phone-Number":
		return ipqs.KindPhone
	case "User-Account":
		if strings.Contains(value, "@") && strings.Contains(value, ".") {
			return ipqs.KindLeakEmail
		}
		return ipqs.KindLeakUsername
	default:
		return ipqs.KindURL
	}
}

// question is a value that IPQS was asked about. Those of accounts are secret, so the fake does not log them: "" stands for
// each.
type question struct {
	Kind  ipqs.Kind
	Value string
}

// questions counts what the fake was asked.
func questions(t *testing.T, fake *ipqstest.Fake) map[question]int {
	t.Helper()
	asked := map[question]int{}
	for _, request := range fake.Log() {
		kind := ipqs.Kind(strings.TrimPrefix(request.Path, "/api/json/"))
		query, err := url.ParseQuery(request.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		asked[question{kind, query.Get(string(kind))}]++
	}
	return asked
}

// expected are the questions about the values that must be sent.
func expected(values []egresstest.Value) map[question]int {
	want := map[question]int{}
	for _, v := range values {
		q := question{kindOf(v.Type, v.Value), v.Sent}
		if q.Kind.Secret() {
			q.Value = ""
		}
		want[q]++
	}
	return want
}

func TestEgressValues_AreManyAndDistinct(t *testing.T) {
	t.Parallel()
	if refused, allowed := len(egresstest.Refused()), len(egresstest.Allowed()); refused < 120 || allowed < 120 {
		t.Errorf("%d values must not be sent and %d must, want at least 120 of both", refused, allowed)
	}
	for q, n := range expected(egresstest.Allowed()) {
		if n > 1 && !q.Kind.Secret() {
			t.Errorf("%v is expected %d times: the cache would answer the second one", q, n)
		}
	}
}

// What must stay inside is not sent, and everything else is sent once, whatever enriches: the worker for analysts and
// playbooks, or enrich.
func TestWorker_SendsWhatMayBeSent(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	world := connector(ctx, t, standin.Options{}, nil, "IPQS_EXCLUDE="+strings.Join(egresstest.Exclude(), ","),
		"CONNECTOR_SCOPE=IPv4-Addr,IPv6-Addr,Email-Addr,Url,Domain-Name,Phone-Number,User-Account")
	add := func(v egresstest.Value) string {
		o := openctitest.Observable{Type: v.Type, Value: v.Value}
		if v.Type == "User-Account" {
			o = openctitest.Observable{Type: v.Type, Account: &openctitest.Account{Login: v.Value}}
		}
		return world.Platform.AddObservable(o)
	}
	works := map[string]egresstest.Value{}
	for _, v := range append(egresstest.Refused(), egresstest.Allowed()...) {
		work, err := world.Platform.Enrich(ctx, add(v), openctitest.Manual)
		if err != nil {
			t.Fatal(err)
		}
		works[work] = v
	}
	if err := world.Platform.WaitWorks(ctx, len(works)); err != nil {
		t.Fatal(err)
	}
	for id, v := range works {
		work, _ := world.Platform.Work(id)
		reason := "(" + string(v.Cause) + ")."
		if v.Type == "Hostname" {
			reason = "(scope)." // which the worker does not enrich at all
		}
		last := work.Messages[len(work.Messages)-1].Message
		switch skipped := strings.Contains(last, "; skipped ("); {
		case v.Cause == "" && skipped:
			t.Errorf("work of %s %q ends with %q, want it looked up", v.Type, v.Value, last)
		case v.Cause != "" && (!strings.Contains(last, "; skipped "+reason) || len(work.Errors) > 0):
			t.Errorf("work of %s %q ends with %q and errors %v, want it skipped %s", v.Type, v.Value, last, work.Errors, reason)
		}
	}
	playbooks := 0
	for _, v := range egresstest.Refused() {
		if _, err := world.Platform.Enrich(ctx, add(v), openctitest.ByPlaybook); err != nil {
			t.Fatal(err)
		}
		playbooks++
	}
	if err := world.Platform.Wait(ctx, func() bool { return len(world.Platform.PlaybookAnswers()) == playbooks }); err != nil {
		t.Fatal(err)
	}
	stored := egresstest.Allowed()
	for i, v := range stored {
		if v.Type == "Email-Addr" || v.Type == "Domain-Name" {
			stored[i].Sent = strings.ToLower(v.Sent) // by the platform
		}
	}
	if diff := cmp.Diff(expected(stored), questions(t, world.IPQS.Fake)); diff != "" {
		t.Errorf("IPQS was asked (-want +got):\n%s", diff)
	}
}

func TestEnrich_SendsWhatMayBeSent(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	server := ipqstest.NewServer(ipqstest.Options{Key: standin.Key})
	t.Cleanup(server.Close)
	c, _, err := config.Load(config.Options{Require: config.ForEnrich, Environ: []string{
		"IPQS_PRIVATE_KEY=" + standin.Key, "IPQS_BASE_URL=" + server.BaseURL, "IPQS_EXCLUDE=" + strings.Join(egresstest.Exclude(), ","),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var given []observable.Observable
	var values, parsed []egresstest.Value
	for _, v := range append(egresstest.Refused(), egresstest.Allowed()...) {
		o, err := observable.Parse(v.Type, v.Value)
		if _, ok := errors.AsType[*observable.Error](err); ok || v.Type == "Hostname" {
			continue // refused before anything is looked up
		} else if err != nil {
			t.Fatal(err)
		}
		given, values = append(given, o), append(values, v)
		if v.Cause == "" {
			parsed = append(parsed, v)
		}
	}
	if len(parsed) < 120 || len(given)-len(parsed) < 120 {
		t.Errorf("enrich accepts %d values that must not be sent and %d that must, want at least 120 of both", len(given)-len(parsed), len(parsed))
	}
	results, err := app.EnrichAll(ctx, app.EnrichOptions{Config: c, Logger: slog.New(slog.DiscardHandler), Version: "test"}, given)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Refused() != (values[i].Cause != "") || r.Refused() && (string(r.Reason) != string(values[i].Cause) || !r.Failed()) {
			t.Errorf("%s %q: %s, %s (%s), want reason %q", r.Type, r.Value, r.Outcome, r.Reason, r.Error, values[i].Cause)
		}
	}
	if diff := cmp.Diff(expected(parsed), questions(t, server.Fake)); diff != "" {
		t.Errorf("IPQS was asked (-want +got):\n%s", diff)
	}
}

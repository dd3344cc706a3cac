package standin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/secrettest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
)

// tapped is a carrier that keeps all that goes through it: what a broker would have on its disk.
type tapped struct {
	app.Carrier
	tap *tap
}

type tap struct {
	mu       sync.Mutex
	bodies   []string
	metadata []string
	objects  []string
}

func (t tapped) Publish(topic string, messages ...*watermill.Message) error {
	t.tap.mu.Lock()
	for _, m := range messages {
		t.tap.bodies = append(t.tap.bodies, string(m.Payload))
		t.tap.metadata = append(t.tap.metadata, fmt.Sprint(topic, m.UUID, m.Metadata))
	}
	t.tap.mu.Unlock()
	return t.Carrier.Publish(topic, messages...)
}

func (t tapped) Push(ctx context.Context, messages [][]byte) error {
	t.tap.mu.Lock()
	for _, m := range messages {
		t.tap.objects = append(t.tap.objects, string(m))
	}
	t.tap.mu.Unlock()
	return t.Carrier.Push(ctx, messages)
}

func (t tapped) SetWindow(topic string, n int) {
	if narrower, ok := t.Carrier.(pipeline.Narrower); ok {
		narrower.SetWindow(topic, n)
	}
}

// TestSecretsStayWhereTheyAre has accounts and a file looked up, some in vain, with everything told that can be told; then it
// looks for the key, the token, passwords, logins and the credentials of URLs in the log, spans, metrics, headers, works and dead letters, and for
// passwords in every message and object too.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	const (
		password = `exposed-P@ss'w\ord-pwZQX`
		refused  = "refused-pw-pwZQX"
		login    = "exposed-login-loginZQX"
		unlucky  = "unlucky-login-loginZQX"
		fileName = "inconclusive-fileZQX.exe"

		link          = "https://user-urlZQX:pw-urlZQX@example.com/"
		unluckyLink   = "https://user-urlZQX:pw-urlZQX@example.org/"
		redisPassword = "planted-redis-55d0"
	)
	ctx := limited(t)
	log, spans, reader, tap := &logtest.Log{}, tracetest.NewInMemoryExporter(), metric.NewManualReader(), &tap{}
	ends := make(chan pipeline.Outcome, 100)
	redis := miniredis.RunT(t)
	redis.RequireUserAuth("worker", redisPassword)
	world, err := standin.New(ctx, standin.Options{IPQS: ipqstest.Options{ScanPolls: -1}})
	if err != nil {
		t.Fatal(err)
	}
	world.IPQS.Script(ipqs.KindLeakPassword, refused, ipqstest.Refusal("Nothing about "+refused+", "+standin.Key))
	world.IPQS.Script(ipqs.KindURL, "https://example.org/", ipqstest.Refusal("Nothing about this URL"))
	world.IPQS.Script(ipqs.KindLeakUsername, unlucky, ipqstest.Refusal("Nothing about "+unlucky))
	c, _, err := config.Load(config.Options{Environ: append(world.Environ(), "CONNECTOR_METRICS_PORT=0", "CONNECTOR_LOG_LEVEL=debug",
		"IPQS_ARTIFACT_SCAN=true", "CONNECTOR_SCOPE=User-Account,Artifact,Url", "IPQS_INCLUDE_PERSONAL_DATA=true",
		"CACHE_URL=redis://worker:"+redisPassword+"@"+redis.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- app.Run(running, app.Options{
			Config: c, Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test",
			Tracer: trace.NewTracerProvider(trace.WithSyncer(spans)), Meter: metric.NewMeterProvider(metric.WithReader(reader)),
			Observe: func(o pipeline.Outcome) {
				if o.End != "" {
					ends <- o
				}
			},
			Connect: func(ctx context.Context, r opencti.Registration, topics []pipeline.Topic) (app.Carrier, error) {
				carrier, err := world.Connect(ctx, r, topics)
				return tapped{carrier, tap}, err
			},
		})
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
		world.Close()
	}()
	if err := world.Registered(ctx); err != nil {
		t.Fatal(err)
	}

	fileID := "import/Artifact/1/" + fileName
	world.Platform.StoreFile(fileID, []byte("a file"))
	var works []string
	for _, o := range []openctitest.Observable{
		{Type: "User-Account", Account: &openctitest.Account{Login: login, Credential: password}},
		{Type: "User-Account", Account: &openctitest.Account{Credential: password}},
		{Type: "User-Account", Account: &openctitest.Account{Login: login + "@example.com"}},
		{Type: "User-Account", Account: &openctitest.Account{Login: login, UserID: "1", Credential: refused}},
		{Type: "User-Account", Account: &openctitest.Account{Login: unlucky}},
		{Type: "User-Account", Hidden: true, Account: &openctitest.Account{Login: login, UserID: "2", Credential: password}},
		{Type: "Url", Value: link},
		{Type: "Url", Value: unluckyLink},
		{Type: "Artifact", Value: fileName, Artifact: &openctitest.Artifact{FileID: fileID, Size: len("a file")}},
	} {
		work, err := world.Platform.Enrich(ctx, world.Platform.AddObservable(o), openctitest.Manual)
		if err != nil {
			t.Fatal(err)
		}
		works = append(works, work)
	}
	got := map[pipeline.End]int{}
	for range works {
		select {
		case o := <-ends:
			got[o.End]++
		case <-ctx.Done():
			t.Fatalf("jobs ended: %v, want %d", got, len(works))
		}
	}
	if got[pipeline.Published] != 5 || got[pipeline.DeadLettered] != 3 || got[pipeline.Skipped] != 1 {
		t.Errorf("jobs ended: %v, want 5 published, 3 dead-lettered, and the hidden account skipped", got)
	}

	told := map[string]string{"log": log.String()}
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &metrics); err != nil {
		t.Fatal(err)
	}
	for _, key := range redis.Keys() {
		value, _ := redis.Get(key)
		told["Redis"] += key + " " + value + "\n"
	}
	told["metrics"] = fmt.Sprintf("%+v", metrics)
	told["spans"] = fmt.Sprintf("%+v", spans.GetSpans())
	for _, id := range works {
		work, _ := world.Platform.Work(id)
		told["work "+id] = fmt.Sprintf("%+v", work)
	}
	tap.mu.Lock()
	told["headers"] = strings.Join(tap.metadata, "\n")
	kept := map[string]string{"messages": strings.Join(tap.bodies, "\n"), "objects": strings.Join(tap.objects, "\n")}
	tap.mu.Unlock()
	// What is looked into is there.
	for place, want := range map[string]string{"Redis": `"exposed":`, "log": "/leaked/password", "spans": "/leaked/password", "metrics": "/storage/get/", "headers": ".poison"} {
		if !strings.Contains(told[place], want) {
			t.Errorf("%s: %s is not in it, so nothing is shown by looking there", place, want)
		}
	}
	if !strings.Contains(kept["messages"], "INTERNAL_ENRICHMENT") {
		t.Error("messages: the job that OpenCTI does not show is not in it, so nothing is shown by looking there")
	}
	secrets := []string{standin.Key, standin.Token, redisPassword, password, refused}
	for _, found := range append(secrettest.Find(told, append(secrets, "loginZQX", "urlZQX")...), secrettest.Find(kept, secrets...)...) {
		t.Error(found)
	}
	for _, spans := range spans.GetSpans() {
		if wire, err := json.Marshal(spans.Attributes); err != nil || bytes.Contains(wire, []byte("fileZQX")) {
			t.Errorf("attributes = %s, %v, want them without the name of the file", wire, err)
		}
	}
}

package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stix/stixtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ipqs-worker": main})
}

// The key that the stand-in IPQS accepts.
const key = "planted-key-4d20"

// TestScripts runs the shell sessions of testdata. Each has an IPQS of its own; $IPQS_BASE_URL leads to it.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			fake := ipqstest.NewServer(ipqstest.Options{Key: key})
			env.Defer(fake.Close)
			env.Values["ipqs"] = fake
			env.Setenv("IPQS_BASE_URL", fake.BaseURL)
			env.Setenv("IPQS_PRIVATE_KEY", key)
			env.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": exitStatus,
			"stix":   checkBundle,
			"asked":  asked,
		},
	})
}

// exitStatus is the scripts' command status: status N program args… runs a program that has to end with exit status N.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status = %d, want %d", got, want)
	}
}

// stix FILE type… checks that a file is one bundle with objects of just these types, every reference in it answered, and
// every object valid where there are schemas to say so.
func checkBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: stix FILE type…")
	}
	type object struct {
		Type, ID       string
		SourceRef      string   `json:"source_ref"`
		TargetRef      string   `json:"target_ref"`
		CreatedByRef   string   `json:"created_by_ref"`
		ObjectRefs     []string `json:"object_refs"`
		ObservableFrom string   `json:"x_opencti_created_by_ref"`
	}
	var bundle struct {
		Type, ID string
		Objects  []object
	}
	text := ts.ReadFile(args[0])
	ts.Check(json.Unmarshal([]byte(text), &bundle))
	if bundle.Type != "bundle" || bundle.ID == "" {
		ts.Fatalf("%s is no bundle: type %q, id %q", args[0], bundle.Type, bundle.ID)
	}
	if schemas, ok := stixtest.Reference("stix-schemas"); ok {
		problems, err := stixtest.Problems(schemas, []byte(text))
		ts.Check(err)
		for _, problem := range problems {
			ts.Fatalf("no STIX 2.1: %s", problem)
		}
	}
	ids, types := map[string]bool{}, map[string]bool{}
	for _, o := range bundle.Objects {
		if ids[o.ID] {
			ts.Fatalf("%s is in the bundle twice", o.ID)
		}
		ids[o.ID], types[o.Type] = true, true
	}
	for _, o := range bundle.Objects {
		for _, ref := range append(o.ObjectRefs, o.SourceRef, o.TargetRef, o.CreatedByRef, o.ObservableFrom) {
			if ref != "" && !ids[ref] {
				ts.Fatalf("%s refers to %s, which is not in the bundle", o.ID, ref)
			}
		}
	}
	for _, want := range args[1:] {
		if !types[want] {
			ts.Fatalf("the bundle has no %s", want)
		}
		delete(types, want)
	}
	if len(types) > 0 {
		ts.Fatalf("the bundle also has %v", types)
	}
}

// asked N checks how many lookups IPQS has seen.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: asked N")
	}
	total := 0
	for _, n := range ts.Value("ipqs").(*ipqstest.Server).Requests() {
		total += n
	}
	if strconv.Itoa(total) != args[0] {
		ts.Fatalf("IPQS was asked %d times, want %s", total, args[0])
	}
}

// The configuration knows the hops by name, and must know those that there are.
func TestTheConfigurationKnowsTheHops(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(pipeline.HopNames(), config.Hops()); diff != "" {
		t.Errorf("config.Hops() differs from the pipeline's (-want +got):\n%s", diff)
	}
}

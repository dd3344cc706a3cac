package stix

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"opencti-ipqs-worker/stix/stixtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// at is some local time with nanoseconds, which no object may show.
var at = time.Date(2026, 3, 4, 6, 7, 8, 9_999_999, time.FixedZone("", 3600))

// everything returns a bundle with every object that the package makes, every property set.
func everything(tb testing.TB) Bundle {
	tb.Helper()
	share := Sharing{
		ObjectMarkingRefs: []string{"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"},
		GrantedRefs:       []string{IdentityID("Our Organisation", "organization")},
	}
	author := NewIdentity("IPQS", "organization", at)
	author.Description = "IPQualityScore"
	author.Sharing = share

	reference := ExternalReference{SourceName: "IPQualityScore", URL: "https://ipqs.example/domain?a&b", Description: "score 0"}
	observable := newObservable(tb, "Domain-Name", "domain-name--0b7a7a8c-9a4b-5f0e-8d52-5b2f3f1f7a11", "bücher.example")
	observable.Score = new(0)
	observable.Labels = []string{`IPQS:RISK="LOW"`, "R&D <x>\u2028"}
	observable.ExternalReferences = []ExternalReference{reference}
	observable.Sharing = share

	pattern, err := Pattern("Domain-Name", observable.Value)
	if err != nil {
		tb.Fatal(err)
	}
	indicator := NewIndicator(pattern, at)
	indicator.CreatedByRef = author.ID
	indicator.Confidence = new(0)
	indicator.Name = observable.Value
	indicator.Description = "Domain judged by IPQS"
	indicator.IndicatorTypes = []string{"benign"}
	indicator.ValidUntil = Timestamp(at.AddDate(0, 1, 0))
	indicator.Labels = []string{`IPQS:RISK="LOW"`}
	indicator.Score = new(0)
	indicator.MainObservableType = "Domain-Name"
	indicator.Detection = new(false)
	indicator.Revoked = true
	indicator.ExternalReferences = []ExternalReference{reference}
	indicator.Sharing = share

	note := NewNote(NoteID(observable.ID), "## 0 of 100\n\n| a | b |\n|---|---|\n| \"x\" | 😀 |", "2026-01-02T03:04:05.006Z", at, observable.ID, indicator.ID)
	note.CreatedByRef = author.ID
	note.Confidence = new(75)
	note.Abstract = "IPQS: low risk"
	note.NoteTypes = []string{"external"}
	note.Sharing = share

	address := newObservable(tb, "IPv6-Addr", "", "2001:db8::1")
	address.Sharing = share

	network := NewAutonomousSystem(64500)

	resolves := NewRelationship(ResolvesTo, observable.ID, address.ID, at)
	resolves.CreatedByRef = author.ID
	resolves.Confidence = new(100)
	resolves.Description = "as IPQS resolved it"
	resolves.Sharing = share

	label := NewLabel(`IPQS:RISK="LOW"`, "#2E7D32")
	label.Sharing = share

	account := newObservable(tb, "User-Account", "", "ada")
	account.UserID, account.AccountType = "7", "unix"

	artifact := newObservable(tb, "Artifact", "", strings.Repeat("ab", 32))
	artifact.URL, artifact.MIMEType = "https://a.example/f.bin", "application/pdf"
	artifact.Hashes["MD5"] = strings.Repeat("cd", 16)

	return Bundle{
		ID: BundleID("work_1"),
		Objects: []Object{
			author, observable, indicator, note, address, network, resolves,
			NewRelationship(BasedOn, indicator.ID, observable.ID, at),
			NewRelationship(BelongsTo, address.ID, network.ID, at),
			label, account, artifact,
			newObservable(tb, "IPv4-Addr", "", "198.51.100.7"),
			newObservable(tb, "Url", "", "https://a.example/?b=c&d=%20e"),
			newObservable(tb, "Email-Addr", "", "ada@a.example"),
			newObservable(tb, "Phone-Number", "", "+18005550199"),
			NewNote(NoteID("url--1"), "no time of its own", "", at, observable.ID),
		},
	}
}

func newObservable(tb testing.TB, typ, id, value string) Observable {
	tb.Helper()
	o, err := NewObservable(typ, id, value)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

func encode(tb testing.TB, b Bundle) []byte {
	tb.Helper()
	got, err := b.Encode()
	if err != nil {
		tb.Fatalf("Encode() error = %v", err)
	}
	return got
}

// A note that is made of an older answer than its observable is not modified before it was created.
func TestNewNote_modified(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC)
	for created, want := range map[string][2]string{
		"2026-03-04T05:06:06.999Z":  {"2026-03-04T05:06:06.999Z", "2026-03-04T05:06:07.000Z"},
		"2026-03-04T05:06:07.001Z":  {"2026-03-04T05:06:07.001Z", "2026-03-04T05:06:07.001Z"},
		"2026-03-04T05:06:07+01:00": {"2026-03-04T05:06:07+01:00", "2026-03-04T05:06:07.000Z"},
		"":                          {"2026-03-04T05:06:07.000Z", "2026-03-04T05:06:07.000Z"},
		"some day":                  {"some day", "2026-03-04T05:06:07.000Z"},
	} {
		if n := NewNote(NoteID("url--1"), "text", created, at, "url--1"); n.Created != want[0] || n.Modified != want[1] {
			t.Errorf("NewNote() of %q is created %s, modified %s, want %s", created, n.Created, n.Modified, want)
		}
	}
}

func TestBundleEncodesAsGolden(t *testing.T) {
	t.Parallel()
	got := encode(t, everything(t))
	if again := encode(t, everything(t)); !bytes.Equal(got, again) {
		t.Errorf("Encode() of equal bundles differs:\n%s\n%s", got, again)
	}
	if bytes.ContainsAny(got, "\n\t") || bytes.Contains(got, []byte(`\u003c`)) {
		t.Errorf("Encode() = %s, want it compact and without HTML escapes", got)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", "bundle.golden.json")
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), indented.String()); diff != "" {
		t.Errorf("Encode() differs from %s (-want +got):\n%s", path, diff)
	}
}

func TestBundleErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		bundle Bundle
		want   string
	}{
		{"no id", Bundle{Objects: []Object{NewLabel("a", "#000000")}}, "no id"},
		{"no objects", Bundle{ID: BundleID("a")}, "no objects"},
		{"nil object", Bundle{ID: BundleID("a"), Objects: []Object{nil}}, "object 0 is nil"},
		{"object by hand", Bundle{ID: BundleID("a"), Objects: []Object{NewLabel("a", "#000000"), Note{Content: "x"}}}, `object 1 has type ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.bundle.Encode()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Encode() = %s, %v, want an error that says %q", got, err, tt.want)
			}
		})
	}
}

func TestNewObservableErrors(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"", "Mutex", "Autonomous-System"} {
		got, err := NewObservable(typ, "", "1")
		if err == nil || !strings.Contains(err.Error(), "IPv4-Addr") {
			t.Errorf("NewObservable(%q) = %v, %v, want an error with the types there are", typ, got, err)
		}
	}
}

func TestTimestamp(t *testing.T) {
	t.Parallel()
	if got, want := Timestamp(at), "2026-03-04T05:07:08.009Z"; got != want {
		t.Errorf("Timestamp() = %s, want %s", got, want)
	}
}

// TestSchemas validates all that the package makes against the JSON schemas of STIX 2.1: each object against its type's,
// and the bundle against the bundle's. The latter does without notes: bundle.json forgets them in its list of types, and
// what it asks of other types (to be an observable or not, but not both) no object with times can meet.
func TestSchemas(t *testing.T) {
	t.Parallel()
	dir := referencePath(t, "stix-schemas")
	b := everything(t)
	encoded := encode(t, b)
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	objects := instance.(map[string]any)["objects"].([]any)
	seen := map[string]bool{}
	for _, o := range objects {
		seen[o.(map[string]any)["type"].(string)] = true
	}
	problems, err := stixtest.Problems(dir, encoded)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("no STIX 2.1: %s", problem)
	}
	for _, typ := range ObservableTypes() {
		if !seen[typ.STIX] {
			t.Errorf("no %s was validated", typ.STIX)
		}
	}
	wanted := slices.DeleteFunc(objects, func(o any) bool { return o.(map[string]any)["type"] == "note" })
	instance.(map[string]any)["objects"] = wanted
	schema, err := stixtest.Compile(dir, "common/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(instance); err != nil {
		t.Errorf("the bundle is no STIX 2.1: %v", err)
	}
	wanted[0].(map[string]any)["created"] = "yesterday"
	if err := schema.Validate(instance); err == nil {
		t.Error("a bundle with an object created yesterday passed, want it refused: the check must be able to fail")
	}
}

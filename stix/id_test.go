package stix

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The wanted ids were made by an independent program: Python's uuid.uuid5 over its own canonical JSON.
func TestIDs(t *testing.T) {
	t.Parallel()
	sha256, md5, sha512 := strings.Repeat("ab", 32), strings.Repeat("cd", 16), strings.Repeat("ef", 64)
	tests := []struct {
		name string
		got  string
		want string
	}{
		{
			"identity in lower case, stripped, final sigma", IdentityID("  ACME Risk ΟΔΟΣ\x1f\n", "Organization"),
			"identity--9a3b9279-4d7e-5375-883c-db10734747d6",
		},
		{
			"indicator, stripped, all else raw", IndicatorID(" [url:value = 'https://a.example/?q=\\'<&>\\\\\u2028😀']\n"),
			"indicator--37a68659-91b4-5d06-bcd4-f0130705bf70",
		},
		{
			"note, by its observable", NoteID("ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"),
			"note--37ff2a87-e8ee-50af-8a6d-808abe6230f7",
		},
		{
			"relationship", RelationshipID(ResolvesTo, "domain-name--1", "ipv6-addr--2"),
			"relationship--c22fe9d3-6bf9-5142-ac28-42c3a90a1c3e",
		},
		{
			"relationship with period", RelationshipPeriodID(ResolvesTo, "domain-name--1", "ipv6-addr--2", "s", "t"),
			"relationship--e66c6572-46ea-5c7d-b52a-2df4dc38fce3",
		},
		{
			"relationship with stop alone", RelationshipPeriodID(ResolvesTo, "domain-name--1", "ipv6-addr--2", "", "t"),
			"relationship--c22fe9d3-6bf9-5142-ac28-42c3a90a1c3e",
		},
		{"label", LabelID(`IPQS:RISK="HIGH"`), "label--7e51c53b-2e4d-561a-bddc-721520bd4809"},
		{"phone", ObservableID("phone-number", "+18005550199"), "phone-number--d5086628-77e5-5398-87b0-1c35d903af2f"},
		{"login alone", ObservableID("user-account", "ada"), "user-account--48edb5e0-fff1-5c95-902c-1ded0e215ec7"},
		{"account", UserAccountID("unix", "7", "ada"), "user-account--a2b866dc-5ad2-5e63-85d3-fa570cfe21cb"},
		{"artifact by SHA-256", ObservableID("artifact", sha256), "artifact--20432b06-75d2-54b6-80ef-6d923b5d925d"},
		{
			"artifact by MD5 first, and payload", ArtifactID(Hashes{"SHA-256": sha256, "MD5": md5}, "QQ=="),
			"artifact--f8a9dbd9-8d94-5be7-9b0f-5fcb3c790573",
		},
		{"file", FileID(Hashes{"SHA-512": sha512, "SSDEEP": "3:a"}, "a.exe"), "file--9044bd42-8067-5226-9000-190537d1b141"},
		{"autonomous system", AutonomousSystemID(65550), "autonomous-system--f6b5a3e4-e825-5bcb-b50b-1a757b6a8567"},
		{"bundle", BundleID("work_1"), "bundle--0c225da4-cd96-5b55-a40a-f8f7cb18edc3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.got != tt.want {
				t.Errorf("id = %s, want %s", tt.got, tt.want)
			}
		})
	}
}

// vector is one line of the ids that OpenCTI's Python library made.
type vector struct {
	Kind  string
	Input struct {
		Name, Pattern, Content, Abstract, Created, Value, URL, Definition, Opinion string

		IdentityClass    string   `json:"identity_class"`
		Number           int      `json:"number"`
		AccountType      string   `json:"account_type"`
		UserID           string   `json:"user_id"`
		AccountLogin     string   `json:"account_login"`
		Hashes           Hashes   `json:"hashes"`
		PayloadBin       string   `json:"payload_bin"`
		RelationshipType string   `json:"relationship_type"`
		SourceRef        string   `json:"source_ref"`
		TargetRef        string   `json:"target_ref"`
		StartTime        string   `json:"start_time"`
		StopTime         string   `json:"stop_time"`
		DefinitionType   string   `json:"definition_type"`
		SourceName       *string  `json:"source_name"`
		ExternalID       *string  `json:"external_id"`
		SightingOfRef    string   `json:"sighting_of_ref"`
		WhereSighted     []string `json:"where_sighted_refs"`
		FirstSeen        string   `json:"first_seen"`
		LastSeen         string   `json:"last_seen"`
		PhaseName        string   `json:"phase_name"`
		KillChainName    string   `json:"kill_chain_name"`
	}
	ID *string
}

// id returns our id for the vector. What the worker never makes an object of is written here with the same digest.
func (v vector) id() string {
	in := v.Input
	switch v.Kind {
	case "identity":
		return IdentityID(in.Name, in.IdentityClass)
	case "indicator":
		return IndicatorID(in.Pattern)
	case "note":
		d := startID(nil)
		for _, property := range []struct{ key, value string }{
			{"attribute_abstract", strip(in.Abstract)}, {"content", strip(in.Content)}, {"created", in.Created},
		} {
			if property.value != "" || property.key == "content" {
				d = d.text(property.key, property.value)
			}
		}
		return d.id("note")
	case "ipv4-addr", "ipv6-addr", "domain-name", "url", "email-addr", "phone-number", "mac-addr", "hostname", "text", "user-agent":
		return ObservableID(v.Kind, in.Value)
	case "autonomous-system":
		return AutonomousSystemID(in.Number)
	case "user-account":
		return UserAccountID(in.AccountType, in.UserID, in.AccountLogin)
	case "artifact":
		return ArtifactID(in.Hashes, in.PayloadBin)
	case "file":
		return FileID(in.Hashes, in.Name)
	case "relationship":
		return RelationshipPeriodID(in.RelationshipType, in.SourceRef, in.TargetRef, in.StartTime, in.StopTime)
	case "label":
		return LabelID(in.Value)
	case "label-platform":
		return LabelID(strings.TrimSpace(lower(in.Value)))
	case "marking-definition":
		if id, ok := TLP(in.Definition); ok {
			return id
		}
		return startID(nil).text("definition", in.Definition).text("definition_type", in.DefinitionType).id(v.Kind)
	case "external-reference":
		switch {
		case in.URL != "":
			return startID(nil).text("url", in.URL).id(v.Kind)
		case in.SourceName != nil && in.ExternalID != nil:
			return startID(nil).text("external_id", *in.ExternalID).text("source_name", *in.SourceName).id(v.Kind)
		}
		return ""
	case "opinion":
		d := startID(nil)
		if in.Created != "" {
			d = d.text("created", in.Created)
		}
		return d.text("opinion", strip(in.Opinion)).id(v.Kind)
	case "sighting":
		d := startID(nil)
		if in.FirstSeen != "" {
			d = d.text("first_seen", in.FirstSeen).text("last_seen", in.LastSeen)
		}
		d = d.text("sighting_of_ref", in.SightingOfRef).text("type", "sighting")
		d = append(appendCanonical(append(d.key("where_sighted_refs"), '['), in.WhereSighted[0]), ']')
		return d.id(v.Kind)
	case "kill-chain-phase":
		return startID(nil).text("kill_chain_name", in.KillChainName).text("phase_name", in.PhaseName).id(v.Kind)
	case "malware":
		return startID(nil).text("name", lower(strip(in.Name))).id(v.Kind)
	default:
		return "no such kind"
	}
}

// A country's id is the one that OpenCTI's Python library makes of its name and type: written down from its rule.
func TestLocationID(t *testing.T) {
	t.Parallel()
	const want = "location--d0e7f9bc-8f87-59f9-9b28-a84c1ef2f80f"
	for _, name := range []string{"Switzerland", " SWITZERLAND "} {
		if got := LocationID(name, "Country"); got != want {
			t.Errorf("LocationID(%q) = %s, want %s", name, got, want)
		}
	}
	if LocationID("Switzerland", "Region") == want {
		t.Error("LocationID() of a region is that of a country")
	}
}

func TestIDVectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(referencePath(t, "stix-id-vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 90 {
		t.Fatalf("found %d vectors, want all of them", len(vectors))
	}
	for i, v := range vectors {
		want := ""
		if v.ID != nil {
			want = *v.ID
		}
		if got := v.id(); got != want {
			t.Errorf("vector %d: id of %s %+v = %q, want %q", i, v.Kind, v.Input, got, want)
		}
	}
}

func TestTLPRefusesOtherNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "tlp:red", "RED", "TLP:BLUE", "PAP:RED"} {
		if id, ok := TLP(name); ok {
			t.Errorf("TLP(%q) = %s, want none", name, id)
		}
	}
}

func TestIDsAllocateOnlyTheirText(t *testing.T) {
	pattern := "[ipv4-addr:value = '198.51.100.7']"
	if got := testing.AllocsPerRun(100, func() { IndicatorID(pattern) }); got > 1 {
		t.Errorf("IndicatorID() allocates %v times, want 1", got)
	}
}

func FuzzCanonicalString(f *testing.F) {
	for _, s := range []string{"", "a", `"\`, "\b\t\n\f\r\x00\x1f\x7f", "<&>\u2028\u2029", "é😀", "a\xffb\xc3", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// encoding/json writes a bad byte as U+FFFD as well, so both must be read back as the same text.
		std, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var got, want string
		if err := json.Unmarshal(std, &want); err != nil {
			t.Fatal(err)
		}
		text := appendCanonical(nil, s)
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("appendCanonical(%q) = %s: %v", s, text, err)
		}
		if got != want {
			t.Errorf("appendCanonical(%q) reads back as %q, want %q", s, got, want)
		}
	})
}

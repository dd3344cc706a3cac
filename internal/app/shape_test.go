package app

import (
	"strings"
	"testing"
)

func TestShape(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, peer, body, want string }{
		{
			"a verdict", PeerIPQS, `{"success":true,"fraud_score":85,"city":"Springfield","latitude":1.5,"ASN":64500,"abuse_velocity":"high","proxy":false,"host":null}`,
			`{"ASN":"[number]","abuse_velocity":"high","city":"[text]","fraud_score":85,"host":null,"latitude":"[number]","proxy":false,"success":true}`,
		},
		{
			"a refusal", PeerOpenCTI, `{"errors":[{"message":"You are not allowed, jdoe","extensions":{"code":"FORBIDDEN","data":{"jdoe@example.com":1}},"path":["me"]}]}`,
			`{"errors":[{"extensions":{"code":"FORBIDDEN","data":{"[unknown fields]":1}},"message":"[text]","path":["[text]"]}]}`,
		},
		{"a version", PeerOpenCTI, `{"data":{"about":{"version":"7.260817.0"}}}`, `{"data":{"about":{"version":"7.260817.0"}}}`},
		{"an address for a version", PeerOpenCTI, `{"data":{"about":{"version":"198.51.100.7"}}}`, `{"data":{"about":{"version":"[text]"}}}`},
		{"no JSON", PeerIPQS, `<html>Jane</html>`, "17 bytes that are no JSON, or more than is shown"},
		{
			"a password", PeerOpenCTI, `{"data":{"stixCyberObservable":{"account_login":"jdoe","credential":"secret"}}}`,
			`{"data":{"stixCyberObservable":{"account_login":"[text]","credential":"[text]"}}}`,
		},
		{"names that are values", PeerIPQS, `{"jdoe@example.com":{"credential":"x"},"15555550123":true,"success":true}`, `{"[unknown fields]":2,"success":true}`},
		{"numbers that are values", PeerIPQS, `{"zip_code":12345,"formatted":15555550123,"found":15555550123}`, `{"formatted":"[number]","found":"[number]","zip_code":"[number]"}`},
		{"values where words are expected", PeerIPQS, `{"status":"jdoe@example.com"}`, `{"status":"[text]"}`},
		{"a number where a word is expected", PeerIPQS, `{"abuse_velocity":"15555550123"}`, `{"abuse_velocity":"[text]"}`},
		{"a long word", PeerIPQS, `{"status":"` + strings.Repeat("x", 65) + `"}`, `{"status":"[text]"}`},
		{"a list", PeerIPQS, `{"a_records":["198.51.100.7","x"]}`, `{"a_records":["[text]","[text]"]}`},
		{"nothing", PeerIPQS, ``, "0 bytes that are no JSON, or more than is shown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := shapes(tt.peer).of([]byte(tt.body)); got != tt.want {
				t.Errorf("of() = %s, want %s", got, tt.want)
			}
		})
	}
}

// The fields that reports are read from, and those that operations ask for, are known.
func TestShapesKnowWhatIsRead(t *testing.T) {
	t.Parallel()
	for peer, names := range map[string][]string{
		PeerIPQS:    {"fraud_score", "proxy", "ISP", "risk_score", "deliverability", "VOIP", "exposed", "file_hash", "detected_scans", "domain_age"},
		PeerOpenCTI: {"stixCyberObservable", "standard_id", "objectLabel", "registerConnector", "import_expected_number", "credential"},
	} {
		known := shapes(peer)
		for _, name := range names {
			if !known[name] {
				t.Errorf("shapes(%s) does not know %s", peer, name)
			}
		}
		if known["jdoe"] || len(known) > 1000 {
			t.Errorf("shapes(%s) knows %d names, want those of the API", peer, len(known))
		}
	}
}

package ipqs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const people = `{"success":true,"fraud_score":7,"first_name":"Jane","name":"JANE SPECIMEN, JOHN SPECIMEN",
	"associated_names":{"status":"Associated names found.","names":["JANE SPECIMEN","J. SPECIMEN"]},
	"associated_phone_numbers":{"status":"x","phone_numbers":["12025550142"]},
	"associated_email_addresses":{"status":"Enterprise Plus or higher required.","emails":["jane@example.com",""]},
	"sms_email":"12025550142@sms.example.net",
	"identity_data":[
		{"names":[{"first_name":"JANE","last_name":"SPECIMEN","middle_name":""}],"addresses":[{"address":"1 Sample St","city":"Sampletown","region":"CA","postal_code":"90000","country":null}],
		 "email_addresses":[{"email":"jane@example.com","first_seen":"2020-03-09 20:07:23"}],"phone_numbers":[{"formatted_phone_number":"+12025550142","country":null}],
		 "age":{"human":66,"birthday_iso":"1959-11-22T00:00:00-05:00","birthdate_certanty":"LIKELY_ACCURATE"},"source":"sample_list"},
		{"names":[],"addresses":[],"email_addresses":[],"phone_numbers":[],"age":[],"source":"sample_list"},
		""]}`

func TestDecodePersonal(t *testing.T) {
	t.Parallel()
	want := &Personal{
		Names:          List{"Jane", "JANE SPECIMEN", "JOHN SPECIMEN", "J. SPECIMEN"},
		EmailAddresses: List{"jane@example.com"},
		PhoneNumbers:   List{"12025550142"},
		Identities: []Identity{{
			Names: List{"JANE SPECIMEN"}, Addresses: List{"1 Sample St, Sampletown, CA, 90000"},
			EmailAddresses: List{"jane@example.com"}, PhoneNumbers: List{"+12025550142"},
			Birthday: "1959-11-22T00:00:00-05:00", Source: "sample_list",
		}},
	}
	if diff := cmp.Diff(want, decodePersonal(KindEmail, []byte(people))); diff != "" {
		t.Errorf("decodePersonal() (-want +got):\n%s", diff)
	}
	for name, body := range map[string]string{
		"nobody":    `{"first_name":"Unknown","name":"N/A","identity_data":[],"associated_names":[]}`,
		"a company": `{"first_name":"CORPORATE","name":""}`,
		"not in the plan": `{"associated_names":{"status":"Enterprise Plus or higher required.","names":[]},
			"associated_phone_numbers":{"status":"Enterprise Plus or higher required.","phone_numbers":["Premium required."]}}`,
	} {
		if got := decodePersonal(KindPhone, []byte(body)); got != nil {
			t.Errorf("decodePersonal() of %s = %+v, want nil", name, got)
		}
	}
	if got := decodePersonal(KindIP, []byte(people)); got != nil {
		t.Errorf("decodePersonal() of an IP address = %+v, want nil", got)
	}
}

// Whoever does not ask for personal data has none in the report, nowhere.
func TestClient_Lookup_personalData(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{KindEmail, KindPhone} {
		for _, asked := range []bool{false, true} {
			client := newClient(t, Options{PersonalData: asked, HTTPClient: canned(200, "application/json", people)})
			r, err := client.Lookup(t.Context(), Query{Kind: kind, Value: "x"})
			if err != nil {
				t.Fatalf("Lookup() = %v, want no error", err)
			}
			if got := r.Personal != nil; got != asked {
				t.Errorf("Lookup() of %s, personal data asked for: %t; has it: %t", kind, asked, got)
			}
			wire, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(strings.ToUpper(string(wire)), "SPECIMEN"); got != asked {
				t.Errorf("report = %s, personal data asked for: %t", wire, asked)
			}
		}
	}
}

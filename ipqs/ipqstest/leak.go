package ipqstest

import (
	"strings"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// requestHash is what the real one answers about every user name and password: the SHA-256 of "[]".
const requestHash = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"

// leakAnswer answers whether a value is in a leak. Some answers have one source as a text instead of a list.
func leakAnswer(kind ipqs.Kind) func(value string, free bool) map[string]any {
	return func(value string, _ bool) map[string]any {
		if value == "" {
			return refusal("")
		}
		d := diceOf(kind, value)
		has := func(word string) bool { return strings.Contains(strings.ToLower(value), word) }
		exposed := has("exposed") || !has("safe") && d.oneIn(2)
		fields := map[string]any{
			"success": true, "message": "Success", "request_hash": requestHash, "exposed": exposed,
			"source": []string{}, "first_seen": momentOf(time.Now().UTC(), "just now"),
		}
		if exposed {
			fields["first_seen"] = momentOf(time.Date(d.between(2012, 2023), 4, 10, 8, 37, 29, 0, time.UTC), "some years ago")
			fields["source"] = pick[any](d,
				"Sample Combo List", []string{"sample-forum.example", "Sample Stealer Logs"}, []string{"Sample Breach | 2021"})
		}
		if kind == ipqs.KindLeakEmail {
			fields["plain_text_password"] = exposed && d.oneIn(2)
		}
		return fields
	}
}

func momentOf(at time.Time, human string) map[string]any {
	return age(at.Unix(), at.Format(time.RFC3339), human)
}

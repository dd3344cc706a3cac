package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// shape shows of an answer what is neither secret nor personal, for the debug log. It knows the names of the fields that an
// API has, and shows no others: a name may be an address as well as a value may.
type shape map[string]bool

// shapes is the shape of a peer's answers.
func shapes(peer string) shape {
	known := shape{}
	for name := range strings.FieldsSeq("success message errors request_id fraud_score risk_score status found leaked exposed " +
		"data extensions code path locations line column name reason category") {
		known[name] = true
	}
	if peer == PeerOpenCTI {
		for _, word := range opencti.Words() {
			known[word] = true
		}
		return known
	}
	known.learn(reflect.TypeFor[ipqs.Report](), 0)
	return known
}

// learn adds the names of a type's fields in JSON, and of those within.
func (s shape) learn(t reflect.Type, depth int) {
	const deepest = 6
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || depth > deepest {
		return
	}
	for field := range t.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			s[name] = true
		}
		s.learn(field.Type, depth+1)
	}
}

// of shows fields, yes or no, and the few numbers and texts in which an API says how something is. Of other numbers and
// texts it shows that they are there, of fields that nobody knows how many they are.
func (s shape) of(body []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return fmt.Sprintf("%d bytes that are no JSON, or more than is shown", len(body))
	}
	text, err := json.Marshal(s.masked("", v))
	if err != nil {
		return "unreadable"
	}
	return string(text)
}

func (s shape) masked(field string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		shown, unknown := make(map[string]any, len(v)), 0
		for name, inner := range v {
			if !s[name] {
				unknown++
				continue
			}
			shown[name] = s.masked(name, inner)
		}
		if unknown > 0 {
			shown["[unknown fields]"] = unknown
		}
		return shown
	case []any:
		for i := range v {
			v[i] = s.masked(field, v[i])
		}
		return v
	case string:
		if told[field] && word.MatchString(v) || field == "version" && release.MatchString(v) {
			return v
		}
		return "[text]" // not even how long: it may be a password
	case json.Number:
		if counts[field] && len(v) <= 6 {
			return v
		}
		return "[number]"
	default:
		return v
	}
}

var (
	// told are the fields whose texts are words of the API's own, if they look like words.
	told = map[string]bool{"code": true, "status": true, "entity_type": true, "connection_type": true, "abuse_velocity": true, "__typename": true}
	word = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_ -]{0,39}$`)
	// release is what OpenCTI's version looks like.
	release = regexp.MustCompile(`^\d{1,4}\.\d{1,8}\.\d{1,4}(-[a-z0-9]{1,20})?$`)
	// counts are the fields whose numbers are scores and counts.
	counts = map[string]bool{
		"fraud_score": true, "risk_score": true, "smtp_score": true, "overall_score": true, "x_opencti_score": true, "x_opencti_order": true,
		"detected_scans": true, "total_scans": true, "import_expected_number": true, "import_processed_number": true,
		"line": true, "column": true,
	}
)

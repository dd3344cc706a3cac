package stix

import (
	"crypto/sha1" //nolint:gosec // UUID version 5 is defined over SHA-1
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// idNamespace is the UUID 00abedb4-aa42-466c-9c01-fed23315a9b7, which STIX 2.1 (section 2.9) gives for deterministic ids.
const idNamespace = "\x00\xab\xed\xb4\xaa\x42\x46\x6c\x9c\x01\xfe\xd2\x33\x15\xa9\xb7"

// IdentityID returns the id of the identity with that name and class ("organization", "individual" …). Case does not
// count in either, nor space around the name.
func IdentityID(name, class string) string {
	var scratch [256]byte
	d := startID(scratch[:0])
	d = d.text("identity_class", lower(class))
	d = d.text("name", lower(strip(name)))
	return d.id("identity")
}

// IndicatorID returns the id of the indicator with that pattern. Case and inner spaces count: see [Pattern] for the form
// in which OpenCTI keeps a pattern.
func IndicatorID(pattern string) string {
	var scratch [512]byte
	return startID(scratch[:0]).text("pattern", strip(pattern)).id("indicator")
}

// noteKey names the observable in the text that [NoteID] hashes.
const noteKey = "ipqs_note_of"

// NoteID returns the id of the note that the worker keeps about an observable: a version 5 UUID in the namespace of STIX
// 2.1 (section 2.9) of the JSON object {"ipqs_note_of":"<STIX id of the observable>"}. It does not depend on the note's text,
// so a later verdict updates the note. OpenCTI computes an id of its own from the content and keeps this one in
// x_opencti_stix_ids, where it is found.
func NoteID(observableID string) string {
	var scratch [128]byte
	return startID(scratch[:0]).text(noteKey, observableID).id("note")
}

// RelationshipID returns the id of the relationship of that type ("based-on") between two ids, for all time.
func RelationshipID(relationshipType, source, target string) string {
	return RelationshipPeriodID(relationshipType, source, target, "", "")
}

// RelationshipPeriodID returns the id of a relationship that holds from start to stop, texts as the relationship carries
// them; "" leaves one out. A stop without a start does not count.
func RelationshipPeriodID(relationshipType, source, target, start, stop string) string {
	var scratch [512]byte
	d := startID(scratch[:0])
	d = d.text("relationship_type", relationshipType)
	d = d.text("source_ref", source)
	if start != "" {
		d = d.text("start_time", start)
		if stop != "" {
			d = d.text("stop_time", stop)
		}
	}
	return d.text("target_ref", target).id("relationship")
}

// LocationID returns the id of the location of that name and of OpenCTI's type ("Country", "City", "Region"). Case does not
// count in the name, nor space around it. Positions, which have coordinates, go by others.
func LocationID(name, locationType string) string {
	var scratch [256]byte
	d := startID(scratch[:0])
	d = d.text("name", lower(strip(name)))
	return d.text("x_opencti_location_type", locationType).id("location")
}

// LabelID returns the id of a label object. It keeps case, as connectors do; OpenCTI itself matches labels without case,
// and keeps this id beside its own.
func LabelID(value string) string { return valueID("label", value) }

// ObservableID returns the id of an observable by its value, as it stands, case included: ipv4-addr, ipv6-addr,
// domain-name, url, email-addr, phone-number, mac-addr, hostname, text, user-agent. As in [Pattern], the value of a
// user-account is its login and that of an artifact its SHA-256. It is for observables that we name first; what OpenCTI
// asked about keeps the id it came with.
func ObservableID(stixType, value string) string {
	switch stixType {
	case typeUserAccount:
		return UserAccountID("", "", value)
	case typeArtifact:
		return ArtifactID(Hashes{"SHA-256": value}, "")
	default:
		return valueID(stixType, value)
	}
}

func valueID(objectType, value string) string {
	var scratch [512]byte
	return startID(scratch[:0]).text("value", value).id(objectType)
}

// AutonomousSystemID returns the id of the autonomous system with that number. Its name does not count.
func AutonomousSystemID(number int) string {
	var scratch [64]byte
	d := startID(scratch[:0]).key("number")
	return digest(strconv.AppendInt(d, int64(number), 10)).id("autonomous-system")
}

// UserAccountID returns the id of a user account; "" leaves a property out.
func UserAccountID(accountType, userID, login string) string {
	var scratch [256]byte
	d := startID(scratch[:0])
	if login != "" {
		d = d.text("account_login", login)
	}
	if accountType != "" {
		d = d.text("account_type", accountType)
	}
	if userID != "" {
		d = d.text("user_id", userID)
	}
	return d.id("user-account")
}

// ArtifactID returns the id of an artifact by the first of its hashes that counts (see [Hashes]) and its base64 payload;
// "" leaves the payload out, as OpenCTI itself does.
func ArtifactID(hashes Hashes, payload string) string {
	var scratch [512]byte
	d := startID(scratch[:0]).hash(hashes)
	if payload != "" {
		d = d.text("payload_bin", payload)
	}
	return d.id("artifact")
}

// FileID returns the id of a file by the first of its hashes that counts (see [Hashes]) and its name; "" leaves it out.
func FileID(hashes Hashes, name string) string {
	var scratch [512]byte
	d := startID(scratch[:0]).hash(hashes)
	if name != "" {
		d = d.text("name", name)
	}
	return d.id("file")
}

// BundleID returns the id of the bundle that a job makes, from what names the job. It is ours alone: a bundle's id is
// never stored.
func BundleID(jobKey string) string {
	var scratch [256]byte
	return startID(scratch[:0]).text("job", jobKey).id("bundle")
}

// digest is what an id is hashed from: the namespace, then an object in canonical JSON (RFC 8785), being written. Its
// methods are called in the order of the keys, which is the canonical one.
type digest []byte

func startID(scratch []byte) digest {
	return append(append(scratch, idNamespace...), '{')
}

func (d digest) key(name string) digest {
	if d[len(d)-1] != '{' {
		d = append(d, ',')
	}
	return append(appendCanonical(d, name), ':')
}

func (d digest) text(key, value string) digest { return appendCanonical(d.key(key), value) }

func (d digest) hash(hashes Hashes) digest {
	name, value := hashes.identifying()
	if name == "" {
		return d
	}
	d = append(d.key("hashes"), '{').text(name, value)
	return append(d, '}')
}

func (d digest) id(objectType string) string {
	return uuidOf(append(d, '}'), objectType)
}

// uuidOf returns objectType's id made of the UUID version 5 of a namespace and name in one.
func uuidOf(namespaced []byte, objectType string) string {
	sum := sha1.Sum(namespaced) //nolint:gosec // see the import
	sum[6] = sum[6]&0x0f | 5<<4
	sum[8] = sum[8]&0x3f | 0x80

	var scratch [80]byte
	b := append(append(scratch[:0], objectType...), "--"...)
	b = hex.AppendEncode(b, sum[0:4])
	for _, part := range [...][]byte{sum[4:6], sum[6:8], sum[8:10], sum[10:16]} {
		b = hex.AppendEncode(append(b, '-'), part)
	}
	return string(b)
}

// appendCanonical appends s as RFC 8785 writes a string: quotes, backslashes and control characters escaped in their
// shortest form, all else as it is. encoding/json cannot be told to: it escapes "<", ">", "&" or U+2028 as well. Bytes that
// are no UTF-8 become U+FFFD, each one, as they do in our encoded objects.
func appendCanonical(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xf])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

// lower is lower case by Unicode's full mapping, final sigma included, as Python and JavaScript have it; strings.ToLower
// maps rune by rune and differs.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return cases.Lower(language.Und).String(s)
		}
	}
	return strings.ToLower(s)
}

// strip removes space at both ends as Python's str.strip does, which counts four separators that unicode.IsSpace leaves.
func strip(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
}

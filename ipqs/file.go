package ipqs

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a scan's date names a zone, also where none is installed
)

// File is the report on a file.
type File struct {
	// Status is "cached" for a result that was there, "pending" while the scan goes on. What else it says ("completed",
	// "done", "finished") differs, and it may be missing; see [File.Pending].
	Status Text `json:"status,omitzero"`
	Type   Text `json:"type,omitzero"` // lookup, scan

	Detected      Bool    `json:"detected,omitzero"` // False also while nothing has been scanned
	DetectedScans Number  `json:"detected_scans,omitzero"`
	TotalScans    Number  `json:"total_scans,omitzero"`
	Engines       Engines `json:"result,omitzero"`

	Name     Text     `json:"file_name,omitzero"` // as it was uploaded
	SHA256   Text     `json:"file_hash,omitzero"`
	SHA1     Text     `json:"sha1,omitzero"`
	MD5      Text     `json:"md5,omitzero"`
	FileType Text     `json:"file_type,omitzero"` // MIME type
	Size     Number   `json:"file_size,omitzero"` // bytes
	ScanDate ScanDate `json:"scan_date,omitzero"`

	// OwnSHA256 is the hash of what was uploaded, in lower-case hexadecimal. IPQS does not send it: whoever uploads the file
	// fills it in, and [File.SameFile] compares.
	OwnSHA256 Text `json:"own_sha256,omitzero"`
}

// Pending reports whether there is no result yet: IPQS says so, or says nothing and no engine has run.
func (f *File) Pending() bool {
	switch strings.ToLower(string(f.Status)) {
	case "pending", "queued", "processing":
		return true
	case "":
		total, _ := f.TotalScans.Int()
		return len(f.Engines) == 0 && total == 0 && f.Detected != True
	default:
		return false
	}
}

// Cached reports whether a lookup has found the result of an earlier scan. A miss says "not_found", or nothing.
func (f *File) Cached() bool { return strings.EqualFold(string(f.Status), "cached") }

// SameFile reports whether IPQS has scanned what was uploaded: Unknown if either side gives no SHA-256.
func (f *File) SameFile() Bool {
	if len(f.SHA256) != sha256Digits || len(f.OwnSHA256) != sha256Digits {
		return Unknown
	}
	return BoolOf(strings.EqualFold(string(f.SHA256), string(f.OwnSHA256)))
}

const sha256Digits = 64

// Engine is what one scanner said of a file.
type Engine struct {
	Name     Text `json:"name,omitzero"`
	Detected Bool `json:"detected,omitzero"`
	// Error says that it could not tell, whatever Detected is.
	Error Bool `json:"error,omitzero"`
}

// Engines are the scanners that were asked; it is nil where IPQS says nothing of them.
type Engines []Engine

const maxEngines = 200

// UnmarshalJSON reads a list of objects, or an object whose members are named for the engine. Elements that are no objects
// are left out ("" stands in for none), and so is everything after the first 200.
func (e *Engines) UnmarshalJSON(data []byte) error {
	*e = nil
	var list []json.RawMessage
	var names []string
	if isObject(data) {
		var byName map[string]json.RawMessage
		readObject(data, &byName)
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			names, list = append(names, name), append(list, byName[name])
		}
	} else if list = readList(data); list == nil {
		return nil
	}
	engines := make(Engines, 0, min(len(list), maxEngines))
	for i, raw := range list[:min(len(list), maxEngines)] {
		if !isObject(raw) {
			continue
		}
		var engine Engine
		readObject(raw, &engine)
		if engine.Name == "" && names != nil {
			engine.Name = Text(clean(names[i]))
		}
		engines = append(engines, engine)
	}
	*e = engines
	return nil
}

// ScanDate is when a file was scanned. The zero value is unknown.
type ScanDate struct{ at time.Time }

// ScanDateOf returns the date in UTC, to the second.
func ScanDateOf(at time.Time) ScanDate {
	at = at.UTC().Truncate(time.Second)
	if at.Year() < 1970 || at.Year() > 9998 {
		return ScanDate{}
	}
	return ScanDate{at}
}

// Time returns the date in UTC, and whether it is known.
func (d ScanDate) Time() (time.Time, bool) { return d.at, !d.at.IsZero() }

// IsZero reports whether the date is unknown; it makes the omitzero option of encoding/json leave it out.
func (d ScanDate) IsZero() bool { return d.at.IsZero() }

// Equal reports whether both are the same date, or both unknown.
func (d ScanDate) Equal(other ScanDate) bool { return d.at.Equal(other.at) }

// MarshalJSON writes the date as RFC 3339, or null.
func (d ScanDate) MarshalJSON() ([]byte, error) {
	if d.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(d.at.Format(time.RFC3339))
}

// UnmarshalJSON reads what PHP makes of a date, {"date":"2026-03-29 19:40:02.000000","timezone":"America/New_York"}, which
// has the zone's name in place of an offset; and a text in RFC 3339, or without a zone, which then is UTC. Everything else
// is unknown.
func (d *ScanDate) UnmarshalJSON(data []byte) error {
	*d = ScanDate{}
	if text, ok := readString(data); ok {
		*d = parseScanDate(text, "")
		return nil
	}
	var php struct {
		Date     Text `json:"date"`
		Timezone Text `json:"timezone"`
	}
	readObject(data, &php)
	*d = parseScanDate(string(php.Date), string(php.Timezone))
	return nil
}

func parseScanDate(text, zone string) ScanDate {
	text = strings.TrimSpace(text)
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return ScanDateOf(at)
	}
	location, err := time.LoadLocation(zone) // UTC for ""
	if err != nil {
		return ScanDate{} // an hour off is worse than no date
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", text, location) // a fraction is accepted
	if err != nil {
		return ScanDate{}
	}
	return ScanDateOf(at)
}

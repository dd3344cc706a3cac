package ipqstest

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // as IPQS reports it
	"crypto/sha1" //nolint:gosec // as IPQS reports it
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// kindOf returns the kind whose endpoint a path is below [apiPath], and what comes after it.
func kindOf(below string) (kind ipqs.Kind, inPath string) {
	for _, kind := range ipqs.Kinds() {
		if rest, ok := strings.CutPrefix(below+"/", string(kind)+"/"); ok {
			return kind, strings.Trim(rest, "/")
		}
	}
	return "", ""
}

// maxUpload bounds a file; nobody knows what the real one takes.
const maxUpload = 64 << 20

// question reads what is asked about: a parameter, a member of a JSON body, or a file, whose value is its name.
func question(kind ipqs.Kind, r *http.Request) (value string, content []byte, err error) {
	switch {
	case kind.Upload():
		r.Body = http.MaxBytesReader(nil, r.Body, maxUpload)
		file, header, err := r.FormFile("file")
		if err != nil {
			return "", nil, err
		}
		defer func() { _ = file.Close() }()
		content, err := io.ReadAll(file)
		return header.Filename, content, err
	case kind.Secret():
		if r.URL.RawQuery != "" {
			return "", nil, errors.New("a secret in the URL")
		}
		var body map[string]string
		err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxUpload)).Decode(&body)
		return body[path.Base(string(kind))], nil, err
	case kind == ipqs.KindFileResult:
		return r.FormValue("request_id"), nil, nil
	default:
		return r.FormValue(string(kind)), nil, nil
	}
}

// scan is a file that was scanned, or is.
type scan struct {
	name    string
	content []byte
	polls   int // how often its result was asked for
}

var engines = []string{"IPQS Sample Suite", "IPQS Sample Scanner", "IPQS Sample Checks"}

// fileAnswer answers about a file or a scan.
func (f *Fake) fileAnswer(q ipqs.Query, content []byte, id, key string) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch q.Kind {
	case ipqs.KindFileResult:
		s := f.scans[q.Value]
		if s == nil {
			return refusal("Unable to locate records matching your request.")
		}
		s.polls++
		if s.polls <= f.options.ScanPolls || strings.Contains(s.name, "forever") {
			return s.fields("scan", "pending", q.Value)
		}
		f.keep(s)
		return texts(s.finished("scan", "done", q.Value))
	case ipqs.KindFileLookup:
		if known := f.scanned[sum(content)]; known != nil {
			return withURL(known.finished("lookup", "cached", id), id, key)
		}
		missed := (&scan{name: q.Value, content: content}).fields("lookup", "", id)
		delete(missed, "status")
		return withURL(missed, id, key)
	default:
		return f.begin(&scan{name: q.Value, content: content}, id, key)
	}
}

// begin starts a scan.
func (f *Fake) begin(s *scan, id, key string) map[string]any {
	switch {
	case strings.Contains(s.name, "refused"):
		return refusal("Invalid file. Could not download the file.")
	case strings.Contains(s.name, "immediate"):
		f.keep(s)
		return s.finished("scan", "completed", id)
	case strings.Contains(s.name, "noid"):
		pending := s.fields("scan", "pending", id)
		delete(pending, "request_id")
		return pending
	}
	f.scans[id] = s
	return withURL(s.fields("scan", "pending", id), id, key)
}

// keep has the next lookup of the file find the result.
func (f *Fake) keep(s *scan) {
	if !strings.Contains(s.name, "inconclusive") {
		f.scanned[sum(s.content)] = s
	}
}

// fields are those of a scan without a result.
func (s *scan) fields(kind, status, id string) map[string]any {
	m, h := md5.Sum(s.content), sha1.Sum(s.content) //nolint:gosec // as IPQS reports them
	return map[string]any{
		"success": true, "message": "Success", "file_name": s.name, "type": kind, "status": status, "request_id": id,
		"file_hash": sum(s.content), "sha1": hex.EncodeToString(h[:]), "md5": hex.EncodeToString(m[:]),
		"file_size": len(s.content), "file_type": http.DetectContentType(s.content),
		"detected": false, "detected_scans": 0, "total_scans": 0, "result": []string{""},
	}
}

// finished are those of a scan with one.
func (s *scan) finished(kind, status, id string) map[string]any {
	fields := s.fields(kind, status, id)
	if strings.Contains(s.name, "inconclusive") {
		return fields
	}
	bad := bytes.Contains(s.content, []byte("EICAR"))
	detected := 0
	var results []any
	for i, engine := range engines {
		found := bad && i < 2
		if found {
			detected++
		}
		results = append(results, map[string]any{"name": engine, "detected": found, "error": i == len(engines)-1})
	}
	fields["detected"], fields["detected_scans"], fields["total_scans"], fields["result"] = bad, detected, len(engines), results
	fields["scan_date"] = map[string]any{"date": "2026-03-29 19:40:02.000000", "timezone_type": 3, "timezone": "America/New_York"}
	return fields
}

// texts has the numbers of a result as texts, and no message.
func texts(fields map[string]any) map[string]any {
	delete(fields, "message")
	for name, value := range fields {
		if n, ok := value.(int); ok && slices.Contains([]string{"detected_scans", "total_scans", "file_size"}, name) {
			fields[name] = strconv.Itoa(n)
		}
	}
	return fields
}

// withURL adds where to ask for the result. The account's key is in it, as with the real one.
func withURL(fields map[string]any, id, key string) map[string]any {
	fields["update_url"] = "https://ipqs.example/api/json/postback/" + key + "?request_id=" + id
	return fields
}

func sum(content []byte) string {
	h := sha256.Sum256(content)
	return hex.EncodeToString(h[:])
}

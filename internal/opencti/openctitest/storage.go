package openctitest

import (
	"cmp"
	"maps"
	"mime"
	"net/http"
	"path"
	"strings"
)

// Account is what a User-Account has.
type Account struct {
	Login, Type, UserID string
	// Credential is the password. The platform displays an account that has nothing else by it.
	Credential string
}

// identity is what the platform displays of the account, and what makes its id.
func (a Account) identity() (value string, contributing map[string]any) {
	contributing = map[string]any{}
	for key, text := range map[string]string{"account_login": a.Login, "account_type": a.Type, "user_id": a.UserID} {
		if text != "" {
			contributing[key] = text
		}
	}
	return cmp.Or(a.Login, a.UserID, a.Credential, "Unknown"), contributing
}

// Artifact is what an Artifact has: the hash that it is known by, and a file in the storage, see [Platform.StoreFile].
type Artifact struct {
	SHA256 string
	FileID string // of its file; empty for none
	Size   int    // of the file, as the platform says
}

// own are the fields of an observable that others do not have, its type's name among them.
func (o *Observable) own() object {
	null := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	switch {
	case o.Account != nil:
		return object{
			"__typename": "UserAccount", "account_login": null(o.Account.Login), "account_type": null(o.Account.Type),
			"user_id": null(o.Account.UserID), "credential": null(o.Account.Credential),
		}
	case o.Artifact != nil:
		hashes, files := []object{}, []object{}
		if o.Artifact.SHA256 != "" {
			hashes = append(hashes, object{"algorithm": "SHA-256", "hash": o.Artifact.SHA256})
		}
		if id := o.Artifact.FileID; id != "" {
			files = append(files, object{"node": object{"id": id, "name": path.Base(id), "size": o.Artifact.Size}})
		}
		return object{"__typename": "Artifact", "hashes": hashes, "importFiles": object{"edges": files}}
	default:
		return nil
	}
}

// identified reports whether an imported object has what identifies the observable. An account that nothing identifies but
// its password is found by its id alone.
func (o *Observable) identified(object map[string]any) bool {
	switch {
	case o.Account != nil:
		return text(object["account_login"]) == o.Account.Login && text(object["user_id"]) == o.Account.UserID
	case o.Type == typeSystem:
		_, ok := object["number"].(float64)
		return ok
	case o.Artifact != nil:
		hashes, _ := object["hashes"].(map[string]any)
		return len(hashes) > 0 || text(object["url"]) != "" || text(object["name"]) != ""
	default:
		return text(object["value"]) != ""
	}
}

const storagePath = "/storage/get/"

// StoreFile puts a file into the storage, under an id such as "import/Artifact/<id>/<name>".
func (p *Platform) StoreFile(id string, content []byte) { p.set(func() { p.stored[id] = content }) }

// Downloads counts the requests of each file that was asked for, by its id.
func (p *Platform) Downloads() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.downloads)
}

// serveFile answers as the platform does: the file as an attachment, 403 to strangers, and 503 with some JSON where there is
// no such file; nor is there one, outside of a draft, of what the draft alone has.
func (p *Platform) serveFile(w http.ResponseWriter, r *http.Request) {
	_, id, _ := strings.Cut(r.URL.Path, storagePath) // unescaped already
	p.mu.Lock()
	content, ok := p.stored[id]
	draft, named := draftOf(r)
	if !named && p.rules.drafts {
		p.complain("a file was asked for without opencti-draft-id: it would be looked for in whatever draft the user has open")
	}
	for _, s := range p.graphs {
		for _, n := range s.nodes {
			o := n.given
			if o != nil && o.Artifact != nil && o.Artifact.FileID == id && p.draft(o.DraftID) != "" && o.DraftID != draft {
				ok = false
			}
		}
	}
	p.downloads[id]++
	p.mu.Unlock()
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Method != http.MethodGet:
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
	case !bearer || token == "" || p.token != "" && token != p.token:
		http.Error(w, "Forbidden", http.StatusForbidden)
	case !ok:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"status":"error","error":"File not found"}`))
	default:
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(id)}))
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(content)
	}
}

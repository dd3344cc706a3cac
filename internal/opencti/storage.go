package opencti

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// artifactFields are what an answer has beside the common fields when it is about an Artifact.
type artifactFields struct {
	URL      string `json:"url"`
	MIMEType string `json:"mime_type"`
	Hashes   []struct {
		Algorithm string `json:"algorithm"`
		Hash      string `json:"hash"`
	} `json:"hashes"`
	Files refs[struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Size int64  `json:"size"`
	}] `json:"importFiles"`
}

func (f artifactFields) artifact(entityType string) *Artifact {
	if !strings.EqualFold(entityType, "Artifact") {
		return nil
	}
	a := &Artifact{URL: f.URL, MIMEType: f.MIMEType}
	for _, h := range f.Hashes {
		if h.Algorithm == "" || h.Hash == "" {
			continue
		}
		if a.Hashes == nil {
			a.Hashes = make(map[string]string)
		}
		a.Hashes[strings.ToUpper(h.Algorithm)] = h.Hash
	}
	for _, file := range f.Files {
		if file.ID != "" {
			a.Files = append(a.Files, File(file))
		}
	}
	return a
}

// Download is one file of the platform's storage, to be read and closed.
type Download struct {
	io.ReadCloser
	// Size is how many bytes the platform announces, -1 if it does not.
	Size int64
}

// opDownload names the request in errors; it is no GraphQL.
const opDownload = "Download"

// Download begins to read a file of the platform's storage, in a draft unless draftID is empty. An error page is none: ErrNotFound says that the file, or the
// right to read it, is missing. The time limit of the client's HTTP client covers the reading, too.
func (c *Client) Download(ctx context.Context, fileID, draftID string) (*Download, error) {
	base := strings.TrimSuffix(c.endpoint, "/graphql")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/storage/get/"+escaped(fileID), nil)
	if err != nil {
		return nil, wayError(ctx, opDownload, err)
	}
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set(draftHeader, draftID)
	if c.userAgent != "" {
		request.Header.Set("User-Agent", c.userAgent)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, wayError(ctx, opDownload, err)
	}
	if err := storageRefusal(response); err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return &Download{ReadCloser: response.Body, Size: response.ContentLength}, nil
}

// storageRefusal is the error of an answer that is no file, or nil. The platform answers 403 where the user may not know
// whether there is a file, and its front page, with 200, where a path leads nowhere; a file comes as an attachment.
func storageRefusal(response *http.Response) error {
	e := &Error{Operation: opDownload, Status: response.StatusCode}
	switch status := response.StatusCode; status {
	case http.StatusOK:
		disposition, _, err := mime.ParseMediaType(response.Header.Get("Content-Disposition"))
		media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
		if media == "text/html" && (err != nil || disposition != "attachment") {
			e.Code, e.Message = codeNull, "a web page instead of the file"
			return e
		}
		return nil
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone:
		e.Code, e.Message = codeNull, fmt.Sprintf("there is no such file, or it may not be read (HTTP %d)", status)
		return e
	default:
		e.Message = http.StatusText(status)
		return e
	}
}

// escaped writes a file's id, which looks like a path, so that any name in it survives: "#", "?" and "%41" too.
func escaped(fileID string) string {
	parts := strings.Split(fileID, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

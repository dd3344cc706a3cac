package ipqs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
)

// request makes the HTTP request of a query. What is asked about stands in the URL only where that is no secret: URLs are
// written into the logs of every proxy on the way.
func (c *Client) request(ctx context.Context, q Query) (*http.Request, error) {
	var req *http.Request
	var err error
	switch parameters := c.parameters.Of(q.Kind); {
	case q.Kind.Secret():
		req, err = c.postSecret(ctx, q)
	case q.Kind.Upload():
		req, err = c.postFile(ctx, q)
	case q.Kind == KindFileResult:
		req, err = c.get(ctx, q.Kind, url.Values{"request_id": {q.Value}})
	default:
		parameters.Set(string(q.Kind), q.Value)
		req, err = c.get(ctx, q.Kind, parameters)
	}
	if err != nil {
		return nil, err
	}
	req.Header.Set(keyHeader, c.key)
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json")
	return req, nil
}

func (c *Client) get(ctx context.Context, kind Kind, query url.Values) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/"+string(kind)+"?"+query.Encode(), nil)
}

// postSecret sends {"password": …}: the member is named like the last part of the path.
func (c *Client) postSecret(ctx context.Context, q Query) (*http.Request, error) {
	body, err := json.Marshal(map[string]string{path.Base(string(q.Kind)): q.Value})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+string(q.Kind), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// postFile sends the file as it is read, under its length, which not every server is content to find out by itself.
func (c *Client) postFile(ctx context.Context, q Query) (*http.Request, error) {
	var around bytes.Buffer
	form := multipart.NewWriter(&around)
	if _, err := form.CreateFormFile("file", q.Upload.Name); err != nil {
		return nil, err
	}
	before := around.Len()
	if err := form.Close(); err != nil {
		return nil, err
	}
	head, tail := around.Bytes()[:before], around.Bytes()[before:]
	open := func() (io.ReadCloser, error) {
		file, err := q.Upload.Open()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUpload, err)
		}
		content := &exactly{file: file, left: q.Upload.Size}
		return body{io.MultiReader(bytes.NewReader(head), content, bytes.NewReader(tail)), file}, nil
	}
	first, err := open()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+string(q.Kind), first)
	if err != nil {
		_ = first.Close()
		return nil, err
	}
	req.ContentLength = int64(len(head)) + q.Upload.Size + int64(len(tail))
	req.GetBody = open // for a connection that turns out to be closed
	req.Header.Set("Content-Type", form.FormDataContentType())
	return req, nil
}

// body is read from one place and closed at another.
type body struct {
	io.Reader
	io.Closer
}

// ErrUpload is found by errors.Is in the error of a lookup whose file could not be read: it is no word on IPQS, and no
// [*APIError].
var ErrUpload = errors.New("ipqs: reading the file to upload")

// exactly reads a file that must have a known length: an answer about half of it would be about something else.
type exactly struct {
	file io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		if n, _ := io.ReadFull(e.file, make([]byte, 1)); n > 0 {
			return 0, fmt.Errorf("%w: it is longer than it was", ErrUpload)
		}
		return 0, io.EOF
	}
	n, err := e.file.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && e.left > 0:
		return n, fmt.Errorf("%w: it is %d bytes shorter than it was", ErrUpload, e.left)
	case err != nil && !errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: %w", ErrUpload, err)
	}
	return n, nil // the end comes with the next read, once the length is sure
}

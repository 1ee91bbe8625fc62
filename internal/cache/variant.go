package cache

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	fastgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// minCompressed is the size from which on compressing an answer pays: about what fits into a packet anyway.
const minCompressed = 1 << 10

// encodings are the forms in which an answer can be sent, the best first.
var encodings = [...]struct {
	name   string
	writer func(w io.Writer) (io.WriteCloser, error)
}{
	{"zstd", func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)) }},
	{"br", func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriterLevel(w, 5), nil }},
	{"gzip", func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }},
}

// ETag returns the strong entity tag of a representation of the answer (RFC 9110, 8.8.3): a digest of the content, and what
// tells the representation from the plain one, whose name is "".
func (e *Entry) ETag(representation string) string {
	known := e.etag.Load()
	if known == nil {
		sum := sha256.Sum256(e.Body)
		text := base64.RawURLEncoding.EncodeToString(sum[:12])
		known = &text
		e.etag.Store(known)
	}
	if representation == "" {
		return `"` + *known + `"`
	}
	return `"` + *known + "-" + representation + `"`
}

// Variant returns the answer in the best encoding that a client accepts, by its Accept-Encoding (RFC 9110, 12.5.3). Each is
// made once.
func (e *Entry) Variant(accepted string) (body []byte, encoding string) {
	if len(e.Body) < minCompressed || accepted == "" {
		return e.Body, ""
	}
	for i, by := range encodings {
		if !accepts(accepted, by.name) {
			continue
		}
		if known := e.variants[i].Load(); known != nil && *known == nil {
			continue // it does not pay
		} else if known != nil {
			return *known, by.name
		}
		var b bytes.Buffer
		w, err := by.writer(&b)
		if err == nil {
			_, err = w.Write(e.Body)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil || b.Len() >= len(e.Body) {
			e.variants[i].Store(new([]byte))
			continue
		}
		made := bytes.Clone(b.Bytes())
		e.variants[i].Store(&made)
		return made, by.name
	}
	return e.Body, ""
}

// These are for what is sent once: fast, where the variants of an answer that is kept are small.
var (
	onceZstd = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	onceGzip = sync.Pool{New: func() any { return fastgzip.NewWriter(nil) }}
)

// Compress returns an answer that is not kept in an encoding that a client accepts, if that pays.
func Compress(body []byte, accepted string) (compressed []byte, encoding string) {
	switch {
	case len(body) < minCompressed:
	case accepts(accepted, "zstd"):
		return onceZstd().EncodeAll(body, nil), "zstd"
	case accepts(accepted, "gzip"):
		var b bytes.Buffer
		w := onceGzip.Get().(*fastgzip.Writer)
		defer onceGzip.Put(w)
		w.Reset(&b)
		if _, err := w.Write(body); err == nil && w.Close() == nil {
			return b.Bytes(), "gzip"
		}
	}
	return body, ""
}

// accepts reports whether an Accept-Encoding names a coding, with a quality above 0. The wildcard is not taken up: whoever can
// read a coding says so.
func accepts(header, coding string) bool {
	for header != "" {
		var part string
		part, header, _ = strings.Cut(header, ",")
		name, parameter, weighted := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		if !weighted {
			return true
		}
		value, found := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(parameter, " ", "")), "q=")
		q, err := strconv.ParseFloat(value, 64)
		return found && err == nil && q > 0
	}
	return false
}

package portal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static/*
var staticFiles embed.FS

// assets are the files that pages load. Their address has a hash of them all, so that
// browsers may keep them for ever, and modules may import each other by name.
type assets struct {
	prefix string // /static/<hash>/
	files  map[string][]byte
	packed map[string]func() []byte // by gzip, when it is first asked for; nil where that is not shorter
}

// loadAssets reads the assets, once per process.
var loadAssets = sync.OnceValues(readAssets)

// assetTypes are the kinds of files that are served.
var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
}

func readAssets() (assets, error) {
	a := assets{files: map[string][]byte{}, packed: map[string]func() []byte{}}
	list, err := staticFiles.ReadDir("static")
	if err != nil {
		return a, fmt.Errorf("reading assets: %w", err)
	}
	sum := sha256.New()
	for _, f := range list {
		raw, err := staticFiles.ReadFile("static/" + f.Name())
		if err != nil {
			return a, fmt.Errorf("reading assets: %w", err)
		}
		if assetTypes[path.Ext(f.Name())] == "" {
			return a, fmt.Errorf("reading assets: %s is of no known kind", f.Name())
		}
		fmt.Fprintf(sum, "%s %d ", f.Name(), len(raw))
		sum.Write(raw)
		a.files[f.Name()] = raw
		a.packed[f.Name()] = sync.OnceValue(func() []byte { return pack(raw) })
	}
	a.prefix = "/static/" + hex.EncodeToString(sum.Sum(nil)[:8]) + "/"
	return a, nil
}

// pack returns data as gzip has it (RFC 1952); nil if that is not shorter.
func pack(raw []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a right one
	_, _ = w.Write(raw)                                   // memory takes everything
	_ = w.Close()
	if b.Len() >= len(raw) {
		return nil
	}
	return b.Bytes()
}

// takesGzip reports whether a browser says that it takes gzip. One that says so with a
// weight gets the file as it is.
func takesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		if strings.TrimSpace(coding) == "gzip" {
			return true
		}
	}
	return false
}

// path returns the address of a file.
func (a assets) path(name string) (string, error) {
	if a.files[name] == nil {
		return "", fmt.Errorf("there is no asset %s", name)
	}
	return a.prefix + name, nil
}

func (p *Portal) serveAsset(w http.ResponseWriter, r *http.Request) {
	p.sendAsset(w, r, strings.TrimPrefix(r.URL.Path, p.assets.prefix), "public, max-age=31536000, immutable")
}

// serveIcon is for browsers that ask for the icon without a page that names it.
func (p *Portal) serveIcon(w http.ResponseWriter, r *http.Request) {
	p.sendAsset(w, r, "icon.svg", "public, max-age=86400")
}

func (p *Portal) sendAsset(w http.ResponseWriter, r *http.Request, name, keep string) {
	raw, ok := p.assets.files[name]
	if !ok {
		http.Error(w, "There is no such file.", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", assetTypes[path.Ext(name)])
	h.Set("Cache-Control", keep)
	h.Del("Vary")
	if packed := p.assets.packed[name](); packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r) {
			h.Set("Content-Encoding", "gzip")
			raw = packed
		}
	}
	_, _ = w.Write(raw) // the browser may be gone
}

// icons are drawn in 20 by 20 pixels.
var icons = map[string]template.HTML{
	"live":     `<path d="M2.5 6.5a2 2 0 0 1 2-2h7a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-7a2 2 0 0 1-2-2z"/><path d="m13.5 9 4-2.5v7l-4-2.5"/>`,
	"received": `<path d="M10 3v9M6.5 8.5 10 12l3.5-3.5"/><path d="M3 12v3.5a1.5 1.5 0 0 0 1.5 1.5h11a1.5 1.5 0 0 0 1.5-1.5V12"/>`,
	"sent":     `<circle cx="7.5" cy="7" r="3"/><path d="M2 16.5c.6-3 2.6-4.5 5.5-4.5s4.9 1.5 5.5 4.5"/><path d="M15 6v5M12.5 8.500h5"/>`,
	"devices":  `<rect x="3" y="4" width="14" height="8" rx="2"/><circle cx="10" cy="8" r="2"/><path d="M10 12v4M6.5 16h7"/>`,
	"alarms":   `<path d="M5 13.500V9a5 5 0 0 1 10 0v4.500l1.5 1.500h-13z"/><path d="M8.5 17.500h3"/>`,
	"account":  `<circle cx="10" cy="6.5" r="3.5"/><path d="M3.5 17c.8-3.5 3.2-5 6.5-5s5.7 1.5 6.5 5"/>`,
	"wrong":    `<circle cx="10" cy="10" r="7.5"/><path d="M10 6v5M10 13.800v.2"/>`,
	"done":     `<circle cx="10" cy="10" r="7.5"/><path d="m6.5 10 2.5 2.5 4.5-5"/>`,
	"add":      `<path d="M10 4v12M4 10h12"/>`,
	"back":     `<path d="M12.5 4 6.5 10l6 6"/>`,
	"next":     `<path d="m7.5 4 6 6-6 6"/>`,
	"play":     `<path d="M6 4v12l10-6z"/>`,
	"pause":    `<path d="M7 4.500v11M13 4.500v11"/>`,
	"sound":    `<path d="M3 8v4h3l4 3V5L6 8z"/><path d="M13 7.500a3.500 3.500 0 0 1 0 5M15.5 5a7 7 0 0 1 0 10"/>`,
}

// icon returns a picture that says nothing that words do not say.
func icon(name string) (template.HTML, error) {
	drawn, ok := icons[name]
	if !ok {
		return "", fmt.Errorf("there is no icon %s", name)
	}
	return `<svg class="icon" viewBox="0 0 20 20" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">` + drawn + `</svg>`, nil
}

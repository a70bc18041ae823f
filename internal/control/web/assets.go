package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// What is below third_party is as its makers published it, with their licences.
//
//go:embed assets third_party/htmx/htmx.min.js third_party/uplot/uPlot.iife.min.js third_party/uplot/uPlot.min.css
var assetFiles embed.FS

const assetsPath = "/assets/"

// assets are the files that pages refer to. Their names hold a hash of what is
// in them, so a browser may keep them for ever and still never has an old one.
type assets struct {
	names map[string]string // "page.css" → "page-0123456789ab.css"
	files map[string]asset  // by the latter
}

type asset struct {
	kind  string
	bytes []byte
}

var assetKinds = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func readAssets() (*assets, error) {
	a := &assets{names: make(map[string]string), files: make(map[string]asset)}
	for _, file := range []string{
		"assets/page.css", "assets/page.js", "assets/chart.js", "assets/icon.svg",
		"third_party/htmx/htmx.min.js", "third_party/uplot/uPlot.iife.min.js", "third_party/uplot/uPlot.min.css",
	} {
		text, err := assetFiles.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("page's assets: %w", err)
		}
		sum := sha256.Sum256(text)
		base, ext := path.Base(file), path.Ext(file)
		name := strings.TrimSuffix(base, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		a.names[base] = name
		a.files[name] = asset{assetKinds[ext], text}
	}
	return a, nil
}

// path is where a page finds the file.
func (a *assets) path(name string) (string, error) {
	hashed, ok := a.names[name]
	if !ok {
		return "", fmt.Errorf("no asset %s", name)
	}
	return assetsPath + hashed, nil
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	one, ok := a.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", one.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(one.bytes))
}

func etag(text []byte) string {
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

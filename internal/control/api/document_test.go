package api_test

import (
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const documentFile = "../../../docs/openapi.yaml"

var update = flag.Bool("update", false, "write docs/openapi.yaml instead of comparing")

func TestDocument(t *testing.T) {
	p := newPlant(t)
	want := p.ask("", "GET", "/openapi.yaml", "")
	if want.status != http.StatusOK || !strings.HasPrefix(want.body, "components:") {
		t.Fatalf("answer %d %.100s", want.status, want.body)
	}
	if *update {
		if err := os.WriteFile(documentFile, []byte(want.body), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.body, string(got)); diff != "" {
		t.Errorf("docs/openapi.yaml is stale: run go generate ./internal/control/api (-want +got):\n%s", diff)
	}
}

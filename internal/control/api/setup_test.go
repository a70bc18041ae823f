package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/api"
	"github.com/getbindu/bindu-edge/test/planetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plant is one control plane with its API, and a key of each role.
type plant struct {
	t     *testing.T
	kept  control.Store
	plane *control.Plane
	api   *api.API
	log   *locked
	keys  map[control.Role]string
}

// locked is a buffer that several goroutines may write to.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newPlant(t *testing.T, edit ...func(*api.Options)) *plant {
	t.Helper()
	return plantOn(t, planetest.Store(t), edit...)
}

func plantOn(t *testing.T, kept control.Store, edit ...func(*api.Options)) *plant {
	t.Helper()
	p := &plant{t: t, kept: kept, log: &locked{}, keys: make(map[control.Role]string)}
	logger := slog.New(slog.NewJSONHandler(p.log, nil))
	var err error
	if p.plane, err = control.New(control.Options{Store: kept, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	o := api.Options{Plane: p.plane, Logger: logger}
	for _, e := range edit {
		e(&o)
	}
	if p.api, err = api.New(o); err != nil {
		t.Fatal(err)
	}
	return p
}

// key makes a key with the role, once.
func (p *plant) key(role control.Role) string {
	p.t.Helper()
	if p.keys[role] == "" {
		_, secret, err := p.plane.CreateKey(p.t.Context(), "a "+string(role), role)
		if err != nil {
			p.t.Fatal(err)
		}
		p.keys[role] = secret
	}
	return p.keys[role]
}

// answer is what came back, read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request as who has the role; "" is nobody. headers are pairs.
func (p *plant) ask(role control.Role, method, target, body string, headers ...string) answer {
	p.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if role != "" {
		r.Header.Set("Authorization", "Bearer "+p.key(role))
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return p.send(r)
}

func (p *plant) send(r *http.Request) answer {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.api.ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{w.Code, w.Result().Header, string(text)}
}

// as reads the answer, which must have the status.
func as[T any](t *testing.T, a answer, status int) T {
	t.Helper()
	var v T
	if a.status != status {
		t.Fatalf("answer %d %s, want %d", a.status, a.body, status)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return v
}

type object = map[string]any

// make1 makes a tunnel from JSON members.
func (p *plant) make1(members string) object {
	p.t.Helper()
	return as[object](p.t, p.ask(control.RoleOperator, "POST", "/api/v1/tunnels", "{"+members+"}"), http.StatusCreated)
}

func path(tunnel object, more ...string) string {
	return "/api/v1/tunnels/" + tunnel["tunnel_id"].(string) + strings.Join(more, "")
}

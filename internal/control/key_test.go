package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/credential"
	"github.com/getbindu/bindu-edge/test/planetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRoles(t *testing.T) {
	for _, row := range []struct {
		role control.Role
		want string // of see, change, manage, serve
	}{
		{control.RoleAdmin, "yyyn"}, {control.RoleOperator, "yynn"}, {control.RoleViewer, "ynnn"},
		{control.RoleEdge, "nnny"}, {"", "nnnn"}, {"root", "nnnn"},
	} {
		got := ""
		for _, right := range []control.Right{control.MaySee, control.MayChange, control.MayManage, control.MayServe} {
			if row.role.Has(right) {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != row.want {
			t.Errorf("%q: %s, want %s", row.role, got, row.want)
		}
	}
}

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newPlane(t)
		ctx := t.Context()
		secret, made, err := p.FirstAdmin(ctx, "")
		if err != nil || !made || control.CheckKey(secret) != nil {
			t.Fatalf("FirstAdmin: %v, %v", made, err)
		}
		if again, made, err := p.FirstAdmin(ctx, ""); err != nil || made || again != "" {
			t.Errorf("FirstAdmin again: %q, %v, %v", again, made, err)
		}
		admin, err := p.Authenticate(ctx, secret)
		if err != nil || admin.Role != control.RoleAdmin {
			t.Fatalf("Authenticate: %+v, %v", admin, err)
		}
		if err := p.RevokeKey(ctx, admin.ID); !errors.Is(err, control.ErrLastAdmin) {
			t.Errorf("revoke the last admin: %v, want ErrLastAdmin", err)
		}
		pod, podSecret, err := p.CreateKey(ctx, "pod", control.RoleEdge)
		if err != nil {
			t.Fatal(err)
		}
		for name, wrong := range map[string]string{
			"empty": "", "a token": control.NewToken(), "another": control.NewKey(), "cut off": podSecret[:len(podSecret)-1],
			"injection": "' OR '1'='1",
		} {
			if _, err := p.Authenticate(ctx, wrong); !errors.Is(err, control.ErrUnauthorized) {
				t.Errorf("%s: %v, want ErrUnauthorized", name, err)
			}
		}
		if _, err := p.Authenticate(ctx, podSecret); err != nil {
			t.Error(err)
		}

		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- p.Run(running) }()
		time.Sleep(2 * time.Minute) // the bubble's clock
		keys, err := p.Keys(ctx)
		if err != nil || len(keys) != 2 || keys[0].LastUsedAt.IsZero() || keys[1].LastUsedAt.IsZero() {
			t.Errorf("keys after they were used: %+v, %v", keys, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}

		if err := errors.Join(p.RevokeKey(ctx, pod.ID), p.RevokeKey(ctx, pod.ID)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Authenticate(ctx, podSecret); !errors.Is(err, control.ErrUnauthorized) {
			t.Errorf("revoked: %v, want ErrUnauthorized", err)
		}
		if err := p.RevokeKey(ctx, "nobody"); !errors.Is(err, control.ErrMissing) {
			t.Errorf("revoke nobody's: %v, want ErrMissing", err)
		}
		for _, bad := range []struct{ field, name, role string }{{"name", " ", "viewer"}, {"name", "a\nb", "viewer"}, {"role", "ann", "root"}, {"role", "ann", ""}} {
			var field *control.FieldError
			if _, _, err := p.CreateKey(ctx, bad.name, control.Role(bad.role)); !errors.As(err, &field) || field.Field != bad.field {
				t.Errorf("CreateKey(%q, %q): %v, want a complaint about %s", bad.name, bad.role, err, bad.field)
			}
		}
		entries, err := p.Audit(ctx, "", 0, 0)
		if err != nil || len(entries) != 3 {
			t.Errorf("audit: %+v, %v, want three entries", entries, err)
		}
		if log.Len() != 0 {
			t.Errorf("log: %s", log)
		}
	})
}

func TestFirstAdminFromAFile(t *testing.T) {
	p, _ := newPlane(t)
	ctx := t.Context()
	given := control.NewKey()
	for i, want := range []bool{true, false} {
		if _, made, err := p.FirstAdmin(ctx, given); err != nil || made != want {
			t.Errorf("start %d: made %v, %v, want %v", i+1, made, err, want)
		}
	}
	k, err := p.Authenticate(ctx, given)
	if err != nil || k.Role != control.RoleAdmin {
		t.Fatalf("Authenticate: %+v, %v", k, err)
	}
	// One more from another file, then the first is revoked for good.
	if _, made, err := p.FirstAdmin(ctx, control.NewKey()); err != nil || !made {
		t.Fatalf("another file: %v, %v", made, err)
	}
	if err := p.RevokeKey(ctx, k.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.FirstAdmin(ctx, given); !errors.Is(err, control.ErrUnauthorized) {
		t.Errorf("a revoked key in the file: %v, want ErrUnauthorized", err)
	}
	if _, _, err := p.FirstAdmin(ctx, "admin"); !errors.Is(err, control.ErrMalformedToken) {
		t.Errorf("a guessable key in the file: %v, want ErrMalformedToken", err)
	}
}

func TestKeysAreBounded(t *testing.T) {
	s := planetest.Store(t)
	p, err := control.New(control.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), func(ctx context.Context, tx control.Tx) error {
		for i := range control.MaxKeys - 1 {
			id := fmt.Sprint(i)
			if err := tx.PutKey(ctx, control.Key{ID: id, Digest: control.DigestOf(id), CreatedAt: time.Now()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.CreateKey(t.Context(), "k", control.RoleViewer); err != nil {
		t.Errorf("the last that fits: %v", err)
	}
	if _, _, err := p.CreateKey(t.Context(), "k", control.RoleViewer); !errors.Is(err, control.ErrFull) {
		t.Errorf("one too many: %v, want ErrFull", err)
	}
}

func TestNewCredentialRefuses(t *testing.T) {
	for _, secret := range []string{"", "short", strings.Repeat("a", credential.MaxLength+1)} {
		if _, err := control.NewCredential("ann", secret); !errors.Is(err, control.ErrInvalid) {
			t.Errorf("%d bytes: %v, want ErrInvalid", len(secret), err)
		}
	}
}

package credential_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/credential"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	made, err := credential.New("long enough")
	if err != nil {
		t.Fatal(err)
	}
	read, err := credential.Parse(made.String())
	if err != nil || read != made {
		t.Fatalf("Parse(%s): %v, %v", made, read, err)
	}
	other, err := credential.New("long enough")
	if err != nil || other == made {
		t.Errorf("the same secret has the same hash twice: %v", err)
	}
	for _, row := range []struct {
		name, input string
		want        bool
	}{
		{"the secret", "long enough", true},
		{"another", "long enougH", false},
		{"longer", "long enough ", false},
		{"empty", "", false},
		{"too long", strings.Repeat("x", credential.MaxLength+1), false},
	} {
		if got := read.Matches(row.input); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	if (credential.Hash{}).Matches("long enough") {
		t.Error("the zero Hash matches")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", "1234567", strings.Repeat("x", credential.MaxLength+1)} {
		if _, err := credential.New(secret); !errors.Is(err, credential.ErrLength) {
			t.Errorf("%d bytes: %v, want ErrLength", len(secret), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	salt, sum := strings.Repeat("A", 22), strings.Repeat("A", 43)
	for _, text := range []string{
		"", "$", "$pbkdf2-sha256$i=1$" + salt + "$" + sum, "$pbkdf2-sha256$i=0$" + salt + "$" + sum,
		"$pbkdf2-sha256$i=99999999999$" + salt + "$" + sum, "$pbkdf2-sha256$i=1$$" + sum, "$pbkdf2-sha1$i=1$" + salt + "$" + sum,
		"$pbkdf2-sha256$i=1$" + salt + "$" + sum + "$", "$pbkdf2-sha256$i=1$" + salt + "=$" + sum,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := credential.Parse(text)
		if err != nil {
			if h != (credential.Hash{}) {
				t.Errorf("%q: an error with a hash", text)
			}
			return
		}
		if again, err := credential.Parse(h.String()); err != nil || again != h {
			t.Errorf("%q: written as %s, which is %v, %v", text, h, again, err)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	h, err := credential.New("long enough")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h.Matches("long enough")
	}
}

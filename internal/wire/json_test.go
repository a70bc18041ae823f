package wire

import "testing"

func TestFieldText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, bytes, text string }{
		{"ASCII", "a b\t~", "a b\t~"},
		{"nothing", "", ""},
		{"Latin-1", "caf\xe9", "caf\u00e9"},
		{"UTF-8", "caf\xc3\xa9", "caf\u00c3\u00a9"},
		{"all", "\x80\xff", "\u0080\u00ff"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := FieldText(tt.bytes); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			if got := FieldBytes(tt.text); got != tt.bytes {
				t.Errorf("bytes %q, want %q", got, tt.bytes)
			}
		})
	}
	if got := FieldBytes("é日"); got != "é日" {
		t.Errorf("text that was no field became %q", got)
	}
}

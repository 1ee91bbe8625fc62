package intake_test

import (
	"strings"
	"testing"

	"emporium/internal/intake"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]struct{ web, ok bool }{
		"https://x.example/a?b#c": {true, true}, "HTTP://x.example": {true, true}, "/pictures/a.svg": {false, true}, "/": {false, true},
		"": {}, "x": {}, "//x.example/a": {}, `/\x.example`: {}, `https://x.example\a`: {}, "https:///a": {}, "https:x": {}, "ftp://x.example": {},
		"javascript:alert(1)": {}, "data:text/html,x": {}, "https://ada@x.example": {}, "https://ada:b@x.example": {}, "https://x.example/\n": {},
		"https://x.example/" + strings.Repeat("a", 2030): {true, true}, "https://x.example/" + strings.Repeat("a", 2031): {},
	} {
		if web, err := intake.Web(address), intake.CheckURL(address); web != want.web || (err == nil) != want.ok {
			t.Errorf("%q: %t, %v, want %+v", address, web, err, want)
		}
	}
}

func TestStrip(t *testing.T) {
	t.Parallel()
	if got := intake.Strip("a\tb\r\n\x00\x07\u0085\u202e\u2066\ufffd\uffff\ufdd0\xffé🧵"); got != "a\tb\r\né🧵" || intake.CheckText(got) != nil {
		t.Errorf("%q", got)
	}
}

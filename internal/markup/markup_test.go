package markup_test

import (
	"strings"
	"testing"

	"emporium/internal/intake"
	"emporium/internal/markup"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, markup, text string }{
		{"", "", ""},
		{"plain", "plain", "plain"},
		{"<P>It's  \"soft\" &amp; <b>light</b></P>\n<p>Two</p>", "<p>It's  \"soft\" &amp; <b>light</b></p>\n<p>Two</p>", "It's \"soft\" & light\nTwo"},
		{"a<br>b<br/>c<hr>d", "a<br>b<br/>c<hr>d", "a\nb\nc\nd"},
		{"<ul>\n <li>One</li>\n <li>Two</li></ul>", "<ul>\n <li>One</li>\n <li>Two</li></ul>", "One\nTwo"},
		{"<table><tr><td>A</td><td>1</td></tr><tr><td>B</td></tr></table>", "<table><tr><td>A</td><td>1</td></tr><tr><td>B</td></tr></table>", "A 1\nB"},
		{"1 &lt; 2&nbsp;&euro; < 3", "1 &lt; 2\u00a0€ &lt; 3", "1 < 2 € < 3"},
		{`<img src="https://x.example/a.gif" onerror="x()">a<script>b</script><style>c</style><iframe src="/x">d</iframe><!-- e -->`, "a", "a"},
		{`<a href="javascript:x()">a</a><a href="https://x.example/" onclick="x()">b</a><a href="/c">c</a>`,
			`a<a href="https://x.example/" rel="nofollow">b</a><a href="/c" rel="nofollow">c</a>`, "abc"},
		{`<p style="position:fixed" class="x" id="y">a</p><form><input name="q">b</form>`, `<p id="y">a</p>b`, "a\nb"},
		{"<script", "", ""},
		{`<a href='/?a="b"&c'>"a"`, `<a href="/?a=&#34;b&#34;&amp;c" rel="nofollow">"a"`, `"a"`},
		{"&amp;#39;&lt;script&gt;", "&amp;#39;&lt;script&gt;", "&#39;<script>"},
		// What no text may have is not let in as an entity, either.
		{"a&#x202e;b&#7;c&#xfffe;&#0;d\u202e\x01", "abcd", "abcd"},
		{`<abbr title="x&#x301;&#x2066;">e&#x301;</abbr>`, `<abbr>é</abbr>`, "é"},
		// A > and a stroke through it are one character in normalisation form C, which ends no tag.
		{"<b>x</b>&#x338; onclick=y() <i>z</i>", "<b>xz</i>", "xz"},
		{"&lt;&#x338;", "&lt;\u0338", "\u226e"},
	} {
		html, text := markup.Clean(c.raw)
		if html != c.markup || text != c.text {
			t.Errorf("Clean(%q)\n= %q, %q\n, %q, %q", c.raw, html, text, c.markup, c.text)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("<p>It's &amp; <b>x</b><!-- y --><a href=\"/?a=1&b\">z</a>")
	f.Add("<b>x</b>&#x338; onclick=y() &#x202e;<i title='&#x301;'>e&#x301;</i>&#0;")
	f.Add("<script>x</script><img src=x onerror=y><svg><style><p title=\"</style>\">")
	f.Fuzz(func(t *testing.T, raw string) {
		html, text := markup.Clean(raw)
		again, same := markup.Clean(html)
		if again != html || same != text {
			t.Fatalf("Clean(%q)\n= %q, %q\n, %q, %q when cleaned again", raw, html, text, again, same)
		}
		if intake.CheckText(html+text) != nil || intake.Normalize(html) != html || intake.Normalize(text) != text {
			t.Fatalf("Clean(%q) = %q, %q", raw, html, text)
		}
		for _, danger := range []string{"<script", "<style", "<img", "<iframe", "<svg", "<form", "javascript:"} {
			if strings.Contains(strings.ToLower(html), danger) && !strings.Contains(strings.ToLower(text), danger) {
				t.Fatalf("Clean(%q) = %q", raw, html)
			}
		}
	})
}

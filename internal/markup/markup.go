// Package markup makes HTML from somebody else harmless.
package markup

import (
	"strings"
	"unicode"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"emporium/internal/intake"
)

// policy lets text be structured and linked. There are no pictures, films, styles, forms or scripts in it: pictures are
// media of the product, and one from elsewhere would tell its server who looks at what.
var policy = func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowStandardAttributes()
	p.AllowStandardURLs()
	p.AllowRelativeURLs(true)
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("cite").OnElements("blockquote", "q")
	p.AllowElements("article", "aside", "section", "details", "summary", "figure", "figcaption",
		"h1", "h2", "h3", "h4", "h5", "h6", "hgroup", "br", "div", "hr", "p", "pre", "span", "wbr",
		"abbr", "b", "cite", "code", "del", "dfn", "em", "i", "ins", "kbd", "mark", "s", "samp", "small", "strong", "sub",
		"sup", "u", "var")
	p.AllowLists()
	p.AllowTables()
	return p
}()

// breaks are the elements that start a new line of plain text, and end it.
var breaks = map[atom.Atom]bool{
	atom.Article: true, atom.Aside: true, atom.Section: true, atom.Details: true, atom.Summary: true, atom.Figure: true,
	atom.Figcaption: true, atom.H1: true, atom.H2: true, atom.H3: true, atom.H4: true, atom.H5: true, atom.H6: true,
	atom.Hgroup: true, atom.Br: true, atom.Div: true, atom.Hr: true, atom.P: true, atom.Pre: true, atom.Blockquote: true,
	atom.Ol: true, atom.Ul: true, atom.Li: true, atom.Dl: true, atom.Dt: true, atom.Dd: true,
	atom.Table: true, atom.Caption: true, atom.Thead: true, atom.Tbody: true, atom.Tfoot: true, atom.Tr: true,
}

// quotes are harmless outside of tags, and easier to read and edit as they are.
var quotes = strings.NewReplacer("&#34;", `"`, "&#39;", "'")

// Clean returns HTML from somebody else without what is dangerous (scripts, styles, forms, anything loaded from
// elsewhere), and the plain text of it: a line for each block, entities decoded, runs of spaces as one. Both are what package
// intake lets a text be, which is looked at here because entities can stand for anything. What Clean has returned it returns
// unchanged. It is safe for concurrent use.
func Clean(raw string) (markup, text string) {
	for range 5 {
		raw = intake.Normalize(intake.Strip(raw)) // before cleaning: it can end a tag elsewhere
		if markup, text = clean(raw); markup == raw {
			return markup, intake.Normalize(text)
		}
		raw = markup
	}
	// Never seen: markup that changes each time it is cleaned is shown as what it says.
	return clean(html.EscapeString(text))
}

func clean(raw string) (markup, text string) {
	var out, plain strings.Builder
	gap := "" // what stands between the text so far and the next
	for z := html.NewTokenizer(strings.NewReader(policy.Sanitize(raw))); ; {
		kind := z.Next()
		if kind == html.ErrorToken { // the end: a string is read without errors
			return out.String(), plain.String()
		}
		token := string(z.Raw())
		if kind != html.TextToken {
			out.WriteString(token)
			switch name, _ := z.TagName(); {
			case breaks[atom.Lookup(name)]:
				gap = "\n"
			case gap == "" && (string(name) == "td" || string(name) == "th"):
				gap = " "
			}
			continue
		}
		out.WriteString(quotes.Replace(token))
		for _, r := range html.UnescapeString(token) {
			switch {
			case !unicode.IsSpace(r):
				if plain.Len() > 0 {
					plain.WriteString(gap)
				}
				plain.WriteRune(r)
				gap = ""
			case gap == "":
				gap = " "
			}
		}
	}
}

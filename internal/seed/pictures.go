package seed

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"html"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const pictureSize = 800 // pixels, both ways

// picture is a picture of an item.
type picture struct {
	url, alt string
	color    string // of colors
	view     view
	item     *item
}

// view is what a picture shows.
type view int

const (
	front  view = iota // the whole
	detail             // a part, from near
	group              // several, of different sizes
)

// pictures returns two or three pictures: one for each color, then a detail, then a group if sizes are on offer.
func (it *item) pictures() []picture {
	var made []picture
	add := func(color string, v view, alt string) {
		made = append(made, picture{
			url: fmt.Sprintf("/pictures/%s-%d.svg", slugOf(it.Title), len(made)+1), alt: alt, color: color, view: v, item: it})
	}
	shown := []string{it.Hue}
	if i := slices.IndexFunc(it.Choices, func(c choice) bool { return c.Name == "Color" }); i >= 0 {
		shown = it.Choices[i].Values
		for _, color := range shown {
			add(color, front, it.Title+" in "+strings.ToLower(color))
		}
	} else {
		add(it.Hue, front, it.Title)
	}
	if len(made) < 3 {
		add(shown[0], detail, it.Title+" from near")
	}
	if len(made) < 3 && len(it.Steps) > 0 {
		add(shown[0], group, it.Title+" in its sizes")
	}
	return made
}

// Pictures serves the pictures of the demo shop, which are drawn by code, at the addresses that its products name:
// /pictures/<slug>-<number>.svg. What else is asked for is not found.
func Pictures() http.Handler {
	drawn := sync.OnceValue(func() map[string][]byte {
		all := map[string][]byte{}
		for i := range catalogue {
			for _, p := range catalogue[i].pictures() {
				all[p.url] = p.draw()
			}
		}
		return all
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		svg, ok := drawn()[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		sum := fnv.New64a()
		_, _ = sum.Write(svg)
		h := w.Header()
		h.Set("Content-Type", "image/svg+xml")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "public, max-age=86400")
		h.Set("ETag", fmt.Sprintf(`"%016x"`, sum.Sum64()))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(svg))
	})
}

// colors are what the colors of the shop look like.
var colors = map[string]string{
	"Navy": "#2c4168", "Chalk": "#efe9dc", "Moss": "#74834f", "Slate": "#66737f", "Rust": "#b5583a", "Sea": "#3f8891",
	"Charcoal": "#3b3e44", "Oat": "#d8c6a4", "Pine": "#2f5d4d", "Berry": "#8d3b58", "Mustard": "#d9a437", "Clay": "#c17f5e",
	"Sand": "#d9bf97", "Sky": "#8cb4cf", "Oak": "#b98a55",
}

// walls are what is behind things.
var walls = []string{"#e6ded0", "#d6e0dd", "#e9d9cd", "#d9dfe8", "#e2e2cf", "#e6d6d8"}

// draw returns the picture as a document of its own.
func (p picture) draw() []byte {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(p.item.Title))
	wall := walls[(int(sum.Sum32()%uint32(len(walls)))+int(p.view))%len(walls)]
	base := colors[p.color]
	if near(base, wall) {
		wall = "#9fb0b3"
	}
	shape := shapes[cmp.Or(p.item.Shape, p.item.Type)](tones{base: base, dark: mix(base, "#1c1a22", 0.32), deep: mix(base, "#1c1a22", 0.58),
		light: mix(base, "#ffffff", 0.28), pale: mix(base, "#ffffff", 0.6)})

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 800" width="%d" height="%[1]d" role="img">`, pictureSize)
	fmt.Fprintf(&b, `<title>%s</title>`, html.EscapeString(p.alt))
	fmt.Fprintf(&b, `<defs><linearGradient id="wall" x1="0" y1="0" x2="0.4" y2="1"><stop offset="0" stop-color="%s"/>`+
		`<stop offset="1" stop-color="%s"/></linearGradient><clipPath id="frame"><rect width="800" height="668"/></clipPath></defs>`,
		mix(wall, "#ffffff", 0.45), wall)
	b.WriteString(`<rect width="800" height="800" fill="url(#wall)"/>`)
	at := func(x, y, scale, turn float64) {
		fmt.Fprintf(&b, `<g transform="translate(%g %g) rotate(%g) scale(%g)">%s</g>`, x, y, turn, scale, shape)
	}
	floor := mix(wall, "#3a3228", 0.16)
	switch p.view {
	case front:
		fmt.Fprintf(&b, `<circle cx="400" cy="350" r="262" fill="%s"/>`, mix(wall, "#ffffff", 0.62))
		fmt.Fprintf(&b, `<ellipse cx="400" cy="592" rx="214" ry="24" fill="%s" opacity="0.6"/>`, floor)
		at(400, 356, 1.3, 0)
	case detail:
		b.WriteString(`<g clip-path="url(#frame)">`)
		fmt.Fprintf(&b, `<circle cx="610" cy="150" r="330" fill="%s"/>`, mix(wall, "#ffffff", 0.5))
		at(350, 420, 2.7, -9)
		b.WriteString(`</g>`)
	case group:
		fmt.Fprintf(&b, `<rect x="70" y="96" width="660" height="500" rx="250" fill="%s"/>`, mix(wall, "#ffffff", 0.55))
		fmt.Fprintf(&b, `<ellipse cx="400" cy="566" rx="320" ry="22" fill="%s" opacity="0.6"/>`, floor)
		n := len(p.item.Steps)
		for i := range n {
			scale := 0.62 + 0.42*float64(i)/float64(n-1)
			at(400+(float64(i)-float64(n-1)/2)*(560/float64(n)), 562-178*scale, scale, 0)
		}
	}
	b.WriteString(`<rect y="668" width="800" height="132" fill="#fbf8f2"/>`)
	ink := "#2d2a32"
	fmt.Fprintf(&b, `<text x="400" y="728" text-anchor="middle" font-family="Georgia, 'Times New Roman', serif" font-size="%d" fill="%s">%s</text>`,
		min(42, 1480/len(p.item.Title)), ink, html.EscapeString(p.item.Title))
	caption := strings.ToUpper(p.item.Vendor)
	if p.item.Hue == "" && p.view == front {
		caption += " · " + strings.ToUpper(p.color)
	}
	fmt.Fprintf(&b, `<text x="400" y="768" text-anchor="middle" font-family="Helvetica, Arial, sans-serif" font-size="18" letter-spacing="4" fill="%s">%s</text>`,
		mix(ink, "#ffffff", 0.4), html.EscapeString(caption))
	b.WriteString(`</svg>`)
	return b.Bytes()
}

// rgb returns the parts of a color like "#2c4168".
func rgb(color string) [3]float64 {
	n, err := strconv.ParseUint(color[1:], 16, 32)
	if err != nil {
		panic("seed: color " + color)
	}
	return [3]float64{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}
}

// mix returns a color on the way from one to another.
func mix(from, to string, share float64) string {
	f, t := rgb(from), rgb(to)
	part := func(i int) int { return int(math.Round(f[i] + (t[i]-f[i])*share)) }
	return fmt.Sprintf("#%02x%02x%02x", part(0), part(1), part(2))
}

// near reports whether something would not stand out before a wall.
func near(a, b string) bool {
	x, y := rgb(a), rgb(b)
	return math.Abs(x[0]-y[0])+math.Abs(x[1]-y[1])+math.Abs(x[2]-y[2]) < 95
}

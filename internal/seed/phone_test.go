package seed

import (
	"fmt"
	"os"
	"testing"
)

func TestDump(t *testing.T) {
	os.MkdirAll("/tmp/pics", 0o755)
	seen := map[string]int{}
	f, _ := os.Create("/tmp/pics/index.html")
	fmt.Fprint(f, "<body style='margin:0;background:#888'>")
	g, _ := os.Create("/tmp/pics/all.html")
	fmt.Fprint(g, "<body style='margin:0;background:#888'>")
	for i := range catalogue {
		for _, p := range catalogue[i].pictures() {
			b := p.draw()
			name := "/tmp/pics/" + p.url[len("/pictures/"):]
			os.WriteFile(name, b, 0o644)
			seen[p.item.Type]++
			tag := fmt.Sprintf("<img src='%s' width=%%d style='margin:3px'>", name)
			fmt.Fprintf(g, tag, 160)
			if seen[p.item.Type] == 1 {
				fmt.Fprintf(f, tag, 290)
			}
		}
	}
	f.Close()
	g.Close()
}

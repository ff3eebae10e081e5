package browsertest

import (
	_ "embed"
	"fmt"
)

// axeScript is axe-core 4.14.1, by Deque Systems, under the Mozilla Public License 2.0, as
// the npm registry has it. It is in test binaries only.
//
//go:embed testdata/axe.min.js
var axeScript string

// Barriers returns what keeps people with disabilities from the page as it is now, as
// axe-core finds it: what it calls serious or critical, each with the elements.
func (g *Page) Barriers() (found []string) {
	g.t.Helper()
	var has bool
	if g.Eval(`Boolean(window.axe)`, &has); !has {
		g.Eval(axeScript+"\n;void 0", nil)
	}
	var list []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	g.Eval(`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v =>
		({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 5).map(n => n.html.slice(0, 200) + " " + (n.any[0]?.message || ""))})))`, &list)
	for _, v := range list {
		if v.Impact == "serious" || v.Impact == "critical" {
			found = append(found, fmt.Sprintf("%s (%s): %s: %q", v.ID, v.Impact, v.Help, v.Nodes))
		}
	}
	return found
}

package api

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// BenchmarkValidate is what the specification costs each request, without its handler.
func BenchmarkValidate(b *testing.B) {
	v := newVillage(b)
	for name, c := range map[string]struct{ method, route, path, body string }{
		"a list":            {"GET", "/api/v1/shares/sent", "/api/v1/shares/sent?limit=50", ""},
		"a command":         {"POST", "/api/v1/shares/:share/devices/:device/accept", v.path("/devices/", v.device, "/accept"), ""},
		"a share to create": {"POST", "/api/v1/shares", "/api/v1/shares", `{"recipient":{"email":"bob@example.com"},"devices":[{"device":"cam-1","channels":[{"channel":1,"privileges":["live_view","ptz"]}]}]}`},
	} {
		op := v.server.operations[c.method+" "+c.route]
		if op == nil {
			b.Fatal(c.route)
		}
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", "k")
			e := echo.New().NewContext(r, nil)
			e.SetPath(c.route)
			if strings.Contains(c.route, ":device") {
				e.SetParamNames("share", "device")
				e.SetParamValues(v.id, v.device)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := op.validateParams(e); err != nil {
					b.Fatal(err)
				}
				if c.body != "" {
					if err := op.validateBody(e, []byte(c.body)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

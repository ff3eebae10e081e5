package api

import (
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/api/portal"
)

// portalRoute is the route of all pages of the portal, for logs and metrics: their paths
// have the ids of shares and devices.
const portalRoute = "/*"

// withPortal passes what is not the API's to the portal, named, bounded in time, logged and
// measured like other requests. Its paths are not in the API's router: there they would
// take methods that a path of the API does not support.
func (s *Server) withPortal(api http.Handler) http.Handler {
	if s.cfg.Portal == nil {
		return api
	}
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.writeProblem
	e.Logger.SetOutput(io.Discard)
	e.Use(s.observe, allowHead)
	e.GET(portalRoute, echo.WrapHandler(s.cfg.Portal))
	e.POST(portalRoute, echo.WrapHandler(s.cfg.Portal))
	for _, r := range e.Routes() {
		s.routes[r.Method+" "+r.Path] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, portal.RelayPath+"/") { // the API's request, which it observes itself
			s.cfg.Portal.ServeHTTP(w, r)
			return
		}
		if ofPortal(r) {
			e.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// ofPortal reports whether the portal answers a request. The root and the page of
// invitation codes are the portal's for browsers, and the API's for programs.
func ofPortal(r *http.Request) bool {
	switch path := r.URL.Path; path {
	case "/", "/invite":
		return r.Method == http.MethodPost && path != "/" || strings.Contains(r.Header.Get("Accept"), "text/html")
	case "/api", "/healthz", "/readyz", "/metrics", RootPath:
		return false
	default:
		return !strings.HasPrefix(path, "/api/")
	}
}

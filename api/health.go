package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// readiness and componentState are the response of /readyz.
type readiness struct {
	Status     string                    `json:"status"`
	Components map[string]componentState `json:"components,omitempty"`
}

type componentState struct {
	Ready bool   `json:"ready"`
	State string `json:"state"`
	// Reason is set for a component that is not ready, or refuses something, if it can
	// report why.
	Reason string `json:"reason,omitempty"`
}

const readinessWithin = 2 * time.Second

// readiness queries every component.
func (s *Server) readiness(ctx context.Context) (status int, _ readiness) {
	ctx, cancel := context.WithTimeout(ctx, readinessWithin)
	defer cancel()
	states := make([]componentState, len(s.cfg.Components))
	var asked sync.WaitGroup
	for i, component := range s.cfg.Components {
		asked.Go(func() {
			states[i].State, states[i].Ready = component.State(ctx)
			say := component.Reason
			if states[i].Ready {
				say = component.Notice
			}
			if say != nil {
				states[i].Reason = say()
			}
		})
	}
	asked.Wait()

	answer := readiness{Status: "ready", Components: make(map[string]componentState, len(states))}
	status = http.StatusOK
	for i, component := range s.cfg.Components {
		answer.Components[component.Name] = states[i]
		if !states[i].Ready {
			answer.Status, status = "not_ready", http.StatusServiceUnavailable
		}
	}
	return status, answer
}

func (s *Server) getSpecification(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", specification)
}

// rootPage is for people who open the address of the API in a browser.
const rootPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Latchkey</title>
<h1>Latchkey</h1>
<p>This is the REST API. It is described in <a href="/api/v1/openapi.yaml">/api/v1/openapi.yaml</a>.</p>
<p>Whether it is ready: <a href="/readyz">/readyz</a>.</p>
</html>
`

// invitePage is for people who open the link of an invitation code. The code itself is in
// the fragment, which the browser keeps.
const invitePage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Latchkey</title>
<h1>Somebody shares a camera with you</h1>
<p>The code is the part of this page's address after the #. Enter it in your app, which redeems it with
<code>POST /api/v1/invitation-codes/redeem</code> in your account. It can be used once.</p>
</html>
`

func (s *Server) getInvitePage(c echo.Context) error {
	return c.HTML(http.StatusOK, invitePage)
}

func (s *Server) getRoot(c echo.Context) error {
	return c.HTML(http.StatusOK, rootPage)
}

package api

import "testing"

// TestTheBeatOfEventsHasBounds: it is refused before anything is looked up.
func TestTheBeatOfEventsHasBounds(t *testing.T) {
	w := newWorld(t)
	who := w.person("alice")
	for beat, want := range map[string]string{
		"": "invalid_parameter", "1": "invalid_parameter", "16": "invalid_parameter", "2.5": "invalid_parameter", "x": "invalid_parameter",
		"2": "events_unavailable", "15": "events_unavailable", // there are none in this world
	} {
		status := 400
		if want == "events_unavailable" {
			status = 503
		}
		w.wantProblem(w.do("GET", "/api/v1/events?beat="+beat, who.token, nil), status, want)
	}
}

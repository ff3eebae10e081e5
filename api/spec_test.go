package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestRoutesAreThoseOfTheSpecification compares both ways.
func TestRoutesAreThoseOfTheSpecification(t *testing.T) {
	w := newWorld(t)
	var specified, routed []string
	for key := range w.server.operations {
		specified = append(specified, key)
	}
	for key := range w.server.routes {
		routed = append(routed, key)
	}
	slices.Sort(specified)
	slices.Sort(routed)
	if !slices.Equal(specified, routed) {
		t.Errorf("specified:\n%s\nrouted:\n%s", strings.Join(specified, "\n"), strings.Join(routed, "\n"))
	}
}

// TestEveryOperationNamesItsErrors: what the middleware may answer is in the
// specification of every operation it stands before.
func TestEveryOperationNamesItsErrors(t *testing.T) {
	operations, err := loadOperations()
	if err != nil {
		t.Fatal(err)
	}
	for key, op := range operations {
		if !strings.Contains(key, "/api/v1/") || strings.HasSuffix(key, "openapi.yaml") {
			continue
		}
		want := []int{http.StatusInternalServerError, http.StatusServiceUnavailable}
		if !op.public {
			want = append(want, http.StatusUnauthorized)
		}
		if len(op.params) > 0 || op.body != nil {
			want = append(want, http.StatusBadRequest)
		}
		if op.body != nil {
			want = append(want, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
		}
		if op.route.Operation.Parameters.GetByInAndName("header", "If-Match") != nil {
			want = append(want, http.StatusPreconditionFailed)
		}
		if op.route.Operation.Parameters.GetByInAndName("header", "Idempotency-Key") != nil {
			want = append(want, http.StatusUnprocessableEntity)
		}
		for _, status := range want {
			if op.route.Operation.Responses.Status(status) == nil {
				t.Errorf("%s does not name status %d", key, status)
			}
		}
	}
}

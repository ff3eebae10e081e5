package webrtc

import (
	"testing"
	"time"
)

func TestCertificateIsReplacedBeforeItsEnd(t *testing.T) {
	var i identity
	now := time.Now()
	at := func(now time.Time) time.Time {
		t.Helper()
		c, err := i.at(now)
		if err != nil {
			t.Fatal(err)
		}
		return c.Expires()
	}
	end := at(now)
	first := i.current
	if at(now.Add(time.Hour)); i.current != first || end.Before(now.Add(14*24*time.Hour)) {
		t.Errorf("it is not kept, or ends at %v", end)
	}
	if at(end.Add(-time.Hour)); i.current == first {
		t.Error("it is kept to its end")
	}
}

package portaltest

import (
	"regexp"
	"testing"

	"latchkey/internal/browsertest"
)

var setUpLink = regexp.MustCompile(`(?m)^  https?://\S+(/setup#[A-Z2-7]{26})$`)

// TestBrowserSetsUp: whoever opens the link that serve prints makes the first account, sees
// the picture of a camera before it is kept, and shares it.
func TestBrowserSetsUp(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.eventually("the link is printed", func() bool { return setUpLink.MatchString(s.said()) })
	page := browsertest.New(t, s.origin, browsertest.Look{}).Open(setUpLink.FindStringSubmatch(s.said())[1])
	page.WaitEval(`document.getElementById("setup-secret").hidden && !location.hash`)
	page.Fill("#name", "Olga Lind")
	page.Fill("#email", "olga@example.com")
	page.Fill("#password", password)
	page.Submit("main button.main")

	front := camera(t, "DS-1")
	page.WaitText("Your first camera")
	page.WaitEval(`!document.getElementById("found").hidden`) // the network was asked
	page.Fill("#address", front.HTTPAddr())
	page.Fill("#username", cameraUser)
	page.Fill("#password", "wrong")
	page.Click("#name")
	page.WaitTextIn(".checked", "The device refused the user name or the password.")
	page.Fill("#password", cameraPassword)
	page.Click("#name")
	page.WaitEval(`document.querySelector(".checked canvas")?.width > 0`)
	page.Fill("#name", "Front door")
	page.Submit("main button.main")

	page.WaitText("Front door is added.")
	page.Fill("#email", "rita@example.com")
	page.Submit("main button.main")
	page.Go("/my-shares")
	page.WaitText("rita@example.com")
	page.Go("/setup")
	if page.Path() != "/setup/share" {
		t.Errorf("coming back leads to %s", page.Path())
	}
}

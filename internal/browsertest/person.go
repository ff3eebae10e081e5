package browsertest

import (
	"context"
	"net/url"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// Look is how a person sees pages. The zero value is a desktop of 1280x800, light, in
// English.
type Look struct {
	Width, Height int64 // CSS pixels
	Touch         bool  // a telephone: touch instead of a mouse, and its own viewport
	Dark          bool
	Motion        bool     // pages may move; pictures of them would not hold still
	Language      string   // Accept-Language and navigator.language
	Lacks         []string // what an older browser has not, such as "MediaSource" or "AbortSignal.any"
}

// Desktop and Phone are the sizes that pages are looked at in.
var (
	Desktop = Look{Width: 1280, Height: 800}
	Phone   = Look{Width: 390, Height: 844, Touch: true}
)

// Person is somebody with a browser: cookies, storage and permissions are nobody else's.
type Person struct {
	t      testing.TB
	origin string
	look   Look
	ctx    context.Context // of the browser context
	id     cdp.BrowserContextID
}

// New returns a person who visits the server at origin, such as http://127.0.0.1:8080. It
// is gone at the end of the test.
func New(t testing.TB, origin string, look Look) *Person {
	t.Helper()
	browserCtx, err := started()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := url.Parse(origin); err != nil {
		t.Fatalf("the origin %q: %v", origin, err)
	}
	if look.Width == 0 {
		look.Width, look.Height = Desktop.Width, Desktop.Height
	}
	if look.Language == "" {
		look.Language = "en"
	}
	ctx, cancel := chromedp.NewContext(browserCtx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("opening a private window: %v", err)
	}
	return &Person{t: t, origin: origin, look: look, ctx: ctx, id: chromedp.FromContext(ctx).BrowserContextID}
}

// AllowMicrophone lets pages hear the microphone, which beeps, without a question.
func (p *Person) AllowMicrophone() {
	p.t.Helper()
	p.permit(browser.PermissionSettingGranted)
}

// RefuseMicrophone answers the question for the microphone with no.
func (p *Person) RefuseMicrophone() {
	p.t.Helper()
	p.permit(browser.PermissionSettingDenied)
}

func (p *Person) permit(setting browser.PermissionSetting) {
	p.t.Helper()
	c := chromedp.FromContext(p.ctx)
	_, err := cdp.Call(p.ctx, c.Browser, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "microphone"}, Setting: setting, Origin: p.origin, BrowserContextID: p.id,
	})
	if err != nil {
		p.t.Fatalf("setting the permission for the microphone: %v", err)
	}
}

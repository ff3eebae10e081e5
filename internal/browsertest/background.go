package browsertest

import (
	"context"
	"strings"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"
)

// AllowNotifications answers the question whether pages may show notifications.
func (p *Person) AllowNotifications(yes bool) {
	p.t.Helper()
	setting := browser.PermissionSettingDenied
	if yes {
		setting = browser.PermissionSettingGranted
	}
	_, err := cdp.Call(p.ctx, chromedp.FromContext(p.ctx).Browser, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "notifications"}, Setting: setting, Origin: p.origin, BrowserContextID: p.id,
	})
	if err != nil {
		p.t.Fatalf("setting the permission for notifications: %v", err)
	}
}

// Push gives the service worker of the page's server a message, as a push service does.
func (g *Page) Push(message string) {
	g.t.Helper()
	g.Do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		enable := chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			if _, err := cdp.Call(ctx, tab, serviceworker.Disable, cdp.Empty{}); err != nil { // it tells of all that there are when it is enabled
				return err
			}
			_, err := cdp.Call(ctx, tab, serviceworker.Enable, cdp.Empty{})
			return err
		})
		var id serviceworker.RegistrationID
		_, err := chromedp.Run(ctx, chromedp.WaitEvent(serviceworker.WorkerRegistrationUpdated, func(e serviceworker.EventWorkerRegistrationUpdated) bool {
			for _, r := range e.Registrations {
				if !r.IsDeleted && strings.HasPrefix(r.ScopeURL, g.person.origin) {
					id = r.RegistrationID
				}
			}
			return id != ""
		}, enable))
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, tab, serviceworker.DeliverPushMessage, serviceworker.DeliverPushMessageParams{Origin: g.person.origin, RegistrationID: id, Data: message})
		return err
	}))
}

// Package browsertest drives a real browser in tests: Chromium, by its DevTools protocol.
//
// A test binary starts one browser, at the first call of New, and ends it in Main:
//
//	func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }
//
//	func TestLogIn(t *testing.T) {
//		owner := browsertest.New(t, "http://127.0.0.1:8080", browsertest.Look{})
//		page := owner.Open("/login")
//		page.Fill("#login", "olga@example.com")
//		page.Fill("#password", "correct horse battery")
//		page.Submit("button.main")
//		page.WaitText("View My Shared Videos")
//	}
//
// A Person has cookies and permissions of its own, as somebody in a private window; a Page
// is one of its tabs, in a window of its own so that it is never hidden. Actions are what
// people do: a click is a mouse over a visible element. Each waits until it can be done,
// and fails the test if that takes too long.
//
// What no page may do fails the test by itself: an error that no script caught or that was
// written to the console, a violation of the content security policy, an asset that is
// missing, and a request to anywhere but the server of the test.
//
// The package knows nothing of the portal: what its pages hold is the business of tests.
package browsertest

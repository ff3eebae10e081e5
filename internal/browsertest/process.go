package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// process is the browser of the test binary.
var process struct {
	once sync.Once
	ctx  context.Context // with the browser
	end  func()
	err  error
}

// Main runs the tests of a binary, ends the browser that they started, and returns the
// exit status.
func Main(m *testing.M) int {
	defer func() {
		if process.end != nil {
			process.end()
		}
	}()
	return m.Run()
}

// started returns the context of the browser, and starts it at the first call.
func started() (context.Context, error) {
	process.once.Do(func() { process.ctx, process.end, process.err = launch() })
	return process.ctx, process.err
}

// find returns the path of the browser.
func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("tests in a browser need chromium, and there is none: install it (on Debian: apt install chromium), or run make test, which does")
}

func launch() (context.Context, func(), error) {
	path, err := find()
	if err != nil {
		return nil, nil, err
	}
	profile, err := os.MkdirTemp("", "latchkey-browser-")
	if err != nil {
		return nil, nil, fmt.Errorf("creating a folder for the browser: %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // it opens the pages of tests only, and often runs as root
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		// A test presses a button before anything plays with sound, or is about that.
		chromedp.Flag("autoplay-policy", "document-user-activation-required"),
		// A microphone that beeps; who may use it is asked as always.
		chromedp.Flag("use-fake-device-for-media-stream", true),
		// Addresses of candidates as they are: .local names need a resolver.
		chromedp.Flag("disable-features", "Translate,WebRtcHideLocalIpsWithMdns"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	end := func() {
		stop() // kills it and waits
		_ = os.RemoveAll(profile)
	}
	if err := chromedp.Do(ctx); err != nil {
		end()
		return nil, nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return ctx, end, nil
}

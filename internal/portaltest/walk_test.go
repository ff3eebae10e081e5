package portaltest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/browsertest"
)

// TestBrowserJoins: somebody registers with a code that comes by mail, forgets the
// password, sets another with a code, and is logged in.
func TestBrowserJoins(t *testing.T) {
	t.Parallel()
	s := serve(t)
	page := browsertest.New(t, s.origin, browsertest.Look{}).Open("/")
	page.Submit(`a[href="/register"]`)
	page.Fill("#email", "rita@example.com")
	page.Fill("#name", "Rita Brandt")
	page.Fill("#password", password)
	page.Submit("main button.main")
	page.WaitText("rita@example.com")
	page.Fill("#code", "00000000")
	page.Submit("main button.main")
	page.WaitTextIn("[role=alert], .error, .wrong", "code")
	page.Fill("#code", s.code("rita@example.com", 1))
	page.Submit("main button.main")
	page.WaitEval(`!location.pathname.startsWith("/register")`)

	page.Go("/account")
	page.Submit(`form[action="/logout"] button`)
	page.Submit(`a[href="/reset"]`)
	page.Fill("#login", "rita@example.com")
	page.Submit("main button.main")
	page.Fill("#login", "rita@example.com")
	page.Fill("#code", s.code("rita@example.com", 2))
	page.Fill("#password", "another horse battery")
	page.Submit("main button.main")
	if strings.HasPrefix(page.Path(), "/login") {
		(&account{s: s, email: "rita@example.com"}).logIn(page, "another horse battery")
	}
	page.Go("/account")
	page.WaitText("rita@example.com")
}

// TestBrowserShares walks the pages of the manual with two people: the owner shares with
// ticks, the recipient is asked, puts off, rejects and accepts, names the device for
// herself and gives it back; the owner ends the share and removes the device.
func TestBrowserShares(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	front, garden, garage := camera(t, "DS-1"), camera(t, "DS-2"), camera(t, "DS-3")
	olga.add(front, "Front door")
	olga.add(garden, "Garden")
	olga.add(garage, "Garage")
	owner := olga.browse(browsertest.Look{}).Open("/my-shares")

	// The owner shares two devices.
	owner.Submit(`main a[href^="/my-shares/new"]`)
	owner.Fill("#email", rita.email)
	owner.Fill("#remark", "The neighbour")
	for _, device := range []string{"Front door", "Garden", "Garage"} {
		choose(owner, device)
		owner.Submit("button[value=add]")
	}
	for i := range 3 {
		owner.Click(nth("section.device", i) + " input[name=grant][data-privilege=live_view]")
	}
	owner.WaitTextIn("#summary", "Front door")
	owner.Submit("#save")
	owner.WaitText("Invited")

	// The recipient is asked.
	recipient := rita.browse(browsertest.Look{}).Open("/account")
	recipient.WaitTextIn("dialog[open]", "3 new sharings")
	recipient.WaitEval(`document.querySelectorAll("dialog[open] button[value=accept]").length === 3 && document.activeElement.id === "sharings-later"`)
	recipient.Click("#sharings-later")
	recipient.WaitEval(`!document.querySelector("dialog[open]")`)
	recipient.Go("/account") // it is not said twice
	recipient.WaitEval(`!document.querySelector("dialog[open]")`)
	recipient.Go("/shared-with-me")
	decide(recipient, "Front door", "accept")
	decide(recipient, "Garden", "reject")
	decide(recipient, "Garage", "later")
	recipient.WaitTextIn(`section[aria-labelledby=later]`, "Garage")
	recipient.WaitTextIn(`section[aria-labelledby=devices]`, "Front door")

	// She names the device for herself.
	recipient.Submit(`section[aria-labelledby=devices] a.row`)
	recipient.WaitText("Olga Lind")
	recipient.WaitText("Live View")
	recipient.Fill("#domain", "olgas-door")
	recipient.Submit("main form button.main")
	recipient.Go("/shared-with-me")
	recipient.WaitTextIn("main", "olgas-door")

	// The owner sees who accepted, and takes more back than she gives.
	owner.Go("/my-shares")
	owner.Submit("ul.rows a.row")
	owner.WaitEval(`document.querySelector("#remark").value === "The neighbour"`)

	// The recipient gives it back; that asks once.
	recipient.Submit(`section[aria-labelledby=devices] a.row`)
	recipient.Submit("main a.ends")
	recipient.WaitText("Front door")
	recipient.Submit("main button.ends")
	recipient.WaitEval(`location.pathname === "/shared-with-me" && !document.querySelector("main section[aria-labelledby=devices] a.row")`)

	// The owner ends the share and removes a device; both ask once.
	owner.Go("/my-shares")
	owner.Submit("ul.rows a.row")
	owner.Submit(`main a.ends[href$="/delete"]`)
	owner.Submit("main button.ends")
	owner.WaitEval(`location.pathname === "/my-shares"`)
	recipient.Go("/shared-with-me")
	recipient.WaitEval(`!document.body.innerText.includes("Garage")`)
	owner.Go("/devices")
	owner.Submit("ul.rows a.row")
	removed := owner.Text("h1")
	owner.Submit("main a.ends")
	owner.WaitText(removed)
	owner.Submit("main button.ends")
	owner.WaitEval(`location.pathname === "/devices" && ![...document.querySelectorAll(".row-name")].some(e => e.innerText === ` + strconv.Quote(removed) + ")")
}

// choose picks a device in the list of those that can be added.
func choose(page *browsertest.Page, device string) {
	page.Eval(fmt.Sprintf(`void (s => s.value = [...s.options].find(o => o.text === %q).value)(document.querySelector("#add"))`, device), nil)
}

// decide presses a button of a new sharing.
func decide(page *browsertest.Page, device, decision string) {
	page.Submit(fmt.Sprintf(`li.card[data-row=%q] button[value=%s]`, named(page, device), decision))
}

// named returns the data-row of a device's card, which selectors cannot find by its words.
func named(page *browsertest.Page, device string) (row string) {
	find := fmt.Sprintf(`[...document.querySelectorAll("li.card")].find(e => e.querySelector("h3").innerText === %q)?.dataset.row`, device)
	page.WaitEval(find)
	page.Eval(find, &row)
	return row
}

// nth is a selector of the i-th of siblings, counted from 0.
func nth(selector string, i int) string {
	return fmt.Sprintf(":nth-child(%d of %s)", i+1, selector)
}

// TestBrowserKeepsAnAccount: a stream key is shown once, a device is added in the page and
// renamed, and a name of the account is kept.
func TestBrowserKeepsAnAccount(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga := s.register("olga@example.com", "Olga Lind")
	door := camera(t, "DS-1")
	page := olga.browse(browsertest.Look{}).Open("/devices")
	page.Submit("main a.main")
	page.Submit(`a[href="/devices/new/addresses"]`)
	page.Fill("#name", "Front door")
	page.Fill("#rtsp_url", door.URL(1, false))
	page.Fill("#username", cameraUser)
	page.Fill("#password", cameraPassword)
	page.Submit("main form button.main")
	page.WaitText("Front door")

	page.Go("/account/keys")
	page.Fill("#label", "Television")
	page.Submit("main form button.main")
	page.WaitText("rtsp://")
	secret := page.Text("dl.facts div:nth-of-type(2) code")
	page.Go("/account/keys")
	page.WaitText("Television")
	if text := page.Text("body"); strings.Contains(text, secret) {
		t.Error("the secret of a key is shown again")
	}
	page.Submit("main a.ends")
	page.Submit("main button.ends")
	page.WaitEval(`!document.querySelector("main").innerText.includes("Television")`)

	page.Go("/account")
	page.Fill("#name", "Olga L.")
	page.Submit("main form button.main")
	page.WaitEval(`document.querySelector("#name").value === "Olga L."`)
}

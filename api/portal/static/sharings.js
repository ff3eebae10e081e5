// New sharings are said once in a window, and again when there are more, each with Accept and
// Reject. Nobody is interrupted who types, or has another dialog open.
export function announce() {
  const dialog = document.getElementById("sharings");
  if (!dialog) {
    remember(0);
    return;
  }
  dialog.querySelector("#sharings-later").onclick = () => dialog.close();
  const count = Number(dialog.dataset.count);
  const busy = document.activeElement?.matches("input, textarea, select") || document.querySelector("dialog[open]") || document.fullscreenElement;
  if (count > seen() && busy) return;
  if (count > seen()) {
    dialog.showModal();
    list(dialog);
  }
  remember(count);
}

// list puts the new sharings themselves into the dialog: they are those of the page of them,
// to which the link leads as long as there are none here.
async function list(dialog) {
  const link = dialog.querySelector("a.main");
  const response = await fetch(link.href, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
  if (!response?.ok || response.redirected) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const theirs = page.querySelector("section[aria-labelledby=new]");
  if (!theirs || !dialog.open) return;
  for (const button of theirs.querySelectorAll("[value=later]")) button.remove(); // it closes the dialog
  const mine = document.importNode(theirs.querySelector("ul"), true);
  const old = dialog.querySelector("ul");
  if (old) old.replaceWith(mine);
  else dialog.querySelector("p").replaceWith(mine);
  link.hidden = !theirs.querySelector("p.links");
  if (link.hidden && document.activeElement !== dialog.querySelector("#sharings-later")) dialog.querySelector("#sharings-later").focus();
}

function seen() {
  try { return Number(sessionStorage.getItem("sharings")) || 0; } catch { return 0; /* storage is off */ }
}

function remember(count) {
  try { sessionStorage.setItem("sharings", String(count)); } catch { /* storage is off */ }
}

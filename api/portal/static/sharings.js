// New sharings are said once in a window, and again when there are more. Nobody is
// interrupted who types, or has another dialog open.
export function announce() {
  const dialog = document.getElementById("sharings");
  if (!dialog) {
    remember(0);
    return;
  }
  dialog.querySelector("button").onclick = () => dialog.close();
  const count = Number(dialog.dataset.count);
  const busy = document.activeElement?.matches("input, textarea, select") || document.querySelector("dialog[open]") || document.fullscreenElement;
  if (count > seen() && busy) return;
  if (count > seen()) dialog.showModal();
  remember(count);
}

function seen() {
  try { return Number(sessionStorage.getItem("sharings")) || 0; } catch { return 0; /* storage is off */ }
}

function remember(count) {
  try { sessionStorage.setItem("sharings", String(count)); } catch { /* storage is off */ }
}

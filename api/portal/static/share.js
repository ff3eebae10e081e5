// The form of a share: ticks for all channels at once, and a question before changes are lost.
const form = document.querySelector("form[data-guard]");

// Heads: one for each function that a device of several channels has.
for (const head of form.querySelectorAll(".all")) {
  const card = head.closest(".device");
  const boxes = (name) => card.querySelectorAll(`input[data-privilege="${name}"]`);
  const names = new Set([...card.querySelectorAll("input[data-privilege]")].map((box) => box.dataset.privilege));
  for (const name of names) {
    const all = boxes(name);
    if (all.length < 2) continue;
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    label.append(box, " ", all[0].closest("label").textContent.trim());
    head.append(label);
    head.hidden = false;
    const show = () => {
      const on = [...all].filter((one) => one.checked).length;
      box.checked = on === all.length;
      box.indeterminate = on > 0 && on < all.length;
    };
    box.addEventListener("change", () => {
      for (const one of all) one.checked = box.checked;
    });
    card.addEventListener("change", show);
    show();
  }
}

// What was typed is not lost by a click elsewhere.
let changed = document.querySelector("main [role=alert]") !== null;
form.addEventListener("input", () => { changed = true; });
form.addEventListener("submit", () => { changed = false; });
addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });

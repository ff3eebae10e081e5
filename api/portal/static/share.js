// The form of a share: ticks for all channels at once, a summary in words that follows each
// change, and a question before changes are lost.
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
    label.dataset.column = name;
    const box = document.createElement("input");
    box.type = "checkbox";
    const words = document.createElement("span");
    words.textContent = all[0].closest("label").textContent.trim();
    label.append(box, " ", words);
    head.querySelector(".ticks").append(label);
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

// What was typed is not lost by a click elsewhere, and what is as it was saved need not be
// saved again.
const text = () => new URLSearchParams(new FormData(form)).toString();
const before = text();
const typed = document.querySelector("main [role=alert]") !== null;
const save = document.getElementById("save");
let leaving = false;
const changed = () => typed || text() !== before;
const offer = () => { if (form.hasAttribute("data-saved")) save.disabled = !changed(); };
offer();
form.addEventListener("submit", () => { leaving = true; });
addEventListener("pageshow", () => { leaving = false; offer(); });
addEventListener("beforeunload", (event) => { if (!leaving && changed()) event.preventDefault(); });

// The server words the summary, as for those without scripts.
const list = document.getElementById("summary");
let timer, asked;
async function summarize() {
  asked?.abort();
  asked = new AbortController();
  try {
    const answer = await fetch("/my-shares/summary", { method: "POST", body: new URLSearchParams(new FormData(form)), signal: asked.signal });
    if (!answer.ok) return;
    const lines = await answer.json();
    list.replaceChildren(...lines.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
  } catch { /* a later change asks again */ }
}
const follow = () => {
  offer();
  clearTimeout(timer);
  timer = setTimeout(summarize, 200);
};
form.addEventListener("input", follow);
form.addEventListener("change", follow);

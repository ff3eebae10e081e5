// A camera is looked at before it is kept: the form that adds it says what is at the
// address, and shows a picture, when typing stops. The cameras of the network are offered.
import { call, Refusal } from "./api.js";
import { t } from "./words.js";

const form = document.querySelector("form[data-check]");
const said = form.querySelector(".checked");
const field = (name) => form.elements.namedItem(name);

const typed = () => ({
  address: field("address").value.trim(),
  username: field("username").value,
  password: field("password").value,
});

let last = "";
let looking = null;

function say(text, wrong) {
  said.hidden = false;
  said.classList.toggle("wrong", Boolean(wrong));
  said.replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
}

// draw shows a JPEG: the policy of the page loads pictures from the server alone, and a
// canvas loads nothing.
async function draw(base64, name) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", t("check.picture", { name }));
  said.append(canvas);
}

async function look() {
  const device = typed();
  const now = JSON.stringify(device);
  // Without a password most devices only count a failure.
  if (!device.address || !device.password && !device.address.includes("@") || now === last) return;
  last = now;
  looking?.abort();
  looking = new AbortController();
  const { signal } = looking;
  say(t("check.looking"));
  try {
    const found = await (await call("POST", "/device-checks", { json: device, signal })).json();
    const name = field("name").value.trim() || found.model || device.address;
    say(found.model ? t("check.found", { model: found.model }) : t("check.found.unnamed"));
    if (found.picture) await draw(found.picture, name).catch(() => {});
    else said.append(Object.assign(document.createElement("p"), { className: "soft small", textContent: t("check.no_picture") }));
  } catch (error) {
    if (signal.aborted) return;
    say(error instanceof Refusal ? error.message : t("check.away"), true);
  }
}

for (const name of ["address", "username", "password"]) field(name).addEventListener("change", look);

// The network is asked once, unless somebody knows the address already.
const search = document.getElementById("search");
const found = document.getElementById("found");
async function ask() {
  const list = found.querySelector("ul");
  const { found: devices } = await (await call("POST", "/device-searches")).json();
  search.hidden = true;
  found.hidden = false;
  found.querySelector(".empty").hidden = devices.length > 0;
  for (const device of devices) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "row" });
    const main = Object.assign(document.createElement("span"), { className: "row-main" });
    main.append(
      Object.assign(document.createElement("bdi"), { className: "row-name", textContent: device.name || device.host }),
      Object.assign(document.createElement("bdi"), { className: "soft small", textContent: [device.host, device.model].filter(Boolean).join(" · ") }),
    );
    button.append(main);
    button.addEventListener("click", () => {
      field("address").value = device.address;
      if (!field("name").value) field("name").value = device.name;
      field("username").focus();
    });
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  }
}
if (search && !field("address").value) ask().catch(() => { search.hidden = true; });

// Small parts of pages that scripts build.

// make returns an element with attributes and children.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const iconLook = {
  class: "icon", viewBox: "0 0 20 20", width: 20, height: 20, fill: "none", stroke: "currentColor", "stroke-width": 1.5,
  "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true", focusable: "false",
};

// picture returns an icon of 20 by 20 pixels, which says nothing that words do not say.
export function picture(path) {
  const space = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(space, "svg");
  for (const [key, value] of Object.entries(iconLook)) icon.setAttribute(key, value);
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  icon.append(line);
  return icon;
}

// typing reports whether keys go to a field, and not to the page.
export function typing({ target }) {
  return Boolean(target.closest?.("input, select, textarea, dialog, [contenteditable]"));
}

// The words of the page's language that the server put into it for scripts.
const words = {};
for (const block of document.querySelectorAll("script.words")) Object.assign(words, JSON.parse(block.textContent));

// t returns the words of a key with values put in: t(KEY, {time: "14:02"}).
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// n is t for a number of things: key.one or key.other, with the number as {n}.
export function n(key, number, values = {}) {
  return t(`${key}.${number === 1 ? "one" : "other"}`, { ...values, n: number });
}

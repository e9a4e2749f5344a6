"use strict";
// The document is made of elements and text nodes alone: nothing from the data is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (name === "colour") node.style.setProperty("--c", value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function shown(value, axis) {
  if (value === null || value === undefined) return "–";
  if (axis && axis.percent) return `${plain(value * 100)} %`;
  return plain(value);
}
// As ``shown``, with as many digits in every row.
function exactly(value, axis) {
  if (value === null || Number.isInteger(value) || Math.abs(value) >= 1000 || (axis && axis.percent)) return shown(value, axis);
  return value.toLocaleString("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 }).replace("-", "−");
}
function plain(value) {
  const most = Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  return value.toLocaleString("en", most).replace("-", "−");
}

// A series' colour is its policy's or its category's, the same all over the page.
const HUES = 10;
const hue = (index) => `var(--c${index % HUES})`;

const tip = {
  node: document.getElementById("tip"),
  show(x, y, title, lines) {
    this.node.replaceChildren(el("b", null, title), ...lines.map((line) => el("div", null, line)));
    this.node.hidden = false;
    const box = this.node.getBoundingClientRect();
    const left = Math.min(x + 14, document.documentElement.clientWidth - box.width - 8);
    const above = y - box.height - 12;
    this.node.style.left = `${window.scrollX + Math.max(left, 8)}px`;
    this.node.style.top = `${window.scrollY + (above > 4 ? above : y + 16)}px`;
  },
  hide() {
    this.node.hidden = true;
  },
};

"use strict";
// The tables and the gallery: what is shown stands in the address, behind #, so that it can be sent on.

const SHOWN_OF_SOME = 12;
const DEFAULTS = { scope: "overall", sort: "", way: "", category: "", system: "", show: "all", open: "" };
const byId = (id) => document.getElementById(id);
let state = read();

function read() {
  const found = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, other]) => [key, found.get(key) ?? other]));
}

function change(values) {
  state = { ...state, ...values };
  const told = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  const hash = new URLSearchParams(told).toString();
  history.replaceState(null, "", "#" + hash);
  draw();
}

function draw() {
  for (const key of ["scope", "category", "system", "show"]) {
    byId(key).value = state[key];
    if (byId(key).selectedIndex < 0) byId(key).value = state[key] = DEFAULTS[key]; // an address of other results
  }
  drawTable();
  drawGallery();
  drawViewer(state.open);
}

function arrange(parent, elements) {
  const before = [...parent.children].filter((element) => elements.includes(element));
  if (before.some((element, n) => element !== elements[n])) parent.append(...elements); // which costs them the focus
}

function drawTable() {
  for (const body of byId("table").tBodies) body.hidden = body.dataset.scope !== state.scope;
  for (const heading of byId("table").tHead.rows[0].cells) {
    const sorted = heading.dataset.key && heading.dataset.key === state.sort;
    if (sorted) heading.setAttribute("aria-sort", state.way === "up" ? "ascending" : "descending");
    else heading.removeAttribute("aria-sort");
  }
  const body = [...byId("table").tBodies].find((one) => !one.hidden);
  const headings = [...byId("table").tHead.rows[0].cells].map((heading) => heading.dataset.key);
  const column = state.sort ? headings.indexOf(state.sort) : -1;
  const sign = state.way === "up" ? 1 : -1;
  const value = (row) => (column < 0 ? Number(row.dataset.place) : Number(row.cells[column].dataset.value || NaN));
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y); // what has no figure stands last
    return column < 0 ? x - y : sign * (x - y);
  });
  arrange(body, rows);
}

function sortBy(heading) {
  const first = heading.dataset.first; // the way that puts the best first
  const other = first === "up" ? "down" : "up";
  if (state.sort !== heading.dataset.key) change({ sort: heading.dataset.key, way: first });
  else if (state.way === first) change({ way: other });
  else change({ sort: "", way: "" });
}

const entries = [...document.querySelectorAll(".entry")].map((element) => ({
  element,
  id: element.dataset.id,
  category: element.dataset.category,
  ranks: JSON.parse(element.dataset.ranks), // by system: its rank among the models of the category, their number, failed
}));
let visible = entries;

function drawGallery() {
  const judge = state.system || Object.keys(entries[0]?.ranks ?? {})[0];
  const share = (entry) => (entry.ranks[judge][0] - 0.5) / entry.ranks[judge][1];
  const failed = (entry) =>
    state.system ? entry.ranks[judge][2] : Object.values(entry.ranks).some((found) => found[2]);
  let found = entries.filter((entry) => !state.category || entry.category === state.category);
  found.sort((a, b) => share(a) - share(b));
  const all = found.length;
  if (state.show === "best") found = found.slice(0, SHOWN_OF_SOME);
  if (state.show === "worst") found = found.reverse().slice(0, SHOWN_OF_SOME);
  if (state.show === "median") {
    const start = Math.max(0, Math.round((found.length - SHOWN_OF_SOME) / 2));
    found = found.slice(start, start + SHOWN_OF_SOME);
  }
  if (state.show === "failed") found = found.filter(failed);
  for (const entry of entries) {
    entry.element.hidden = !found.includes(entry);
    for (const cell of entry.element.querySelectorAll("[data-system]")) {
      cell.hidden = Boolean(state.system) && cell.dataset.system !== state.system;
    }
  }
  arrange(byId("entries"), found.map((entry) => entry.element));
  byId("count").textContent = found.length ? `${found.length} of ${all} shown` : `none of ${all}`;
  visible = found;
}

for (const key of ["scope", "category", "system", "show"]) {
  byId(key).addEventListener("change", () => change({ [key]: byId(key).value }));
}
for (const heading of byId("table").tHead.rows[0].cells) {
  heading.querySelector("button")?.addEventListener("click", () => sortBy(heading));
}
for (const entry of entries) {
  entry.element.querySelector("button").addEventListener("click", () => change({ open: entry.id }));
}
addEventListener("hashchange", () => {
  if (!location.hash || location.hash.includes("=")) {
    state = read(); // any other is a place on the page
    draw();
  }
});

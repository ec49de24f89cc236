// What HTML and htmx do not do by themselves: keys, the live table, a stretch of time by dragging, the matrix.
"use strict";

const rowsOf = () => [...document.querySelectorAll("#rows tr[data-href]")];

function moveTo(step) {
  const rows = rowsOf();
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("here"));
  const next = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
  rows.forEach((row) => row.classList.toggle("here", row === next));
  next.querySelector("a").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function moveInTree(step) {
  const links = [...document.querySelectorAll("#lines .line a")];
  const at = links.findIndex((link) => link.parentElement.hasAttribute("aria-current"));
  const next = links[Math.max(0, Math.min(links.length - 1, at + step))];
  if (!next) return;
  next.focus();
  next.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const button = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (button?.offsetParent && location.pathname === "/review") return button.click();
  const step = { j: 1, k: -1 }[event.key];
  if (step) (document.getElementById("lines") ? moveInTree : moveTo)(step);
  else if (event.key === "/" && document.getElementById("search")) document.getElementById("search").focus();
  else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-href]");
  if (row && !event.target.closest("a") && !String(getSelection())) location.href = row.dataset.href;
  const line = event.target.closest("#lines .line");
  if (line) {
    document.querySelectorAll("#lines .line[aria-current]").forEach((other) => other.removeAttribute("aria-current"));
    line.setAttribute("aria-current", "true");
  }
});

// A short address: fields that are empty, and columns that are shown anyway, are not sent.
document.addEventListener("submit", (event) => {
  if (event.target.id !== "filters") return;
  const fields = [...event.target.elements];
  const columns = fields.filter((field) => field.name === "column");
  const usual = columns.every((box) => box.checked === "default" in box.dataset);
  for (const field of fields) {
    if (field.name === "column" ? usual : field.name && (!field.value || (field.name === "order" && field.value === "newest"))) field.disabled = true;
  }
});
addEventListener("pageshow", () => document.querySelectorAll("#filters :disabled").forEach((field) => { field.disabled = false; }));

// How long a call was looked at before somebody decided: only while the page was to be seen.
let looked = 0;
let since = document.hidden ? null : performance.now();
document.addEventListener("visibilitychange", () => {
  if (since !== null) looked += performance.now() - since;
  since = document.hidden ? null : performance.now();
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-timed]")) return;
  const now = since === null ? 0 : performance.now() - since;
  event.target.elements.seconds.value = ((looked + now) / 1000).toFixed(2);
});

// Saved views: names for addresses of the table, which this browser keeps for this store's port.
const views = document.getElementById("views");
const readViews = () => {
  try { return JSON.parse(localStorage.getItem("views")) ?? {}; } catch { return {}; }
};
function writeViews(saved) {
  try { localStorage.setItem("views", JSON.stringify(saved)); } catch (error) { alert(`This browser keeps nothing: ${error.message}`); }
  showViews();
}
function showViews() {
  const saved = readViews();
  const names = Object.keys(saved).sort();
  views.querySelector("ul").replaceChildren(...names.map((name) => {
    const [line, link, remove] = ["li", "a", "button"].map((tag) => document.createElement(tag));
    link.href = `/calls?${new URLSearchParams(saved[name])}`;
    link.textContent = name;
    if (saved[name] === location.search.slice(1)) link.setAttribute("aria-current", "page");
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove the view ${name}`);
    remove.onclick = () => {
      const { [name]: _, ...others } = readViews();
      writeViews(others);
      views.querySelector("summary").focus();
    };
    line.append(link, remove);
    return line;
  }));
  document.getElementById("no-views").hidden = names.length > 0;
}
if (views) {
  views.hidden = false;
  showViews();
  document.getElementById("save-view").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = event.target.elements.name.value.trim();
    if (name) writeViews({ ...readViews(), [name]: location.search.slice(1) });
    event.target.reset();
  });
}

// Live: the first page anew half a second after the last, while one looks at its top.
async function redraw() {
  const live = document.getElementById("live");
  const rows = document.getElementById("rows");
  if (live?.checked && rows && !document.hidden && scrollY <= 400) {
    await htmx.ajax("GET", rows.dataset.rows, { target: "#rows", swap: "innerHTML" }).catch(() => {});
  }
  setTimeout(redraw, 500);
}
redraw();

// A stretch of time: from where the pointer went down to where it went up.
let from = null;
const groupAt = (event) => event.target.closest?.("#times g");
function choose(group) {
  const groups = [...group.parentElement.querySelectorAll("g")];
  const [first, last] = [groups.indexOf(from), groups.indexOf(group)].sort((a, b) => a - b);
  groups.forEach((other, i) => other.classList.toggle("chosen", i >= first && i <= last));
  return [groups[first], groups[last]];
}
document.addEventListener("pointerdown", (event) => { from = groupAt(event) ?? null; });
document.addEventListener("pointermove", (event) => { const group = groupAt(event); if (from && group) choose(group); });
document.addEventListener("pointerup", (event) => {
  const group = groupAt(event);
  if (from && group) {
    const [first, last] = choose(group);
    const link = new URL(group.closest("svg").dataset.link, location.href);
    link.searchParams.set("since", first.dataset.from);
    link.searchParams.set("until", last.dataset.to);
    location.href = link.href;
  }
  from = null;
});

// The matrix: a part of the answer colours the prompt; a word of the prompt colours the answer.
function colour(button, chosen) {
  const box = button.closest("[data-attribution]");
  const levels = button.dataset.levels.split(",");
  for (const word of box.querySelectorAll(".w")) {
    word.dataset.level ??= word.className;
    word.className = chosen ? `w v${levels[word.dataset.s]}` : word.dataset.level;
  }
}
for (const [name, chosen] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
  document.addEventListener(name, (event) => {
    const button = event.target.closest?.(".token");
    if (button) colour(button, chosen);
  });
}

// The reverse: a word of the prompt colours the parts of the answer.
function colourAnswer(word, chosen) {
  for (const button of word.closest("[data-attribution]").querySelectorAll(".token")) {
    const level = button.dataset.levels.split(",")[word.dataset.s];
    button.className = chosen && level !== "0" ? `token coloured v${level}` : "token";
  }
}
for (const [name, chosen] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
  document.addEventListener(name, (event) => {
    const word = event.target.closest?.(".w");
    if (word) colourAnswer(word, chosen);
    const titled = chosen ? event.target.closest?.("[data-tips] [title]") : null;
    const tip = titled?.closest("[data-tips]").querySelector(".tip");
    if (tip) tip.textContent = `${titled.textContent.trim()}: ${titled.title}`;
  });
}

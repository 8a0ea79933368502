"use strict";
// Names reach the page through textContent only: no text of the data is ever read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

for (const figure of document.querySelectorAll("figure[data-panel]")) {
  const panel = data[figure.dataset.panel];
  const svg = figure.querySelector("svg");
  const says = figure.appendChild(document.createElement("div"));
  says.className = "says";
  says.hidden = true;
  says.setAttribute("aria-live", "polite");
  const line = svg.appendChild(document.createElementNS(SVG, "path"));
  line.setAttribute("class", "hover");
  let spots = [];
  let at = -1;

  const shown = () => panel.series.filter((one) => !hidden(figure).has(String(one.style)));
  const collect = () => {
    const all = shown().flatMap((one) => one.spots.map((spot) => ({ one, spot })));
    const order = (a, b) => a.spot[0] - b.spot[0] || a.spot[1] - b.spot[1];
    const seen = new Set();
    spots = all.sort(order).filter(({ spot }) => {
      if (!panel.along) return true;
      const first = !seen.has(spot[0]);
      seen.add(spot[0]);
      return first;
    });
  };

  const hide = () => { says.hidden = true; line.setAttribute("d", ""); at = -1; };
  const show = (index) => {
    at = index;
    const [x, y, text] = spots[index].spot;
    const [left, top, right, bottom] = panel.box;
    const found = panel.along ? along(shown(), x) : [[spots[index].one, spots[index].spot]];
    says.replaceChildren(bold(`${panel.x}: ${text}`));
    for (const [one, spot] of found.slice(0, 16)) says.append(row(one, spot));
    line.setAttribute("d", panel.along ? `M${x} ${top}V${bottom}` : `M${x} ${y - 9}v18m-9-9h18`);
    says.hidden = false;
    const away = x < (left + right) / 2;  // in the half of the panel where the pointer isn't
    says.style.left = away ? "auto" : "3.6rem";
    says.style.right = away ? ".8rem" : "auto";
  };

  const point = (event) => {
    collect();
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const y = (event.clientY - box.top) * scale;
    const far = ({ spot }) => Math.hypot(spot[0] - x, panel.along ? 0 : spot[1] - y);
    let best = -1;
    spots.forEach((one, index) => { if (best < 0 || far(one) < far(spots[best])) best = index; });
    if (best < 0 || (!panel.along && far(spots[best]) > 30)) hide(); else show(best);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { hide(); return; }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    collect();
    if (spots.length) show(Math.min(Math.max(at + step, 0), spots.length - 1));
  });
}

function along(series, x) {
  const found = [];
  for (const one of series) {
    if (!one.spots.length) continue;
    const near = one.spots.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
    if (Math.abs(near[0] - x) < 8) found.push([one, near]);
  }
  return found.sort((a, b) => a[1][1] - b[1][1]);
}

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function row(one, spot) {
  const element = document.createElement("div");
  const key = document.createElement("span");
  element.className = `c${one.style % 7}`;
  key.textContent = "● ";
  element.append(key, `${one.name}: ${spot[3]}`);
  return element;
}

function hidden(inside) {
  const section = inside.closest("section");
  const off = section.querySelectorAll('.legend button[aria-pressed="false"]');
  return new Set([...off].map((button) => button.dataset.m));
}

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!on));
    const drawn = button.closest("section").querySelectorAll(`g[data-m="${button.dataset.m}"]`);
    for (const group of drawn) group.classList.toggle("off", on);
  });
}

let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
window.addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

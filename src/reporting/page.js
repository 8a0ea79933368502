// Names reach the page through textContent only: no text of the data is ever read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const figures = [...document.querySelectorAll("figure[data-panel]")];
const views = new Map();

const spec = (figure) => data.panels[figure.dataset.panel];
const short = (number) => (typeof number === "number" ? String(+number.toPrecision(5)) : "");

function at(panel, name, value) {
  const labels = (panel.params ?? []).find((param) => param.name === `${name}Labels`);
  return labels?.value[Math.round(value)] ?? short(value);
}

function lines(panel, row) {
  const { names, x, y, along } = panel.usermeta;
  const bounds = (of) =>
    "low" in of ? ` (${short(of.low)} to ${of.open ? "∞" : short(of.high)})` : "";
  const note = row.note ? [row.note] : [];
  if (along) {
    const there = panel.data.values.filter((one) => one.x === row.x && "p" in one);
    const said = there.map((one) => [one, `${names[one.n]}: ${at(panel, "y", one.y)}${bounds(one)}`]);
    return [[null, `${x}: ${at(panel, "x", row.x)}`], ...said.slice(0, 20)];
  }
  const height = y ? [[null, `${y}: ${row.is ?? at(panel, "y", row.y)}`]] : [];
  return [[row, names[row.n]], [null, `${x}: ${at(panel, "x", row.x)}${bounds(row)}`], ...height,
    ...note.map((text) => [null, text])];
}

function says(figure) {
  const box = figure.appendChild(document.createElement("div"));
  box.className = "says";
  box.hidden = true;
  return (_, event, item, row) => {
    box.hidden = !row;
    if (!row) return;
    box.replaceChildren(...lines(spec(figure), row).map(([of, text]) => {
      const line = document.createElement("div");
      if (of) {
        const key = line.appendChild(document.createElement("span"));
        key.className = `c${of.s % 7}`;
        key.textContent = "● ";
      }
      line.append(text);
      return line;
    }));
    const around = figure.getBoundingClientRect();
    const left = event.clientX - around.left < around.width / 2;  // where the pointer isn't
    box.style.left = left ? "auto" : "3.6rem";
    box.style.right = left ? ".8rem" : "auto";
  };
}

let busy = Promise.resolve();  // one after the other, so that the first is soon there
function draw(figure) {
  if (!views.has(figure)) {
    const options = {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, config: data.config,
      tooltip: says(figure),
    };
    const drawn = busy.then(() => vegaEmbed(figure.querySelector(".plot"), spec(figure), options));
    busy = drawn.catch(() => {});
    views.set(figure, drawn.then(({ view }) => { figure.classList.add("done"); return view; }));
  }
  return views.get(figure);
}

// What is seen is drawn first; the rest while nothing else is to do, so that it can be printed.
for (const figure of figures) {
  figure.querySelector(".plot").style.minHeight = `${spec(figure).height}px`;
}
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "300px" });
for (const figure of figures) seen.observe(figure);
const idle = window.requestIdleCallback ?? ((call) => setTimeout(call, 50));
let last = 0;
const next = () => {
  while (last < figures.length && views.has(figures[last])) last += 1;
  if (last < figures.length) draw(figures[last]).then(() => idle(next));
};
addEventListener("load", () => setTimeout(() => idle(next), 200));

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", async () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    for (const other of button.closest("ul").querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(on && other === button));
    }
    for (const figure of button.closest("section").querySelectorAll("figure")) {
      const view = await draw(figure);
      view.signal("picked", on ? Number(button.dataset.s) : null).runAsync();
    }
  });
}

function cells(kind, texts) {
  const row = document.createElement("tr");
  for (const text of texts) row.appendChild(document.createElement(kind)).textContent = text;
  return row;
}

const HEADING = ["panel", "series", "", "", "", "", "low", "high", "note"];
const MOST = 5000;
for (const details of document.querySelectorAll("details.drawn")) {
  details.addEventListener("toggle", () => {
    const wide = document.createElement("div");
    wide.className = "wide";
    wide.tabIndex = 0;
    const table = wide.appendChild(document.createElement("table"));
    table.createTHead().append(cells("th", HEADING));
    const body = table.createTBody();
    for (const figure of details.closest("section").querySelectorAll("figure")) {
      const panel = spec(figure);
      const { title, names, x, y } = panel.usermeta;
      for (const row of panel.data.values) {
        if (body.rows.length >= MOST) break;
        body.append(cells("td", [title, names[row.n], x, at(panel, "x", row.x), y,
          row.is ?? at(panel, "y", row.y), short(row.low), row.open ? "∞" : short(row.high),
          row.note ?? ""]));
      }
    }
    details.append(wide);
    if (body.rows.length >= MOST) details.append(`The first ${MOST} rows; the file holds all.`);
  }, { once: true });
}

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details.record:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

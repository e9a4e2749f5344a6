// The page: filters, sections, themes.

const data = JSON.parse(document.getElementById("data").textContent);
const page = { policies: data.policies, categories: data.categories, hidden: new Set(), category: "" };
const redraws = [];
const redraw = () => redraws.forEach((run) => run());

const wanted = (one) => (!one.policy || !page.hidden.has(one.policy)) && (!one.category || !page.category || one.category === page.category);

function makePanel(panel) {
  let chosen = 0;
  const holder = el("div", { class: "drawing" });
  const choice = el("select", { "aria-label": `What is shown: ${panel.title}`, on: { change: () => { chosen = Number(choice.value); draw(); } } });
  const table = el("div", { class: "scroll", tabindex: 0, "aria-label": `Figures of ${panel.title}` });
  const details = el("details", { class: "table", on: { toggle: () => draw() } }, el("summary", null, "As a table"), table);
  const node = el("article", { class: "panel", id: panel.name },
    el("div", { class: "panel-head" }, el("div", null, el("h3", null, panel.title), el("p", { class: "says" }, panel.says)), panel.charts.length > 1 ? choice : null),
    holder, details);

  function filter() {
    const shown = panel.charts.map((_, i) => i).filter((i) => !page.category || !panel.charts.some((chart) => chart.category === page.category) || panel.charts[i].category === page.category);
    if (!shown.includes(chosen)) chosen = shown[0];
    choice.replaceChildren(...shown.map((i) => el("option", { value: i }, panel.charts[i].title)));
    choice.value = String(chosen);
    draw();
  }
  function draw() {
    const chart = panel.charts[chosen], series = chart.series.filter(wanted);
    drawChart(holder, chart, series);
    table.replaceChildren(...(details.open ? [tableOf(chart, series)] : []));
  }
  redraws.push(filter);
  let width = 0;
  new ResizeObserver(() => {
    if (holder.clientWidth !== width) draw();
    width = holder.clientWidth;
  }).observe(holder);
  return node;
}

function makeFilters() {
  const parts = [];
  if (data.categories.length) {
    const select = el("select", { id: "category", on: { change: () => { page.category = select.value; redraw(); } } },
      el("option", { value: "" }, "all"), ...data.categories.map((name) => el("option", { value: name }, name)));
    parts.push(el("label", null, "Category", select));
  }
  if (data.policies.length > 1) {
    const chips = data.policies.map((policy, i) => {
      const chip = el("button", { type: "button", class: "chip", "aria-pressed": "true", colour: hue(i), on: { click: () => {
        const hide = !page.hidden.has(policy);
        page.hidden[hide ? "add" : "delete"](policy);
        chip.setAttribute("aria-pressed", String(!hide));
        redraw();
      } } }, policy);
      return chip;
    });
    const all = (pressed) => () => {
      page.hidden = new Set(pressed ? [] : data.policies);
      chips.forEach((chip) => chip.setAttribute("aria-pressed", String(pressed)));
      redraw();
    };
    const few = [el("button", { type: "button", class: "quiet", on: { click: all(true) } }, "all"), el("button", { type: "button", class: "quiet", on: { click: all(false) } }, "none")];
    parts.push(el("div", { class: "chips", role: "group", "aria-label": "Policies shown" }, ...chips, ...(chips.length > 4 ? few : [])));
  }
  return parts.length ? el("div", { class: "filters-wrap", role: "region", "aria-label": "Filters" }, el("div", { class: "filters" }, ...parts)) : null;
}

function makeSection(name, title, children, missing) {
  document.getElementById("nav").append(el("a", { href: `#${name}` }, title));
  return el("section", { id: name, "aria-label": title }, el("h2", null, title), el("div", { class: "panels" }, ...(children.length ? children : [el("p", { class: "empty" }, missing)])));
}

const MISSING = {
  comparison: "No policies were compared. Give a trace, or the --json of compare, simulate or evidence.",
  frontier: "Needs a trace, or the --json of a scenario.",
  "over-time": "Needs a trace, a log of live cycles, or the --json of a scenario.",
  hazards: "Needs a trace: it tells how far drafts hold at every position.",
  costs: "Needs a trace, or a cost profile.",
  calibration: "Needs a trace with signals.",
};

function makeTheme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const kinds = ["auto", "light", "dark"];
  const use = (kind) => {
    kind === "auto" ? delete root.dataset.theme : (root.dataset.theme = kind);
    button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[kind];
    button.setAttribute("aria-label", `Colours: ${kind}; change`);
    button.dataset.kind = kind;
  };
  button.addEventListener("click", () => use(kinds[(kinds.indexOf(button.dataset.kind) + 1) % kinds.length]));
  use("auto");
}

function build() {
  makeTheme();
  const main = document.getElementById("main");
  const heads = data.headlines.length ? data.headlines : [data.sources.length ? "What these results hold." : "Nothing to show."];
  main.append(el("div", { class: "lede" }, ...heads.map((said) => el("p", null, said))));
  if (data.remarks.length) main.append(el("div", { class: "remarks" }, ...data.remarks.map((said) => el("p", null, said))));
  const filters = makeFilters();
  if (filters) main.append(filters);
  for (const section of data.sections) {
    main.append(makeSection(section.name, section.title, section.panels.map(makePanel), MISSING[section.name]));
    if (section.name === "comparison" && data.viewers.length) {
      const viewers = data.viewers.map(makeViewer);
      viewers.forEach((viewer) => redraws.push(viewer.filter));
      main.append(makeSection("viewer", "Token by token", viewers.map((viewer) => viewer.node), ""));
    }
  }
  const rows = data.sources.map((source) => el("tr", null, el("td", null, source.name), el("td", null, source.kind), el("td", null, source.what)));
  document.getElementById("foot").append(el("h2", null, "Made of"), el("table", null, el("tbody", null, ...rows)), el("p", null, `adaptive-spec ${data.package_version}`));
  redraw();
  document.documentElement.dataset.ready = "true";
}

build();

"use strict";
(() => {
  const MOST = 500; // rows of a table beneath a chart

  // The number that a cell begins with ("0.63 [0.60, 0.66]" sorts as 0.63), or null.
  const number = (text) => {
    const found = text.replace(/,/g, "").replace("−", "-").match(/^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
    return found ? parseFloat(found[0]) : null;
  };

  const sort = (table, column, ascending) => {
    const rows = [...table.tBodies[0].rows];
    const key = (row) => row.cells[column].textContent;
    const numeric = rows.every((row) => key(row) === "" || key(row) === "undefined" || number(key(row)) !== null);
    const value = numeric ? (row) => number(key(row)) : key;
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (numeric && (x === null || y === null)) return (x === null) - (y === null); // what is blank stays last
      const order = numeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return ascending ? order : -order;
    });
    table.tBodies[0].append(...rows);
    [...table.tHead.rows[0].cells].forEach((head, k) => {
      if (k === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };

  const sortable = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") !== "ascending"));
      head.append(button);
    });
  };

  const cell = (kind, value) => {
    const out = document.createElement(kind);
    if (kind === "th") out.scope = "col";
    out.textContent = value === null ? "" : value;
    return out;
  };

  // The rows that a chart shows, as a table: what hovering tells, for those who do not hover.
  const tabulate = (details, rows, view, { signals, beside }) => {
    const chosen = Object.entries(signals).map(([column, signal]) => [column, view.signal(signal)]);
    const has = (row, column, value) =>
      String(row[column]) === value || (beside && column === "method" && row.role === "control");
    const own = rows.filter((row) => chosen.every(([column, value]) => has(row, column, value)));
    const names = Object.keys(rows[0] || {}).filter((name) => !(name in signals) || (beside && name === "method"));
    const table = document.createElement("table");
    table.createTHead().append(document.createElement("tr"));
    table.tHead.rows[0].append(...names.map((name) => cell("th", name)));
    const body = table.createTBody();
    for (const row of own.slice(0, MOST)) {
      const line = body.insertRow();
      line.append(...names.map((name) => cell("td", row[name])));
    }
    sortable(table);
    const wide = document.createElement("div");
    wide.className = "wide";
    wide.tabIndex = 0;
    wide.setAttribute("role", "group");
    wide.setAttribute("aria-label", "The chart's numbers");
    wide.append(table);
    const parts = [wide];
    if (own.length > MOST) {
      const more = document.createElement("p");
      more.textContent = `${own.length - MOST} more rows in the CSV file.`;
      parts.push(more);
    }
    details.replaceChildren(details.querySelector("summary"), ...parts);
  };

  // Columns as rows; text columns come as their different values and the place of each row's among them.
  const unpack = (columns) => {
    const names = Object.keys(columns);
    const at = names.map((name) => {
      const { of, at } = columns[name].of ? columns[name] : { of: null, at: columns[name] };
      return of ? (k) => of[at[k]] : (k) => at[k];
    });
    const count = names.length ? (columns[names[0]].at || columns[names[0]]).length : 0;
    return Array.from({ length: count }, (_, k) => Object.fromEntries(names.map((name, j) => [name, at[j](k)])));
  };

  const draw = async (figure) => {
    const spec = JSON.parse(figure.querySelector("script.spec").textContent);
    const rows = unpack(JSON.parse(figure.querySelector("script.data").textContent));
    spec.data.find((part) => part.name === "table").values = rows;
    const drawing = figure.querySelector(".drawing");
    const { view } = await vegaEmbed(drawing, spec, {
      renderer: "svg",
      bind: figure.querySelector(".choices"),
      actions: { export: true, source: false, compiled: false, editor: false },
      downloadFileName: figure.id,
    });
    drawing.querySelector("svg.marks").setAttribute("aria-hidden", "true"); // its numbers are the table beneath
    const menu = drawing.querySelector("summary");
    if (menu) menu.setAttribute("aria-label", "Save the chart as a picture");
    const details = figure.querySelector("details.numbers");
    const choices = JSON.parse(figure.dataset.choices);
    const show = () => {
      if (details.open) tabulate(details, rows, view, choices);
    };
    details.addEventListener("toggle", show);
    Object.values(choices.signals).forEach((signal) => view.addSignalListener(signal, show));
  };

  const start = async () => {
    document.querySelectorAll("table").forEach(sortable);
    for (const figure of document.querySelectorAll("figure.chart")) await draw(figure);
    document.documentElement.dataset.ready = "yes";
  };
  start();
})();

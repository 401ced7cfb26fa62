/* site.js - a long table (the gallery of mutants, the deliberate breaks) can be filtered and sorted: a heading sorts
 * by its column, and the other way round when it is pressed again. */
"use strict";
(() => {
  const LEAST_ROWS = 20;

  const text = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : "");

  function sort(table, column) {
    const heads = [...table.tHead.rows[0].cells];
    const up = heads[column].getAttribute("aria-sort") !== "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => text(a, column).localeCompare(text(b, column), "en", { numeric: true }) * (up ? 1 : -1));
    table.tBodies[0].append(...rows);
  }

  /* Every word that was typed has to be in the row. */
  function filter(table, typed, shown) {
    const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    rows.forEach((row) => {
      const all = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => all.includes(word));
    });
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  }

  function dress(table, number) {
    const tools = document.createElement("div");
    const label = document.createElement("label");
    const input = document.createElement("input");
    const shown = document.createElement("output");
    tools.className = "table-tools";
    input.type = "search";
    input.id = `filter-${number}`;
    input.placeholder = "words";
    label.htmlFor = input.id;
    label.textContent = "Filter";
    tools.append(label, input, shown);
    const frame = table.closest(".md-typeset__scrollwrap") || table;
    frame.before(tools);
    input.addEventListener("input", () => filter(table, input.value, shown));
    filter(table, "", shown);
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column));
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const tables = [...document.querySelectorAll(".md-content table")].filter(
      (table) => table.tHead && table.tBodies[0] && table.tBodies[0].rows.length >= LEAST_ROWS);
    tables.forEach(dress);
  });
})();

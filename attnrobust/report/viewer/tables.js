// Tables of the page: sorted by a column's head, copied as CSV.
(() => {
  "use strict";
  const number = (text) => {
    const found = /^[-+]?\d[\d,]*(\.\d+)?(e-?\d+)?/i.exec(text.replaceAll("−", "-"));
    return found ? Number(found[0].replaceAll(",", "")) : NaN;
  };
  const text = (cell) => cell.textContent.trim();
  // Numbers by size, then words by letters; what is missing comes last, whichever way it goes.
  function compare(one, other, down) {
    const [a, b] = [number(one), number(other)], [gone, missing] = [one, other].map((each) => each === "" || each === "–");
    if (gone || missing) return gone - missing;
    const by = Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
    return down ? -by : by;
  }
  function sort(table, head, column) {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const each of table.tHead.querySelectorAll("[aria-sort]")) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => compare(text(one.cells[column]), text(other.cells[column]), down));
    table.tBodies[0].append(...rows);
  }
  // One head a column: those of an upper row stand before those below them.
  function heads(table) {
    const rows = [...table.tHead.rows].map((row) =>
      [...row.cells].flatMap((cell) => Array(cell.colSpan).fill(text(cell))));
    return rows[0].map((_, column) => rows.map((row) => row[column]).filter(Boolean).join(": "));
  }
  function csv(table) {
    const quoted = (word) => (/[",\n]/.test(word) ? `"${word.replaceAll('"', '""')}"` : word);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map(text));
    return [heads(table), ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  }
  async function copy(words) {
    try {
      await navigator.clipboard.writeText(words);
      return true;
    } catch { // Some browsers give files no clipboard: the way of before.
      const area = document.createElement("textarea");
      area.value = words;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }
  for (const table of document.querySelectorAll("main > section .scroll > table")) {
    if (!table.tHead?.rows.length || table.closest(".viewer")) continue;
    [...table.tHead.rows[table.tHead.rows.length - 1].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, head, column));
      head.append(button);
    });
    const button = document.createElement("button"), said = document.createElement("span");
    Object.assign(button, { type: "button", className: "copy", textContent: "Copy as CSV" });
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => { said.textContent = (await copy(csv(table))) ? " copied" : " the browser does not allow it"; });
    const tools = document.createElement("p");
    tools.className = "tools";
    tools.append(button, said);
    table.parentElement.after(tools);
  }
})();

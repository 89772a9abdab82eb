// Accuracy against epsilon: lines with intervals, points that can be chosen, and a table of the same.
const CURVES = { svg: draw("svg", { class: "curve", role: "group" }), hover: make("p", { class: "hover" }), table: make("table") };
CURVES.root = make("figure", { class: "curves" }, CURVES.svg, CURVES.hover,
  make("figcaption"),
  make("details", {}, make("summary", {}, "The same as a table"), make("div", { class: "scroll" }, CURVES.table)));

// Doublings evenly spaced, 0 a step left of the smallest.
function places(keys) {
  const least = Math.min(...keys.map(Number).filter((value) => value > 0));
  return new Map(keys.map((key) => [key, Number(key) ? 1 + Math.log2(Number(key) / least) : 0]));
}

function interval(point) {
  if (!point) return "–";
  const [value, low, high] = point.map((each) => (each === null ? null : each.toFixed(3)));
  return low === null ? value : `${value} (${low}–${high})`;
}

function fellAt(view, key) {
  const level = view.levels.indexOf(key);
  return view.images.filter((image) => falls(view, image) === level).length;
}

function shownViews() {
  return [["a", state.a], ["b", state.b]].filter(([, view]) => view);
}

function curves() {
  const width = Math.max(280, CURVES.root.clientWidth || 640), height = 250;
  const box = { left: 40, right: width - 14, top: 12, bottom: height - 40 };
  const keys = levels(), at = places(keys), last = Math.max(...at.values()) || 1;
  const x = (key) => box.left + 12 + (at.get(key) / last) * (box.right - box.left - 24);
  const y = (value) => box.bottom - value * (box.bottom - box.top);
  CURVES.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  CURVES.root.querySelector("figcaption").textContent = `${state.set.metric} on the test images against ε, with 95 % intervals. Choose a point to see the images that fell there${state.set.right ? `, below a Dice of ${state.set.right}` : ""}.`;
  CURVES.svg.setAttribute("aria-label", `${state.set.metric} against ε of ${shownViews().map(([, view]) => view.run).join(" and ")}`);
  const parts = axes(keys, x, y, box, height);
  for (const [letter, view] of shownViews()) parts.push(...line(letter, view, x, y));
  CURVES.svg.replaceChildren(...parts);
  table(keys);
  CURVES.hover.textContent = shownViews().map(([letter, view]) => told(letter, view, state.key)).filter(Boolean).join("\n");
}

function axes(keys, x, y, box, height) {
  const parts = [];
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
    parts.push(draw("text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  let free = -Infinity;
  for (const key of keys) {
    const text = state.set.levels[key][0], room = 4 + 6.5 * text.length;
    const place = Math.min(x(key), box.right + 12 - room / 2);
    if (place - room / 2 < free) continue;
    free = place + room / 2;
    parts.push(draw("text", { x: place, y: box.bottom + 16, "text-anchor": "middle" }, text));
  }
  parts.push(draw("text", { x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, "ε"));
  parts.push(draw("line", { class: "now", x1: x(state.key), x2: x(state.key), y1: box.top, y2: box.bottom }));
  return parts;
}

function line(letter, view, x, y) {
  const points = view.levels.map((key, level) => ({ key, point: view.curve[level] })).filter(({ point }) => point);
  const path = (list, at) => list.map(({ key, point }) => `${x(key).toFixed(1)},${y(at(point)).toFixed(1)}`);
  const known = points.filter(({ point }) => point[1] !== null);
  const parts = [
    draw("polygon", { class: `band ${letter}`, points: [...path(known, (point) => point[2]), ...path(known, (point) => point[1]).reverse()].join(" ") }),
    draw("polyline", { class: `line ${letter}`, points: path(points, (point) => point[0]).join(" ") }),
  ];
  for (const { key, point } of points) {
    const label = told(letter, view, key), tell = () => { CURVES.hover.textContent = label; };
    const [cx, cy] = [x(key), y(point[0])];
    const mark = letter === "a" ? draw("circle", { cx, cy, r: 5 }) : draw("rect", { x: cx - 5, y: cy - 5, width: 10, height: 10 });
    const button = draw("g", { class: `point ${letter}`, role: "button", tabindex: 0, "aria-label": label, "data-key": key },
      draw("circle", { class: "reach", cx, cy, r: 13 }), mark, draw("title", {}, label));
    button.addEventListener("pointerenter", tell);
    button.addEventListener("focus", tell);
    const act = () => change({ eps: key, show: `falls-${letter}`, class: "" }, () => CURVES.svg.querySelector(`.point.${letter}[data-key="${key}"]`)?.focus());
    button.addEventListener("click", act);
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act();
    });
    parts.push(button);
  }
  return parts;
}

function told(letter, view, key) {
  const point = view.curve[view.levels.indexOf(key)];
  if (!point) return "";
  const fell = fellAt(view, key), count = `${fell} image${fell === 1 ? "" : "s"}`;
  const where = key === "0" ? `${count} wrong without an attack` : `${count} fall${fell === 1 ? "s" : ""} here`;
  return `${letter.toUpperCase()} ${view.run}, ε = ${epsilon(key)}: ${interval(point)}, n = ${point[3]}, ${where}`;
}

function table(keys) {
  const shown = shownViews();
  const heads = ["ε", ...shown.flatMap(([, view]) => [view.run, "fall here"])];
  const rows = keys.map((key) => [epsilon(key), ...shown.flatMap(([, view]) => {
    const level = view.levels.indexOf(key);
    return level < 0 ? ["–", "–"] : [interval(view.curve[level]), String(fellAt(view, key))];
  })]);
  const cells = (row) => row.map((text, place) => (place ? make("td", {}, text) : make("th", { scope: "row" }, text)));
  CURVES.table.replaceChildren(
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row)))));
}

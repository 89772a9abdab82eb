// The images in a row: which of them, in which order, and the one that is chosen.
const MANY = 96; // Tiles at first; more are asked for.
const SHOW = {
  all: { text: "all images", test: () => true },
  "standing-a": { text: "standing under A", test: (image) => stands(state.a, image) === true },
  "fallen-a": { text: "fallen under A", test: (image) => stands(state.a, image) === false },
  "falls-a": { text: "falling at this ε under A", test: (image) => fallsHere(state.a, image) },
  "standing-b": { text: "standing under B", pair: true, test: (image) => stands(state.b, image) === true },
  "fallen-b": { text: "fallen under B", pair: true, test: (image) => stands(state.b, image) === false },
  "falls-b": { text: "falling at this ε under B", pair: true, test: (image) => fallsHere(state.b, image) },
  "only-a": { text: "standing under A alone", pair: true, test: (image) => stands(state.a, image) === true && stands(state.b, image) === false },
  "only-b": { text: "standing under B alone", pair: true, test: (image) => stands(state.b, image) === true && stands(state.a, image) === false },
};
const confidence = (image) => said(state.a, image, state.key)?.confidence ?? Infinity;
const lasts = (image) => { const level = falls(state.a, image); return level < 0 ? Infinity : level; };
const SORT = {
  pictures: { text: "with pictures first", by: (image) => (portrait(image) === undefined ? 1 : 0) },
  sure: { text: "confidence, highest first", graded: "Dice, highest first", by: (image) => -confidence(image) },
  unsure: { text: "confidence, lowest first", graded: "Dice, lowest first", by: confidence },
  early: { text: "ε at which it falls, smallest first", by: lasts },
  late: { text: "ε at which it falls, largest first", by: (image) => -lasts(image) },
};

// Whether it has not fallen at this epsilon; undefined where that is not known.
function stands(view, image) {
  const found = said(view, image, state.key);
  return found ? found.reached !== FALLEN : undefined;
}

function fallsHere(view, image) {
  const level = view.levels.indexOf(state.key);
  return level >= 0 && falls(view, image) === level;
}

// The number of an image's clean picture, of whichever run kept one.
function portrait(image) {
  for (const view of [state.a, state.b, ...state.set.views]) {
    const made = view?.sample.has(image) ? view.pictures[0][view.sample.get(image)] : null;
    if (made) return made[0];
  }
  return undefined;
}

function chosen() {
  const test = SHOW[state.show].test, by = SORT[state.sort].by;
  const images = state.a.images.filter((image) =>
    test(image) && (state.label === "" || name(state.set.labels[image]) === state.label));
  const keys = new Map(images.map((image) => [image, by(image)]));
  const order = (one, other) => (keys.get(one) === keys.get(other) ? 0 : keys.get(one) < keys.get(other) ? -1 : 1);
  return images.sort(order); // Stable: what is equal stays in the files' order.
}

const STRIP = { list: make("ul", { role: "listbox", "aria-label": "Images", class: "strip" }), count: make("p", { class: "count", role: "status" }), more: make("button", { type: "button" }), whole: false, of: "" };
STRIP.root = make("div", {}, STRIP.count, STRIP.list, STRIP.more);

function strip() {
  const images = chosen(), filter = [state.set.name, state.a.run, state.label, state.show, state.sort].join("\n");
  if (filter !== STRIP.of) STRIP.whole = false;
  STRIP.of = filter;
  const shown = STRIP.whole ? images : images.slice(0, MANY);
  const total = state.a.count > state.a.images.length ? `; of ${state.a.count.toLocaleString("en")} test images the page keeps these` : "";
  STRIP.count.textContent = `${images.length} of ${state.a.images.length} images${total}${pairs()}`;
  const held = STRIP.list.contains(document.activeElement);
  STRIP.list.replaceChildren(...shown.map(tile));
  const current = STRIP.list.querySelector('[aria-selected="true"]') ?? STRIP.list.firstElementChild;
  current?.setAttribute("tabindex", "0");
  if (held) current?.focus();
  STRIP.more.hidden = shown.length === images.length;
  STRIP.more.textContent = `Show all ${images.length}`;
}

// How many images each of two models gets right at this epsilon.
function pairs() {
  if (!state.b) return "";
  const counts = [0, 0, 0, 0];
  for (const image of state.a.images) {
    const one = said(state.a, image, state.key), other = said(state.b, image, state.key);
    if (one && other) counts[2 * (one.reached === RIGHT) + (other.reached === RIGHT)] += 1;
  }
  const [neither, second, first, both] = counts;
  return `. Right at this ε: both ${both}, A alone ${first}, B alone ${second}, neither ${neither}`;
}

function tile(image) {
  const found = said(state.a, image, state.key), id = state.set.ids[image], face = portrait(image);
  const right = found?.reached === RIGHT;
  const dice = found?.score !== undefined;
  const label = dice ? `${id}, ${graded(found)}`
    : `${id}, true ${name(state.set.labels[image])}, ${found ? `A says ${name(found.prediction)}` : "not known"}`;
  const inside = face === undefined
    ? make("span", { class: "blank" }, id)
    : make("img", { src: source(face), alt: "", loading: "lazy", draggable: "false" });
  const mark = make("span", { class: right ? "right" : "wrong" }, dice ? graded(found) : found ? `${right ? "✓" : "✗"} ${name(found.prediction)}` : "–");
  return make("li", { role: "option", tabindex: "-1", "aria-selected": String(image === state.image), "aria-label": label, title: id, "data-image": image }, inside, mark);
}

STRIP.list.addEventListener("click", (event) => {
  const option = event.target.closest("[data-image]");
  if (option) change({ image: state.set.ids[option.dataset.image] });
});
STRIP.list.addEventListener("keydown", (event) => {
  const options = [...STRIP.list.children], at = options.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across(options), ArrowUp: -across(options), Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined || at < 0) return;
  event.preventDefault();
  const next = options[Math.max(0, Math.min(options.length - 1, at + step))];
  next.focus();
  change({ image: state.set.ids[next.dataset.image] });
});
STRIP.more.addEventListener("click", () => { STRIP.whole = true; strip(); });

// How many tiles stand in a row.
function across(options) {
  const below = options.findIndex((each) => each.offsetTop > options[0].offsetTop);
  return below < 0 ? options.length : below;
}

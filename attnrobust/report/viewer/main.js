// The choices, the slider, and what follows when one of them changes.
const CHOICES = {
  set: { text: "Data set", list: () => DATA.sets.map((set) => set.name), now: () => state.set.name },
  attack: { text: "Attack", list: () => attacks(state.set), now: () => state.a.attack },
  run: { text: "Model A", list: () => views(state.set, state.a.attack).map((view) => view.run), now: () => state.a.run },
  versus: { text: "Model B", none: "none", list: () => views(state.set, state.a.attack).filter((view) => view !== state.a).map((view) => view.run), now: () => state.b?.run ?? "" },
  method: { text: "Map", list: methods, now: () => state.method },
};
const FILTERS = {
  class: { text: "True class", none: "all classes", list: () => state.set.right ? [] : [...new Set(state.a.images.map((image) => state.set.labels[image]))].sort((one, other) => one - other).map(name), now: () => state.label },
  show: { text: "Show", list: () => Object.keys(SHOW).filter((each) => state.b || !SHOW[each].pair), named: (each) => (state.b ? SHOW[each].text : SHOW[each].text.replace(" under A", "")), now: () => state.show },
  sort: { text: "Order", list: () => Object.keys(SORT), named: (each) => (state.set.right && SORT[each].graded) || SORT[each].text, now: () => state.sort },
};

function control(key, choice) {
  const select = make("select", { name: key });
  select.addEventListener("change", () => change({ [key]: select.value }));
  const label = make("label", {}, make("span", {}, choice.text), select);
  choice.fill = () => {
    const values = choice.list(), options = values.map((value) => [value, choice.named ? choice.named(value) : value]);
    if (choice.none) options.unshift(["", choice.none]);
    const held = document.activeElement === select;
    select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
    select.value = choice.now();
    // One choice is none; what is in use stays until it is left.
    label.hidden = !held && options.length < 2;
  };
  return label;
}

function controls(choices, label) {
  const parts = Object.entries(choices).map(([key, choice]) => control(key, choice));
  return make("div", { class: "controls", role: "group", "aria-label": label }, ...parts);
}

const SLIDER = make("input", { type: "range", id: "viewer-epsilon", min: 0, step: 1 });
const VALUE = make("output", { for: "viewer-epsilon" });
const PANELS = { a: new Panel("a"), b: new Panel("b") };
SLIDER.addEventListener("input", () => change({ eps: levels()[SLIDER.value] }));

function slide() {
  const keys = levels();
  SLIDER.max = keys.length - 1;
  SLIDER.value = keys.indexOf(state.key);
  SLIDER.setAttribute("aria-valuetext", `ε = ${epsilon(state.key)}`);
  VALUE.textContent = epsilon(state.key);
}

// New wishes over those that stand; then everything is shown anew.
function change(wish, after) {
  choose({ ...wishes(), ...wish });
  toAddress();
  show();
  after?.();
}

function show() {
  for (const choice of [...Object.values(CHOICES), ...Object.values(FILTERS)]) choice.fill();
  slide();
  STAGE.classList.toggle("pair", Boolean(state.b));
  for (const letter of ["a", "b"]) PANELS[letter].show(state[letter]);
  TITLE.textContent = state.set.ids[state.image];
  curves();
  strip();
}

const STAGE = make("div", { class: "stage" }, PANELS.a.root, PANELS.b.root);
const TITLE = make("h3");
const NEXT = [["‹", "Previous image", -1], ["›", "Next image", 1]].map(([sign, label, step]) => {
  const button = make("button", { type: "button", "aria-label": label }, sign);
  button.addEventListener("click", () => {
    const images = chosen(), at = images.indexOf(state.image);
    const next = images[at < 0 ? 0 : (at + step + images.length) % images.length];
    if (next !== undefined) change({ image: state.set.ids[next] });
  });
  return button;
});
ROOT.append(
  controls(CHOICES, "What to look at"),
  make("div", { class: "slider" }, make("label", { for: "viewer-epsilon" }, "ε"), SLIDER, VALUE),
  make("div", { class: "shown" }, ...NEXT, TITLE), STAGE, CURVES.root, controls(FILTERS, "Which images"), STRIP.root);
choose(fromAddress());
show();
let drawn = ROOT.clientWidth;
new ResizeObserver(() => {
  if (ROOT.clientWidth === drawn) return;
  drawn = ROOT.clientWidth;
  curves();
}).observe(ROOT);
addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return; // A link to a section.
  choose(fromAddress());
  show();
});
if (location.hash.includes("=")) ROOT.closest("section")?.scrollIntoView();

"use strict";
// Data, small helpers, and the state that the address keeps.
const ROOT = document.getElementById("viewer-root");
const DATA = JSON.parse(document.getElementById("viewer-data").textContent);
const RIGHT = "0", FALLEN = "2"; // What an attack reached, as attnrobust/task counts it.

// Text of data sets comes in by text nodes and attributes alone: it never becomes markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}

// Float32 numbers of a view at a level, all images in a row; decoded when first asked for.
const decoded = new Map();
function numbers(view, level) {
  const text = (view.logits ?? view.scores)[level];
  if (!decoded.has(text)) decoded.set(text, new Float32Array(bytes(text).buffer));
  return decoded.get(text);
}

const pictures = new Map();
function picture(number) {
  if (!pictures.has(number)) {
    const image = new Image();
    image.src = source(number);
    pictures.set(number, image.decode().then(() => image));
  }
  return pictures.get(number);
}

function source(number) {
  return `data:image/webp;base64,${DATA.pictures[number]}`;
}

function softmax(logits) {
  const top = Math.max(...logits);
  const parts = Array.from(logits, (value) => Math.exp(value - top));
  const sum = parts.reduce((total, part) => total + part, 0);
  return parts.map((part) => part / sum);
}

// What a view says of one image at one level; nothing where the image or the level is not its own.
function said(view, image, key) {
  const row = view.row.get(image), level = view.levels.indexOf(key);
  if (row === undefined || level < 0) return null;
  if (view.scores) { // A model that segments: its Dice.
    const score = numbers(view, level)[row];
    return { score, level, confidence: score, reached: view.reached[level][row] };
  }
  const classes = state.set.classes.length || numbers(view, level).length / view.images.length;
  const logits = numbers(view, level).subarray(row * classes, (row + 1) * classes);
  const prediction = view.predictions[level][row], chances = softmax(logits);
  return {
    logits, chances, prediction, level,
    reached: view.reached[level][row],
    confidence: chances[prediction],
  };
}

// The first level at which an image has fallen; -1: it stands at all of them; -2: not in the view.
function falls(view, image) {
  const row = view.row.get(image);
  return row === undefined ? -2 : view.reached.findIndex((each) => each[row] === FALLEN);
}

function name(label) {
  return state.set.classes[label] ?? `class ${label}`;
}

function epsilon(key) {
  const [plain, scaled] = state.set.levels[key];
  if (key === "0") return "0 (no attack)";
  return Number.isNaN(Number.parseFloat(scaled)) ? plain : `${plain} (${scaled} of 255)`;
}

for (const set of DATA.sets) {
  for (const view of set.views) {
    view.row = new Map(view.images.map((image, row) => [image, row]));
    view.sample = new Map(view.samples.map((image, row) => [image, row]));
  }
}

// What is shown. a and b are views, b may be null; image is a number, key a level's text.
const state = {};

function views(set, attack) {
  return set.views.filter((view) => view.attack === attack);
}

function attacks(set) {
  return [...new Set(set.views.map((view) => view.attack))];
}

function levels() {
  const keys = new Set([...state.a.levels, ...(state.b ? state.b.levels : [])]);
  return [...keys].sort((one, other) => Number(one) - Number(other));
}

function methods() {
  const named = [state.a, state.b].filter(Boolean).flatMap((view) => Object.keys(view.heatmaps));
  return [...new Set(named)];
}

// Wishes as text, as the address has them; what is not there falls back to what is.
function choose(wish) {
  const find = (list, test) => list.find(test) ?? list[0];
  state.set = find(DATA.sets, (set) => set.name === wish.set);
  const attack = find(attacks(state.set), (each) => each === wish.attack);
  const among = views(state.set, attack);
  state.a = find(among, (view) => view.run === wish.run);
  state.b = among.find((view) => view.run === wish.versus && view !== state.a) ?? null;
  state.method = find(methods(), (each) => each === wish.method) ?? "";
  const keys = levels();
  const near = (each) => Number(each) === Number.parseFloat(wish.eps);
  state.key = keys.find(near) ?? keys[Math.min(keys.length - 1, Math.ceil(keys.length / 2))];
  state.image = wish.image === undefined ? -1 : state.set.ids.indexOf(wish.image);
  if (!state.a.row.has(state.image)) state.image = state.a.samples[0] ?? state.a.images[0];
  const held = state.a.images.some((image) => name(state.set.labels[image]) === wish.class);
  state.label = held ? wish.class : "";
  const known = Object.hasOwn(SHOW, wish.show ?? "") && (state.b || !SHOW[wish.show].pair);
  state.show = known ? wish.show : "all";
  state.sort = Object.hasOwn(SORT, wish.sort ?? "") ? wish.sort : "pictures";
}

function wishes() {
  const wish = {
    set: state.set.name, attack: state.a.attack, run: state.a.run, versus: state.b?.run,
    method: state.method, image: state.set.ids[state.image], eps: state.key,
    class: state.label, show: state.show, sort: state.sort,
  };
  const plain = { show: "all", sort: "pictures" };
  return Object.fromEntries(Object.entries(wish).filter(([key, value]) => value && value !== plain[key]));
}

function fromAddress() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function toAddress() {
  history.replaceState(null, "", `#${new URLSearchParams(wishes())}`);
}

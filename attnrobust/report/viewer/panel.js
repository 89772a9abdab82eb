// One model: its image, perturbation and heatmap on canvases, and what it says.
function ramp(text) {
  const colours = bytes(text);
  return (level) => colours.subarray(3 * level, 3 * level + 3);
}
const HEAT = ramp(DATA.colours.heatmap), MASK = ramp(DATA.colours.mask), CHANGE = ramp(DATA.colours.change);

function pixels(image, width, height) {
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

// Grey by its colours; over an image in grey where one is given, as the figures below do.
// A mask: its background shows the image alone.
function coloured(canvas, grey, colours, below, mask) {
  const { naturalWidth: width, naturalHeight: height } = below ?? grey;
  const map = pixels(grey, width, height), base = below && pixels(below, width, height);
  for (let at = 0; at < map.data.length; at += 4) {
    const level = map.data[at], colour = colours(level);
    const share = mask ? 0.55 * (level > 0) : below ? 0.25 + (0.45 * level) / 255 : 1;
    const [red, green, blue] = below ? base.data.subarray(at, at + 3) : [0, 0, 0];
    const dim = 0.299 * red + 0.587 * green + 0.114 * blue;
    for (let part = 0; part < 3; part += 1) {
      map.data[at + part] = (1 - share) * dim + share * colour[part];
    }
  }
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(map, 0, 0);
}

function graded(found) {
  return `${found.reached === RIGHT ? "✓" : "✗"} ${state.set.metric} ${found.score.toFixed(3)}`;
}

class Panel {
  constructor(letter) {
    this.letter = letter;
    this.turn = 0;
    this.title = make("h3");
    this.verdict = make("p", { class: "verdict", role: "status" });
    this.frames = ["image", "perturbation", "heatmap"].map((kind) => {
      const canvas = make("canvas", { role: "img", width: 8, height: 8, "data-kind": kind });
      const caption = make("figcaption");
      return { kind, canvas, caption, figure: make("figure", {}, canvas, caption) };
    });
    this.none = make("p", { class: "note" }, "No pictures of this image were kept, only what the model says of it.");
    this.body = make("tbody");
    this.caption = make("caption");
    const heads = ["Class", "Probability", "Logit"].map((text) => make("th", { scope: "col" }, text));
    this.table = make("table", { class: "named classes" }, this.caption, make("thead", {}, make("tr", {}, ...heads)), this.body);
    this.row = make("div", { class: "frames" }, ...this.frames.map((frame) => frame.figure));
    this.root = make("section", { class: `panel ${letter}`, "aria-label": `Model ${letter.toUpperCase()}` },
      this.title, this.verdict, this.row, this.none, this.table);
  }

  show(view) {
    this.root.hidden = !view;
    if (!view) return null;
    const found = said(view, state.image, state.key);
    this.title.textContent = view.run;
    this.words(found);
    this.classes(found);
    return this.paint(view, found);
  }

  words(found) {
    if (!found) {
      this.verdict.textContent = "This model was not attacked at this ε, or not on this image.";
      return;
    }
    const right = found.reached === RIGHT;
    if (found.score !== undefined) {
      this.verdict.replaceChildren(make("b", { class: right ? "right" : "wrong" }, graded(found)),
        right ? "" : ` (below ${state.set.right})`);
      return;
    }
    this.verdict.replaceChildren(
      make("b", { class: right ? "right" : "wrong" }, `${right ? "✓" : "✗"} ${name(found.prediction)}`),
      ` ${(100 * found.confidence).toFixed(1)} %, true: ${name(state.set.labels[state.image])}`,
    );
  }

  classes(found) {
    this.table.hidden = !found?.chances;
    if (!found?.chances) return;
    const truth = state.set.labels[state.image];
    this.caption.textContent = `What it says at ε = ${epsilon(state.key)}`;
    this.body.replaceChildren(...found.chances.map((chance, label) => make("tr",
      { class: label === found.prediction ? "said" : undefined },
      make("th", { scope: "row" }, name(label), label === truth ? " (true)" : ""),
      make("td", {}, make("span", { class: "bar", style: `--share:${chance.toFixed(4)}` }), chance.toFixed(3)),
      make("td", {}, found.logits[label].toFixed(2).replace("-", "−")),
    )));
  }

  async paint(view, found) {
    const turn = (this.turn += 1);
    const sample = found ? view.sample.get(state.image) : undefined;
    const made = sample === undefined ? null : view.pictures[found.level][sample];
    this.row.hidden = !made;
    this.none.hidden = Boolean(made) || !found;
    if (!made) return;
    const [image, change, hidden, largest, factor] = made;
    const maps = view.heatmaps[state.method]?.[found.level];
    const map = maps ? maps[sample] : undefined;
    const [seen, grey, heat] = await Promise.all(
      [image, change, map].map((each) => (each === null || each === undefined ? null : picture(each))));
    if (turn !== this.turn) return; // The slider has moved on.
    const [first, second, third] = this.frames;
    Object.assign(first.canvas, { width: seen.naturalWidth, height: seen.naturalHeight });
    first.canvas.getContext("2d").drawImage(seen, 0, 0);
    coloured(second.canvas, grey, CHANGE);
    third.figure.hidden = map === undefined;
    const mask = view.masks.includes(state.method);
    if (heat) coloured(third.canvas, heat, mask ? MASK : HEAT, seen, mask);
    else if (map === null) third.canvas.getContext("2d").clearRect(0, 0, third.canvas.width, third.canvas.height);
    const same = hidden ? "; the change is too small to be seen" : "";
    this.tell(first, factor ? `attacked image${same}` : "image, not attacked");
    this.tell(second, factor ? `perturbation, largest ${largest} of 255; mean of the channels, shown ×${factor}` : "no perturbation");
    if (mask) this.tell(third, `${state.method}${map === null ? ": background alone" : ""}`);
    else this.tell(third, `${state.method}${map === null ? ": map is zero" : ""}, of ${view.explains === "prediction" ? "the predicted class" : view.explains === "label" ? "the true class" : view.explains}`);
    this.root.dataset.shown = `${state.set.ids[state.image]} ${state.key} ${state.method}`;
  }

  tell(frame, text) {
    frame.caption.textContent = text;
    frame.canvas.setAttribute("aria-label", `${state.set.ids[state.image]}, ${text}, ε = ${epsilon(state.key)}`);
  }
}

// Draws what ref/xray/data.h describes. Texts (prompt, words, names) come from outside: they reach the page through
// textContent and attributes only, never as HTML.
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const modules = data.modules, count = data.step.length;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"; // 64 levels of a tile
const level = new Map([...ALPHABET].map((c, i) => [c, i]));

// ---- text and numbers ------------------------------------------------------------------------------------

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
function number(x) {
  if (x === null || x === undefined) return "–";
  if (x === 0 || Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  return Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5 ? String(Number(x.toPrecision(4))) : Number(x.toPrecision(3)).toExponential();
}
const percent = (x) => (x === null ? "–" : (100 * x).toFixed(1) + " %");
const short = (name) => name.replace(/^unet\.(?=.)/, "");
const stepName = (k) => `step ${data.step[k] + 1} of ${data.steps}`;

// ---- what is chosen ----------------------------------------------------------------------------------------

let step = 0, chosen = 0, addressing = 0;

// The last step with tiles that is not after k, as a place in the lists of tiles.
function keptAt(k) {
  let i = 0;
  while (i + 1 < data.kept.length && data.kept[i + 1] <= k) i++;
  return i;
}
const keptName = (i) => stepName(data.kept[i]);

// ---- the network as a U --------------------------------------------------------------------------------------

// The block of a module: "down_blocks.0", "mid_block"; what stands around the U has names of its own.
function blockOf(name) {
  const found = /^unet\.((?:down_blocks|up_blocks)\.\d+|mid_block)(?=\.|$)/.exec(name);
  if (found) return found[1];
  if (/^unet\.(time|add)_/.test(name)) return "timestep";
  if (name === "unet.conv_in") return "conv_in";
  return name.startsWith("unet") ? "out" : "sampler";
}
const blocks = new Map(); // name -> indices of its modules
modules.forEach((m, i) => {
  const block = blockOf(m.name);
  blocks.set(block, [...(blocks.get(block) || []), i]);
});
const kindOf = (m) => data.kinds[m.kind];

// Which output of the way down each ResNet of the way up gets beside h: last in, first out.
const skipOf = new Map(), skips = [];
for (const {name} of modules) {
  if (name === "unet.conv_in" || /^unet\.down_blocks\.\d+\.(resnets|downsamplers)\.\d+$/.test(name)) skips.push(name);
  if (/^unet\.down_blocks\.\d+\.attentions\.\d+$/.test(name)) skips[skips.length - 1] = name; // after its ResNet
}
for (const {name} of modules) if (/^unet\.up_blocks\.\d+\.resnets\.\d+$/.test(name)) skipOf.set(name, skips.pop());

const blockButtons = new Map(), blockOrder = [];
// The module that stands for a block: its output, which comes last.
const outputOf = (block) => blocks.get(block)[blocks.get(block).length - 1];
function blockButton(block, title = block) {
  const m = modules[outputOf(block)];
  const size = m.shape.length === 4 ? `${m.shape[1]} × ${m.shape[2]} × ${m.shape[3]}` : `${m.shape[m.shape.length - 1]}`;
  const button = make("button", {type: "button", class: "block", "data-block": block, onclick: () => choose(outputOf(block)),
      "aria-label": `${title}: output ${size}, ${blocks.get(block).length} modules`},
    title, make("span", {class: "size"}, size));
  blockButtons.set(block, button);
  return button;
}
function drawU() {
  const ups = [...blocks.keys()].filter((b) => b.startsWith("up_")), downs = [...blocks.keys()].filter((b) => b.startsWith("down_"));
  const row = (depth, ...children) => make("div", {class: children.length > 1 ? "level" : "level alone",
      style: `padding: 0 ${Math.min(depth * 0.4, 3)}rem`}, ...children);
  $("u").append(row(0, blockButton("timestep", "timestep, for every ResNet")));
  $("u").append(row(0, blockButton("conv_in"), make("span", {}), blockButton("out")));
  downs.forEach((down, i) => {
    const up = ups[ups.length - 1 - i], n = [...skipOf.keys()].filter((r) => r.startsWith(`unet.${up}.`)).length;
    $("u").append(row(i + 1, blockButton(down, "↓ " + down), make("span", {class: "skips"}, `${n} skips ⇢`),
        blockButton(up, "↑ " + up)));
  });
  $("u").append(row(downs.length + 2, blockButton("mid_block")));
  $("u").append(row(0, blockButton("sampler", "guidance and the step")));
  blockOrder.push("timestep", "conv_in", ...downs, "mid_block", ...ups, "out", "sampler");
}
function drawModules(block) {
  $("block-name").textContent = block;
  const prefix = `unet.${block}.`;
  $("modules").replaceChildren(...blocks.get(block).map((i) => {
    const m = modules[i], inner = m.name.startsWith(prefix) ? m.name.slice(prefix.length) : short(m.name);
    return make("li", {}, make("button", {type: "button", "data-module": i, onclick: () => choose(i)},
        nameOf(inner), " ", make("span", {class: "kind"}, kindOf(m).title + (m.gates ? ", gates" : "") + (m.words ? ", words" : ""))));
  }));
}
function mark() {
  for (const [block, button] of blockButtons) button.setAttribute("aria-current", String(block === blockOf(modules[chosen].name)));
  for (const button of $("modules").querySelectorAll("button"))
    button.setAttribute("aria-current", String(Number(button.dataset.module) === chosen));
}
// Scrolls the list alone: the page stays where the reader is.
function bring(button) {
  const list = $("modules"), box = list.getBoundingClientRect(), at = button.getBoundingClientRect();
  if (at.top < box.top || at.bottom > box.bottom) list.scrollTop += (at.top + at.bottom - box.top - box.bottom) / 2;
}
function choose(index, focus) {
  const before = modules[chosen], block = blockOf(modules[index].name);
  chosen = index;
  if (!$("modules").firstChild || block !== blockOf(before.name)) drawModules(block);
  mark();
  const button = $("modules").querySelector(`[data-module="${index}"]`);
  bring(button);
  if (focus) button.focus({preventScroll: true});
  drawModule();
  clearTimeout(addressing); // browsers allow so many changes of an address, fewer than an arrow key that is held down
  addressing = setTimeout(() => {
    try { history.replaceState(null, "", "#" + encodeURIComponent(modules[chosen].name)); } catch { /* a page without an address */ }
  }, 300);
}

// ---- tiles as pictures ------------------------------------------------------------------------------------------

const SCALE = [[24, 20, 60], [52, 62, 148], [36, 134, 150], [128, 196, 96], [255, 238, 112]]; // dark to bright
function colour(share) {
  const at = share * (SCALE.length - 1), i = Math.min(Math.floor(at), SCALE.length - 2), f = at - i;
  return SCALE[i].map((c, k) => Math.round(c + f * (SCALE[i + 1][k] - c)));
}
// Picture p of the tiles at kept step i, as shares of the way from low to high; null where nothing was seen.
function cells(t, i, p) {
  if (!t.cells[i]) return null;
  const n = t.rows * t.columns;
  return [...t.cells[i].slice(p * n, (p + 1) * n)].map((c) => level.get(c) / 63);
}
const valueAt = (t, i, share) => t.low[i] + share * (t.high[i] - t.low[i]);

// A picture of cells whose values can be read: under the pointer, or with the arrow keys.
function cellCanvas(t, i, p, label, kind) {
  const shares = cells(t, i, p), readout = make("span", {class: "readout", role: "status"});
  const canvas = make("canvas", {width: t.columns, height: t.rows, class: kind, role: "img", tabindex: "0"});
  const context = canvas.getContext("2d"), image = context.createImageData(t.columns, t.rows);
  shares.forEach((s, k) => image.data.set([...colour(s), 255], 4 * k));
  context.putImageData(image, 0, 0);
  const least = Math.min(...shares), most = Math.max(...shares);
  canvas.setAttribute("aria-label", `${label}, ${t.rows} × ${t.columns} cells from ${number(valueAt(t, i, least))} to ` +
      `${number(valueAt(t, i, most))}; arrow keys read them`);
  let at = 0;
  const read = (to) => {
    at = to;
    readout.textContent = `row ${Math.floor(at / t.columns)}, column ${at % t.columns}: ${number(valueAt(t, i, shares[at]))}`;
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * t.columns);
    const y = Math.floor((event.clientY - box.top) / box.height * t.rows);
    if (x >= 0 && y >= 0 && x < t.columns && y < t.rows) read(y * t.columns + x);
  });
  canvas.addEventListener("keydown", (event) => {
    const move = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -t.columns, ArrowDown: t.columns}[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    if (at + move >= 0 && at + move < shares.length) read(at + move);
  });
  return {canvas, readout};
}
// A map over the picture in grey: seven tenths of it, three tenths of the picture.
const photo = make("img", {src: data.picture, alt: ""});
function overCanvas(t, i, p, label, kind = "over") {
  const shares = cells(t, i, p), W = photo.naturalWidth || t.columns, H = photo.naturalHeight || t.rows;
  const canvas = make("canvas", {width: W, height: H, class: kind, role: "img", "aria-label": label});
  const context = canvas.getContext("2d");
  if (photo.naturalWidth) context.drawImage(photo, 0, 0);
  const image = context.getImageData(0, 0, W, H), d = image.data;
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    const k = 4 * (y * W + x), grey = 0.299 * d[k] + 0.587 * d[k + 1] + 0.114 * d[k + 2];
    const c = colour(shares[Math.floor(y * t.rows / H) * t.columns + Math.floor(x * t.columns / W)]);
    for (let j = 0; j < 3; j++) d[k + j] = 0.7 * c[j] + 0.3 * grey;
    d[k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
const scaleOf = (low, high) => make("p", {class: "hint scale-text"}, `dark ${number(low)} `,
    make("span", {class: "scale", "aria-hidden": "true"}), ` bright ${number(high)}; 64 levels, evenly between`);

function drawTiles(m) {
  const i = keptAt(step), t = m.tiles, box = make("div", {class: "pictures", id: "tiles"});
  if (!t.cells[i]) return make("p", {class: "hint"}, "Nothing of it in this step.");
  const alone = m.channels.length === 1 && m.shape.length < 4;
  for (let p = 0; p < t.pictures; p++) {
    const label = alone ? (m.shape.length === 3 ? "tokens down, channels across" : "its numbers, in a row") : `channel ${m.channels[p]}`;
    const {canvas, readout} = cellCanvas(t, i, p, label, alone ? "wide" : "tile");
    box.append(make("figure", {}, canvas, make("figcaption", {}, label, make("br"), readout)));
  }
  const smaller = t.rows < m.size[0] || t.columns < m.size[1] ? `; ${m.size[0]} × ${m.size[1]} numbers, each cell a mean` : "";
  return make("div", {}, box, scaleOf(t.low[i], t.high[i]),
      make("p", {class: "hint", "data-field": "tiles-step"}, `Of ${keptName(i)}${smaller}. Tiles are kept of ${data.kept.length} steps.`));
}

// ---- curves ---------------------------------------------------------------------------------------------------------

const DASHES = ["", "7 4", "2 3", "9 3 2 3", "1 4", "12 4"];
// lines: {label, values, dash, marks}; band: {low, high} or null. Values may be null. From `low` to `high`, else as they are.
function curves(lines, label, band, low, high) {
  const W = 560, H = 170, left = 62, right = 120, top = 10, bottom = 24;
  const all = lines.flatMap((l) => l.values).concat(band ? [...band.low, ...band.high] : []).filter((v) => v !== null);
  if (!all.length) return make("p", {class: "hint"}, "No finite numbers.");
  const least = low ?? Math.min(...all), most = high ?? Math.max(...all), span = most - least || 1;
  const x = (k) => left + (W - left - right) * (count > 1 ? k / (count - 1) : 0.5);
  const y = (v) => H - bottom - (H - top - bottom) * (v - least) / span;
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label});
  const runs = (values) => { // pieces without gaps
    let path = "", pen = "M";
    values.forEach((v, k) => {
      if (v === null) { pen = "M"; return; }
      path += `${pen}${x(k).toFixed(1)},${y(v).toFixed(1)}`;
      pen = "L";
    });
    return path;
  };
  picture.append(svg("path", {class: "axis", d: `M${left},${top}V${H - bottom}H${W - right}`}));
  for (const v of [least, most]) picture.append(svg("text", {x: left - 6, y: y(v) + 4, "text-anchor": "end"}, number(v)));
  if (band && band.low.every((v) => v !== null) && count > 1)
    picture.append(svg("path", {class: "band", d: runs(band.high) +
        [...band.low.keys()].reverse().map((k) => `L${x(k).toFixed(1)},${y(band.low[k]).toFixed(1)}`).join("") + "Z"}));
  picture.append(svg("line", {class: "now", x1: x(step), x2: x(step), y1: top, y2: H - bottom}));
  picture.append(svg("text", {x: x(step), y: H - 6, "text-anchor": "middle"}, stepName(step)));
  const ends = lines.map((l, i) => ({i, at: y([...l.values].reverse().find((v) => v !== null) ?? least)})).sort((a, b) => a.at - b.at);
  ends.forEach((e, k) => { if (k) e.at = Math.max(e.at, ends[k - 1].at + 13); }); // labels do not cover each other
  const over = Math.max(0, (ends.length ? ends[ends.length - 1].at : 0) - (H - 8));
  for (const {i, at} of ends) {
    const l = lines[i];
    picture.append(svg("path", {class: "curve", d: runs(l.values), "stroke-dasharray": l.dash || ""}));
    if (count === 1 && l.values[0] !== null) picture.append(svg("circle", {cx: x(0), cy: y(l.values[0]), r: 3}));
    picture.append(svg("line", {class: "curve", x1: W - right + 4, x2: W - right + 26, y1: at - over, y2: at - over,
        "stroke-dasharray": l.dash || ""}));
    picture.append(svg("text", {x: W - right + 30, y: at - over + 4}, l.label));
  }
  return picture;
}
const headOf = (head) => make("thead", {}, make("tr", {}, ...head.map((h) => make("th", {scope: "col"}, h))));
// Every value of the curves, for who does not see them.
function table(head, rows, caption) {
  const line = (r) => make("tr", {}, make("th", {scope: "row"}, r[0]), ...r.slice(1).map((v) => make("td", {}, number(v))));
  return make("details", {}, make("summary", {}, caption),
    make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
      make("table", {}, headOf(head), make("tbody", {}, ...rows.map(line)))));
}
// The three curves of something that has a mean, a least and a most in each step.
const rangeOf = (of) => [{label: "most", values: of.most, dash: DASHES[1]}, {label: "mean", values: of.mean, dash: DASHES[0]},
  {label: "least", values: of.least, dash: DASHES[2]}];
function drawFigures(m) {
  const keys = ["mean", "deviation", "least", "most"];
  const band = (sign) => m.mean.map((v, k) => (v === null ? null : v + sign * m.deviation[k]));
  const now = keys.map((key) => make("td", {"data-field": key, title: m[key][step]}, number(m[key][step])));
  return make("div", {},
    make("table", {id: "figures"}, headOf(["", ...keys]), make("tbody", {}, make("tr", {}, make("th", {scope: "row"}, stepName(step)), ...now))),
    curves(rangeOf(m), "mean, least and most over the steps", {low: band(-1), high: band(1)}),
    make("p", {class: "hint"}, "The band is the mean, more or less one deviation."),
    table(["step", ...keys], data.step.map((s, k) => [String(s + 1), ...keys.map((key) => m[key][k])]), "all steps as a table"));
}

// ---- gates and words ---------------------------------------------------------------------------------------------------

function drawGlobal(m) {
  const lines = m.gates.map((g, e) => ({label: data.experts[e], values: g.global, dash: DASHES[e % DASHES.length]}));
  const now = m.gates.map((g, e) => make("span", {"data-field": `global-${e}`}, `${data.experts[e]} ${number(g.global[step])}   `));
  return make("div", {}, make("h3", {}, "Global gates: one number per step"), curves(lines, "global gates over the steps", null, 0, 1),
    make("p", {}, ...now),
    table(["step", ...data.experts], data.step.map((s, k) => [String(s + 1), ...m.gates.map((g) => g.global[k])]), "global gates as a table"));
}
// One expert's local gate: over the picture and as it is, small ones of all steps that are kept, and as curves.
function drawLocal(g, expert, e) {
  const i = keptAt(step), t = g.local, text = `${expert}: mean ${number(g.mean[step])}, from ${number(g.least[step])} to ${number(g.most[step])}`;
  const figure = make("figure", {}), caption = make("figcaption", {}, make("span", {"data-field": `local-${e}`}, text), make("br"));
  if (!t.cells[i]) {
    caption.append("Computed in the first step alone.");
  } else if (t.rows > 1) {
    const {canvas, readout} = cellCanvas(t, i, 0, `${expert}: local gate`, "tile");
    const small = (k) => make("figure", {}, overCanvas(t, k, 0, `${expert}, ${keptName(k)}`, "small"),
        make("figcaption", {}, `${data.step[data.kept[k]] + 1}`));
    caption.append(readout);
    figure.append(make("div", {class: "pictures"}, overCanvas(t, i, 0, `${text}; over the picture`), canvas),
      make("div", {class: "pictures"}, ...data.kept.map((_, k) => (t.cells[k] ? small(k) : ""))));
  } else {
    const {canvas, readout} = cellCanvas(t, i, 0, `${expert}: local gate per token of the text`, "wide");
    caption.append(readout);
    figure.append(canvas);
  }
  figure.append(caption, curves(rangeOf(g), `${expert}: local gate over the steps`, null, 0, 1));
  return figure;
}
function drawGates(m) {
  return make("div", {id: "gates"}, drawGlobal(m), make("h3", {}, "Local gates: where"),
    make("div", {class: "pictures"}, ...m.gates.map((g, e) => drawLocal(g, data.experts[e], e))), scaleOf(0, 1),
    make("p", {class: "hint"}, `Maps of ${keptName(keptAt(step))}, and small ones of each step that has them.`));
}
function drawWords(m) {
  const i = keptAt(step), t = m.words.tiles, share = m.words.share[step], longest = Math.max(...share.slice(0, -1));
  if (!t.cells[i]) return make("p", {class: "hint"}, "Nothing of it in this step.");
  const rest = data.words_left_out ? `start, end, padding and ${data.words_left_out} further words` : "start, end and padding";
  const one = (word, w) => {
    const width = longest > 0 ? Math.min(9, 9 * share[w] / longest) : 0, name = w < data.words.length ? nameOf(word) : word;
    return make("figure", {}, overCanvas(t, i, w, `${shown(word)}: ${percent(share[w])} of the attention`),
      make("figcaption", {}, make("span", {"data-word": w, "data-value": share[w]}, name, ` ${percent(share[w])}`),
        make("span", {class: "share", "aria-hidden": "true", style: `width: ${width}rem`})));
  };
  return make("div", {}, make("h3", {}, "Words: where each is looked for"),
    make("div", {class: "pictures", id: "words"}, ...[...data.words, rest].map(one)), scaleOf(0, t.high[i]),
    make("p", {class: "hint"}, `Maps of ${keptName(i)}, mean over the heads; bright is the most that a word gets. `,
      `Percent: of the attention of all places, in ${stepName(step)}.`));
}

// ---- one module ------------------------------------------------------------------------------------------------------------

function drawCode(kind) {
  return make("div", {id: "code"}, ...kind.code.map((c, i) => make("details", i ? {} : {open: ""},
    make("summary", {}, nameOf(c.file), " ", make("b", {}, c.function)),
    make("pre", {tabindex: "0", "aria-label": `the code of ${c.function}`}, make("code", {}, c.text)))));
}
function skipLine(m) {
  const resnet = m.name.replace(/\.norm1$/, ""), skip = skipOf.get(resnet);
  if (!skip) return "";
  const to = modules.findIndex((x) => x.name === skip), channels = modules[to].shape[1];
  return make("p", {id: "skip"}, "Gets [h | skip]. The skip: ",
    make("button", {type: "button", class: "link", onclick: () => choose(to)}, nameOf(short(skip))), `, ${channels} channels.`);
}
function drawModule() {
  const m = modules[chosen], kind = kindOf(m);
  $("said").textContent = `${kind.title} ${shown(short(m.name))}, ${stepName(step)}: mean ${number(m.mean[step])}, ` +
      `from ${number(m.least[step])} to ${number(m.most[step])}`;
  $("module").replaceChildren(
    make("h2", {id: "chosen", "data-module": chosen}, kind.title + ": ", nameOf(m.name)),
    make("p", {}, "shape ", make("span", {"data-field": "shape"}, "(" + m.shape.join(", ") + ")"),
      make("span", {class: "soft"}, m.shape[0] === 2 ? "; the row of the prompt is shown, not the negative one's" : "")),
    skipLine(m),
    ...(kind.equation ? [make("pre", {id: "equation", tabindex: "0", "aria-label": "equation"}, kind.equation)] : []),
    make("h3", {}, "What comes out"), drawTiles(m), drawFigures(m),
    ...(m.gates ? [drawGates(m)] : []), ...(m.words ? [drawWords(m)] : []),
    ...(kind.code.length ? [make("h3", {}, "The code that computes it"), drawCode(kind)] : []));
}

// ---- the steps ------------------------------------------------------------------------------------------------------------------

function drawPictures() {
  const figure = (id, alt) => make("figure", {}, make("img", {id, alt}), make("figcaption", {id: id + "-text"}));
  $("pictures").append(figure("latents", "latents"), figure("clean", "predicted picture"), figure("final", "the picture"));
  $("final").src = data.picture;
  $("final-text").textContent = "the picture that came out";
}
function setStep(to) {
  step = Math.min(Math.max(to, 0), count - 1);
  const text = `${stepName(step)}, timestep ${number(data.timestep[step])}`;
  $("step").value = step;
  $("step").setAttribute("aria-valuetext", text);
  $("step-text").textContent = text;
  $("latents").src = data.latents[step];
  $("latents").alt = $("latents-text").textContent = `what the network gets in ${stepName(step)}: latents, ` +
      "three channels as red, green, blue from -3 to 3";
  $("clean").src = data.clean[step];
  $("clean").alt = $("clean-text").textContent = `what it takes for the picture in ${stepName(step)}: x0, decoded`;
  drawModule();
}
let playing = 0;
function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => setStep(step + 1 < count ? step + 1 : 0), 500) : 0;
  $("play").setAttribute("aria-pressed", String(on));
  $("play").textContent = on ? "❚❚ stop" : "▶ play";
}

// ---- keys -------------------------------------------------------------------------------------------------------------------------

function pressed(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.matches("input, .scroll, pre")) return; // these have arrows of their own
  const inU = $("u").contains(event.target), inList = $("modules").contains(event.target);
  const side = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  const along = {ArrowUp: -1, ArrowDown: 1}[event.key];
  if (side) {
    setStep(step + side);
  } else if (along && inList) {
    choose(Math.min(Math.max(chosen + along, 0), modules.length - 1), true);
  } else if (along && inU) {
    const at = blockOrder.indexOf(event.target.dataset.block) + along;
    if (!blockOrder[at]) return;
    choose(outputOf(blockOrder[at]));
    blockButtons.get(blockOrder[at]).focus();
  } else {
    return;
  }
  event.preventDefault();
}

function start() {
  const lines = data.note.split("\n");
  $("prompt").textContent = shown(lines[0]);
  $("settings").textContent = shown(lines.slice(1).filter((l) => l !== "Negative prompt: ").join("  "));
  document.title = shown(lines[0]).slice(0, 80) + ": X-ray";
  drawPictures();
  drawU();
  $("step").max = count - 1;
  $("step").addEventListener("input", () => setStep(Number($("step").value)));
  $("play").addEventListener("click", () => play(!playing));
  document.addEventListener("keydown", pressed);
  let wanted = "";
  try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { /* not one of ours */ }
  const found = modules.findIndex((m) => m.name === wanted);
  step = count - 1;
  choose(found >= 0 ? found : outputOf("mid_block"));
  setStep(count - 1);
}
if (photo.complete) start();
else { photo.addEventListener("load", start); photo.addEventListener("error", start); }
})();

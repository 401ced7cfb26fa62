// Draws a comparison (docs/compare.schema.json, with "pictures" and "replay" added). Names come from files that
// nobody vouches for: they reach the page through textContent and attributes only, never as HTML.
(() => {
const report = JSON.parse(document.getElementById("data").textContent);
const rows = report.rows;
const pictures = new Map(report.pictures.map((p) => [p.index, p]));
const SIGNS = {"agrees": "✓", "suspicious": "?", "differs": "✗", "inherited": "↓", "missing": "–",
               "shape": "⊘", "not-finite": "∞"};
const RANK = ["agrees", "missing", "suspicious", "inherited", "shape", "not-finite", "differs"];

// ---- text and numbers ---------------------------------------------------------------------------------


// A figure of the report: a number, "NaN", "Infinity", or null for not known.
const known = (v) => v !== null && v !== undefined;
const value = (v) => (known(v) ? Number(v) : NaN);
function number(v) {
  if (!known(v)) return "–";
  const x = value(v);
  if (!Number.isFinite(x) || x === 0 || Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  return Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5 ? String(Number(x.toPrecision(5))) : Number(x.toPrecision(4)).toExponential();
}
function ratio(v) {
  if (!known(v)) return "–";
  const x = value(v);
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "NaN";
  if (x === 0) return "0x";
  if (x < 0.095) return Number(x.toPrecision(1)) + "x";
  return (x < 9.95 ? x.toFixed(1) : x < 99999.5 ? x.toFixed(0) : x.toExponential(1)) + "x";
}
const share = (v) => (known(v) ? Number((100 * value(v)).toPrecision(3)) + "%" : "–");
const shape = (s) => (s ? "(" + s.join(", ") + ")" : "–");

// ---- words of the glossary ------------------------------------------------------------------------------

const meanings = new Map(JSON.parse(document.getElementById("glossary").textContent));
let explained = null; // the word whose meaning is open

function explain(button) {
  if (explained) explained.setAttribute("aria-expanded", "false");
  const word = button && button !== explained ? button.dataset.term : "";
  explained = word ? button : null;
  $("meaning").replaceChildren();
  if (!word) return;
  button.setAttribute("aria-expanded", "true");
  const close = () => { const from = explained; explain(null); if (from) from.focus(); };
  $("meaning").append(make("p", {}, make("b", {}, word + ": "), meanings.get(word) + " ",
      make("button", {id: "close", class: "key", type: "button", onclick: close}, "close")));
}
// `text` as a button that shows what `word` means.
function term(word, text = word) {
  if (!meanings.has(word)) throw new Error("no word of the glossary: " + word);
  const button = make("button", {class: "term", type: "button", "data-term": word, "aria-expanded": "false",
      "aria-controls": "meaning", onclick: () => explain(button)}, text);
  return button;
}
const WORDS = {"differs": "DIFFERS", "shape": "another shape", "not-finite": "not finite"};
const verdictTerm = (verdict) => term(WORDS[verdict] || verdict, verdict);

// ---- head -----------------------------------------------------------------------------------------------

function badge(verdict, kind = verdict, text = verdictTerm(verdict)) {
  return make("span", {class: "badge " + kind}, SIGNS[kind] + " ", text);
}
function between(stretch) {
  if (!stretch || !stretch.text) return [];
  return [make("p", {id: "between"}, term("between", "Between"), ": ", shown(stretch.text)),
    make("p", {id: "narrow"}, "Dump these to ", term("narrow"), " it down: ", shown(stretch.dump))];
}
function drawHead() {
  const verdict = report.differs ? "differs" : report.undecided ? "undecided" : "agrees";
  $("verdict").append(badge(verdict, verdict === "undecided" ? "suspicious" : verdict));
  document.title = verdict + ": " + shown(report.candidate);
  $("subject").append(nameOf(report.candidate), " against ", nameOf(report.reference),
      ", judged as ", report.budget.name);
  const counts = Object.entries(report.counts).filter(([, n]) => n > 0)
      .map(([v, n]) => make("span", {class: v}, make("span", {class: "sign"}, SIGNS[v]), ` ${n} `, verdictTerm(v)));
  $("counts").append(make("span", {}, `${report.compared} of ${rows.length} `, term("tap", "taps"), " compared:"), ...counts);
  if (known(report.median_ratio))
    $("counts").append(make("span", {class: "soft"}, "median ", term("ratio"), ` ${ratio(report.median_ratio)}, worst ${ratio(report.worst_ratio)}`));
  for (const note of report.notes) $("notes").append(make("p", {}, "Note: ", shown(note)));
  if (!report.culprit) return;
  const row = rows[report.culprit.index], box = $("culprit");
  box.hidden = false;
  box.append(make("h2", {}, "First ", term("culprit"), ": ", make("button", {class: "link", id: "culprit-link",
      onclick: () => choose(row.index, true)}, nameOf(row.name))),
    make("p", {}, row.reason),
    ...between(report.culprit.stretch),
    make("p", {}, "Likely ", term("cause"), ": ", row.cause ? shown(row.cause.text) : "none of the usual ones explains it"),
    make("p", {}, term("after it", "What follows it"), " is ", shown(report.culprit.after.text)));
}
function meantBy(meant) {
  return meant ? [meant.by === "value" ? ", which holds the numbers of " : ", perhaps ", nameOf(meant.name)] : [];
}
function drawExtra() {
  if (!report.extra.length) return;
  $("extra").append(make("p", {class: "soft"}, `${report.extra.length} taps of the candidate that the reference has not:`),
    make("ul", {}, ...report.extra.slice(0, 200).map((n, i) => make("li", {}, nameOf(n), ...meantBy(report.meant[i])))));
}

// ---- the network: step and component, block, part, layer ---------------------------------------------------------

const buttons = new Map(); // index -> the layer's button, once it exists

// Where a layer hangs: ["step.003/unet", "down_blocks.1", "attentions.0.transformer_blocks.0"], and what
// is left of its name: "attn2.to_k".
function place(name) {
  const slash = name.lastIndexOf("/") + 1, dot = name.indexOf(".", slash), path = [];
  path.push((name.slice(0, slash) + (dot < 0 ? "" : name.slice(slash, dot))).replace(/\/$/, ""));
  let leaf = dot < 0 ? name.slice(slash) : name.slice(dot + 1);
  for (const level of [/^(?:text_model\.|encoder\.|decoder\.)*(?:(?:down_blocks|up_blocks|layers)\.\d+|mid_block)(?=\.)/, /^(?:\w+\.\d+\.)*\w+\.\d+(?=\.)/]) {
    const found = level.exec(leaf);
    if (!found) break;
    path.push(found[0]);
    leaf = leaf.slice(found[0].length + 1);
  }
  return {path, leaf};
}
function layerButton(row, label) {
  const button = make("button", {class: "layer " + row.verdict, type: "button", "data-row": row.index,
      title: shown(row.name) + ": " + row.verdict, onclick: () => choose(row.index)},
    make("span", {class: "sign", "aria-label": row.verdict}, SIGNS[row.verdict]), nameOf(label),
    make("span", {class: "ratio"}, ratio(row.ratio)));
  buttons.set(row.index, button);
  return button;
}
// A bar of at most 80 pieces, each coloured by the worst verdict in it.
function strip(list) {
  const pieces = Math.min(80, list.length), stops = [];
  for (let i = 0; i < pieces; i++) {
    const part = list.slice(Math.floor(i * list.length / pieces), Math.floor((i + 1) * list.length / pieces));
    const worst = part.reduce((w, r) => Math.max(w, RANK.indexOf(r.verdict)), 0);
    stops.push(`var(--${RANK[worst]}) ${100 * i / pieces}% ${100 * (i + 1) / pieces}%`);
  }
  return make("span", {class: "strip", style: `background: linear-gradient(90deg, ${stops.join(", ")})`});
}
// A group whose content is made when it is first opened: a long run has tens of thousands of layers.
function group(label, list, fill) {
  const inner = make("ul", {hidden: ""});
  const wrong = list.filter((r) => r.verdict !== "agrees").length;
  const button = make("button", {class: "group", type: "button", "aria-expanded": "false"},
    nameOf(label || "(other)"), make("span", {class: "soft"}, wrong ? `${wrong} of ${list.length}` : `${list.length}`), strip(list));
  const open = (on) => {
    if (on && !inner.childElementCount) fill(inner);
    inner.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
  };
  button.addEventListener("click", () => open(inner.hidden));
  for (const row of list) opener.set(row.index, [...(opener.get(row.index) || []), open]);
  return make("li", {}, button, inner);
}
const opener = new Map(); // index -> what opens the groups around it, outermost first

function runs(list, key) { // consecutive items with one key
  const found = [];
  for (const item of list) {
    if (!found.length || found[found.length - 1].key !== key(item)) found.push({key: key(item), list: []});
    found[found.length - 1].list.push(item);
  }
  return found;
}
// Layers and, from `depth` on, groups of them; a group of one is not worth a click.
function fill(into, list, depth) {
  for (const run of runs(list, (r) => place(r.name).path[depth] || "")) {
    if (run.key && run.list.length > 1) {
      into.append(group(run.key, run.list, (ul) => fill(ul, run.list, depth + 1)));
    } else {
      for (const row of run.list) {
        const {path, leaf} = place(row.name);
        into.append(make("li", {}, layerButton(row, [...path.slice(depth), leaf].join("."))));
      }
    }
  }
}
function drawTree() {
  const tree = $("tree"), words = $("filter").value.toLowerCase(), wrong = $("wrong").checked;
  buttons.clear();
  opener.clear();
  tree.replaceChildren();
  if (words || wrong) {
    const list = rows.filter((r) => (!wrong || r.verdict !== "agrees") && r.name.toLowerCase().includes(words));
    tree.append(make("li", {class: "soft"}, `${list.length} layers` + (list.length > 500 ? ", the first 500:" : "")));
    for (const row of list.slice(0, 500)) tree.append(make("li", {}, layerButton(row, row.name)));
  } else {
    const tops = runs(rows, (r) => place(r.name).path[0]);
    for (const top of tops) tree.append(group(top.key, top.list, (ul) => fill(ul, top.list, 1)));
    if (tops.length === 1) tree.querySelector(".group").click();
  }
  mark();
}
// Opens the groups around a layer, from the outside in: an outer one, when opened, makes the inner ones.
function reveal(index) {
  for (let i = 0; i < (opener.get(index) || []).length; i++) opener.get(index)[i](true);
}
// Scrolls the tree alone: the page stays where the reader is.
function bring(button) {
  const tree = $("tree"), box = tree.getBoundingClientRect(), at = button.getBoundingClientRect();
  if (at.top < box.top || at.bottom > box.bottom) tree.scrollTop += (at.top + at.bottom - box.top - box.bottom) / 2;
}
function moveFocus(event) {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!step) return;
  const list = [...$("tree").querySelectorAll("button")].filter((b) => b.offsetParent);
  const next = list[list.indexOf(document.activeElement) + step];
  if (next) next.focus();
  event.preventDefault();
}

// Wrong by itself: as report_after counts, and the first culprit.
const fails = (r) => ["differs", "shape", "not-finite"].includes(r.verdict);
const isCulprit = (r) => Boolean(report.culprit) && (r.index === report.culprit.index ||
    fails(r) && r.index > report.culprit.index && (r.isolated !== null || r.verdict === "shape"));

// ---- one layer ------------------------------------------------------------------------------------------------

let chosen = -1;

function mark() {
  for (const [index, button] of buttons) button.setAttribute("aria-current", String(index === chosen));
}
function choose(index, scroll) {
  chosen = index;
  reveal(index);
  mark();
  if (scroll && buttons.get(index)) bring(buttons.get(index));
  drawDetails(rows[index]);
  drawPlot();
  sayCulprits();
  try { history.replaceState(null, "", "#" + index); } catch { /* a page without an address */ }
}
function numbersTable(row) {
  const table = make("table", {}), both = [["cumulative", row.cumulative, row.ratio], ["isolated", row.isolated, row.isolated_ratio]];
  table.append(make("thead", {}, make("tr", {}, make("th", {}), make("th", {scope: "col"}, term("cumulative"), ": up to here"),
      make("th", {scope: "col"}, term("isolated"), ": by itself"))));
  const body = make("tbody", {});
  const line = (label, field, text) => body.append(make("tr", {}, make("th", {scope: "row"}, ...label),
      ...both.map(([which, diff, r]) => {
        const raw = field === "ratio" ? r : diff ? diff[field] : null;
        return make("td", {"data-field": which + "." + field, title: known(raw) ? String(raw) : null},
            diff || field === "ratio" ? text(raw, diff) : "–");
      })));
  line([term("ratio"), " to the expected rounding error"], "ratio", ratio);
  line(["largest |difference|"], "max_abs", number);
  line(["at"], "worst_at", (v) => "[" + v.join(", ") + "]");
  line([term("candidate"), " there"], "candidate_at", number);
  line([term("reference"), " there"], "truth_at", number);
  line(["rms of the difference"], "rms", number);
  line(["relative to the reference's rms (", term("rel rms"), ")"], "relative_rms", number);
  line([term("cosine")], "cosine", (v) => String(v));
  line(["reference, largest"], "truth_max", number);
  line(["NaN: candidate, reference; Inf differ"], "nan_candidate", (v, d) => `${v}, ${d.nan_truth}; ${d.inf_mismatch}`);
  table.append(body);
  return table;
}
function factsTable(row) {
  const table = make("table", {}), body = make("tbody", {});
  const line = (label, field, text) => body.append(make("tr", {}, make("th", {scope: "row"}, ...[label].flat()),
      make("td", {"data-field": field, title: known(row[field]) ? String(row[field]) : null}, text)));
  line("shape", "shape", shape(row.shape));
  if (row.candidate_name !== null) {
    if (row.candidate_name !== row.name) line("candidate's name", "candidate_name", nameOf(row.candidate_name));
    line("candidate's", "candidate_shape", shape(row.candidate_shape) + " " + row.candidate_dtype);
  }
  line(term("limit"), "limit", number(row.limit));
  line("where it comes from", "origin", shown(row.origin) || "–");
  line([term("unit"), " of the isolated error"], "unit", number(row.unit));
  line(["of it the ", term("stretch"), "'s"], "stretch_unit", number(row.stretch_unit));
  line("PyTorch's own float32 error, rms", "peer_rms", number(row.peer_rms));
  line([term("ulp p99", "99th percentile"), ", units in the last place"], "ulp_p99", number(row.ulp_p99));
  line(["of the provable ", term("bound")], "bound_used", share(row.bound_used));
  line("of the typical bound", "typical_used", share(row.typical_used));
  table.append(body);
  return table;
}
function drawDetails(row) {
  const box = $("details");
  box.replaceChildren(make("h2", {id: "chosen", "data-row": row.index}, `#${row.index} `, nameOf(row.name)),
    make("p", {}, badge(row.verdict), ": ", row.reason));
  if (row.cause) box.append(make("p", {"data-field": "cause"}, `Likely cause (${shown(row.cause.kind)}): `, shown(row.cause.text)));
  const picture = pictures.get(row.index);
  if (picture) box.append(make("div", {class: "pictures"}, heatMap(picture.map), histogram(picture.histogram)));
  else if (pictures.size && row.cumulative && row.verdict !== "agrees") box.append(make("p", {class: "hint"}, "Pictures are kept of the culprit and the worst layers only."));
  if (row.cumulative) box.append(numbersTable(row));
  box.append(factsTable(row), ...replayBox(row));
}

// ---- its mole replay command ------------------------------------------------------------------------------------

const replays = new Map(report.replay.rows.map((r) => [r.index, r]));
function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}
// A page from a disk may have no clipboard: then the command is selected, and the old way to copy is tried.
async function copy(element, said) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    said.textContent = "copied";
  } catch {
    select(element);
    said.textContent = document.execCommand("copy") ? "copied" : "selected: press Ctrl+C";
  }
}
function replayBox(row) {
  const found = replays.get(row.index);
  if (!found) return replays.size ? [make("p", {class: "hint"}, "What was dumped is not all that mole replay needs for this tap.")] : [];
  const command = make("code", {id: "command"}, "mole replay " + found.module + report.replay.common + found.inputs);
  const said = make("span", {id: "copied", role: "status"});
  return [make("h2", {}, "Replay it alone"),
    make("p", {class: "hint"}, "Computes this tap from the candidate's own inputs, in the folder where the comparison ran. Its limit is " +
        "its own, a share of the largest number, and wider than the ratio's."),
    make("pre", {tabindex: "0", "aria-label": "mole replay command"}, command),
    make("p", {}, make("button", {id: "copy", class: "key", type: "button", onclick: () => copy(command, said)}, "copy the command"), " ", said)];
}

// ---- pictures -----------------------------------------------------------------------------------------------------

const SCALE = [[38, 43, 84], [52, 96, 141], [44, 146, 138], [139, 195, 94], [252, 231, 82]]; // dark to bright
function colour(level) { // 1 .. 254
  const at = (level - 1) / 253 * (SCALE.length - 1), i = Math.min(Math.floor(at), SCALE.length - 2), f = at - i;
  return SCALE[i].map((c, k) => Math.round(c + f * (SCALE[i + 1][k] - c)));
}
function heatMap(map) {
  const canvas = make("canvas", {width: map.columns, height: map.rows, role: "img", class: "map",
      "aria-label": `heat map of the difference, ${number(map.low)} to ${number(map.high)}`});
  const context = canvas.getContext("2d"), image = context.createImageData(map.columns, map.rows);
  for (let i = 0; i < map.rows * map.columns; i++) {
    const level = parseInt(map.cells.slice(2 * i, 2 * i + 2), 16);
    image.data.set(level === 255 ? [239, 60, 160, 255] : level ? [...colour(level), 255] : [0, 0, 0, 0], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return make("figure", {}, canvas, make("figcaption", {},
      `|difference| in the first sample, ${map.height} × ${map.width}: dark ${number(map.low)}, bright ${number(map.high)}, ` +
      "on a log scale; empty: none; pink: NaN or Inf"));
}
function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, v] of Object.entries(attributes)) element.setAttribute(key, v);
  element.append(...children);
  return element;
}
function histogram(h) {
  const W = 416, H = 208, base = H - 22, most = Math.max(1, ...h.bins), n = h.bins.length;
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "histogram of the difference"});
  h.bins.forEach((count, i) => {
    if (count) picture.append(svg("rect", {x: 8 + (W - 16) * i / n, width: (W - 16) / n - 1,
        y: base - (base - 8) * count / most, height: (base - 8) * count / most}));
  });
  for (let e = Math.ceil(h.low); e <= Math.floor(h.high); e += 2)
    picture.append(svg("text", {x: 8 + (W - 16) * (e - h.low) / (h.high - h.low), y: H - 6, "text-anchor": "middle"}, "1e" + e));
  return make("figure", {}, picture, make("figcaption", {},
      `how many numbers are off by how much: ${h.equal} not at all, ${h.below} by less, ${h.not_finite} NaN or Inf`));
}

// ---- error against depth --------------------------------------------------------------------------------------------

// Ratios where they are known, else relative errors.
const byRatio = rows.some((r) => known(r.ratio));
const cumulative = (r) => (byRatio ? value(r.ratio) : r.cumulative ? value(r.cumulative.relative_rms) : NaN);
const isolated = (r) => (byRatio ? value(r.isolated_ratio) : r.isolated ? value(r.isolated.relative_rms) : NaN);
// The ratio's limit; a limit of another kind (far below 1) has no place on this axis.
const highest = rows.reduce((most, r) => Math.max(most, value(r.limit) || 0), 0);
const limit = byRatio && highest > 0.1 ? highest : 0;
const frame = {left: 52, right: 10, top: 10, bottom: 8};
let axis = null;
const xOf = (i, W) => frame.left + (W - frame.left - frame.right) * (rows.length > 1 ? i / (rows.length - 1) : 0.5);

// ---- the network's parts, below the plot ----

// Of a layer: its step or component, and within that its block, each as what the axis says, longest first.
const COMPONENTS = {"text_encoder": ["text encoder", "text"], "text_encoder_2": ["text encoder 2", "text 2"], "unet": ["UNet"],
                    "vae": ["VAE"]};
const BLOCKS = {"down_blocks": ["down block", "d"], "up_blocks": ["up block", "u"], "layers": ["layer", ""]};
function partOf(name) {
  const {path, leaf} = place(name), top = path[0] || leaf, second = path[1], step = /^(.*?)step\.0*(\d+)(?=\/|$)/.exec(top);
  const component = top.slice(top.lastIndexOf("/") + 1), block = /(\w+)\.(\d+)$/.exec(second || "");
  const names = block && BLOCKS[block[1]];
  return {key: step ? step[0] : top,
    part: step ? [shown(step[1]) + "step " + step[2], step[2]] : COMPONENTS[top] || [shown(top)],
    component: COMPONENTS[component] ? COMPONENTS[component][0] : shown(component),
    block: names ? [`${names[0]} ${block[2]}`, names[1] + block[2]] : /mid_block$/.test(second || "") ? ["mid block", "mid"] : [""]};
}
const parts = rows.map((r) => partOf(r.name));
const sameBlock = (a, b) => a.key === b.key && a.component === b.component && a.block[0] === b.block[0];
// Where each stretch of layers with the same part begins, and what it is called.
const stretches = (same, label) => parts.flatMap((p, i) => (i && same(p, parts[i - 1]) ? [] : [{from: i, names: label(p)}]));
const blockStretches = stretches(sameBlock, (p) => p.block);
const partStretches = stretches((a, b) => a.key === b.key, (p) => p.part);

// The longest name that fits into its stretch; else the shortest, in the first line with room: it begins at its mark.
function drawAxis(box, list, W, c, lines) {
  const end = (k) => (k + 1 < list.length ? xOf(list[k + 1].from - 0.5, W) : W - frame.right);
  const free = Array(lines).fill(0); // of each line, where it is empty from
  box.replaceChildren(...list.flatMap((s, k) => {
    const at = s.from ? xOf(s.from - 0.5, W) : frame.left, wide = (text) => c.measureText(text).width + 6;
    const name = s.names.find((text) => at + wide(text) <= end(k)) || s.names[s.names.length - 1];
    const line = free.findIndex((x) => x <= at);
    if (!name || line < 0 || at + wide(name) > W) return [];
    free[line] = at + wide(name);
    return [make("span", {"data-from": s.from, style: `left: ${at.toFixed(1)}px; top: ${1.1 * line}rem`}, name)];
  }));
}

// ---- the plot ----

// What is wrong by itself lies over all others, the first culprit on top, and has a shape of its own.
const order = rows.map((r, i) => i).sort((a, b) => Number(isCulprit(rows[a])) - Number(isCulprit(rows[b])) ||
    RANK.indexOf(rows[a].verdict) - RANK.indexOf(rows[b].verdict) || b - a);
function diamond(c, x, y, size, edge) {
  c.beginPath();
  c.moveTo(x, y - size); c.lineTo(x + size, y); c.lineTo(x, y + size); c.lineTo(x - size, y); c.closePath();
  c.fill();
  c.strokeStyle = edge;
  c.stroke();
}

function setAxis() {
  const finite = rows.flatMap((r) => [cumulative(r), isolated(r)]).filter((v) => v > 0 && Number.isFinite(v));
  const least = finite.reduce((a, b) => Math.min(a, b), byRatio ? 0.1 : 1), most = finite.reduce((a, b) => Math.max(a, b), byRatio ? Math.max(10, limit) : 1e-30);
  axis = {low: Math.floor(Math.log10(Math.max(least, most * 1e-18))) - 0.3, high: Math.ceil(Math.log10(most)) + 0.3};
}
function drawPlot() {
  const canvas = $("plot"), box = canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
  const W = box.width, H = box.height, c = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue("--" + name).trim();
  const x = (i) => xOf(i, W);
  const y = (v) => { // 0 lies on the floor, Inf under the ceiling
    const at = v > 0 ? Math.min(Math.max(Math.log10(v), axis.low), axis.high) : axis.low;
    return H - frame.bottom - (H - frame.top - frame.bottom) * (at - axis.low) / (axis.high - axis.low);
  };
  canvas.width = Math.round(W * scale);
  canvas.height = Math.round(H * scale);
  c.scale(scale, scale);
  c.font = "11px system-ui, sans-serif";
  const level = (v, colour, dash, label) => {
    c.strokeStyle = colour;
    c.setLineDash(dash);
    c.beginPath(); c.moveTo(frame.left, y(v)); c.lineTo(W - frame.right, y(v)); c.stroke();
    c.setLineDash([]);
    if (label) { c.fillStyle = ink("soft"); c.textAlign = "right"; c.fillText(label, frame.left - 6, y(v) + 4); }
  };
  const every = Math.max(1, Math.ceil((axis.high - axis.low) / 8));
  for (let e = Math.ceil(axis.low); e <= axis.high; e += every) level(10 ** e, ink("line"), [], "1e" + e + (byRatio ? "x" : ""));
  if (limit > 0) level(limit, ink("differs"), [6, 4]);
  c.fillStyle = ink("line");
  for (const s of partStretches.slice(1)) c.fillRect(x(s.from - 0.5), frame.top, 1, H - frame.top); // another step or component
  if (chosen >= 0) { c.fillStyle = ink("focus"); c.fillRect(x(chosen) - 0.5, frame.top, 1.5, H - frame.top - frame.bottom); }
  const inks = Object.fromEntries(["ink", "card", ...RANK].map((name) => [name, ink(name)]));
  const point = (i, v, hollow) => {
    if (Number.isNaN(v)) return;
    c.fillStyle = c.strokeStyle = hollow ? inks.ink : inks[rows[i].verdict];
    c.beginPath(); c.arc(x(i), y(v), hollow ? (v > 0 ? 2 : 0.7) : 3, 0, 7);
    if (hollow) c.stroke(); else c.fill();
  };
  for (const i of order) if (!isCulprit(rows[i])) point(i, cumulative(rows[i]), false);
  for (const i of order) point(i, isolated(rows[i]), true);
  for (const i of order.filter((k) => isCulprit(rows[k]))) {
    const v = cumulative(rows[i]);
    c.fillStyle = inks[rows[i].verdict];
    diamond(c, x(i), y(Number.isNaN(v) ? Infinity : v), 5, inks.card);
  }
  c.fillStyle = ink("soft"); c.textAlign = "right"; c.fillText("0", frame.left - 6, y(0) + 4); // where exact layers lie
  drawAxis($("blocks"), blockStretches, W, c, 2);
  drawAxis($("parts"), partStretches, W, c, 1);
  canvas.setAttribute("aria-valuemax", rows.length - 1);
  canvas.setAttribute("aria-valuenow", Math.max(chosen, 0));
  if (chosen < 0) return;
  const {part, component, block} = parts[chosen], where = [...new Set([part[0], component, block[0]])].filter(Boolean).join(", ");
  canvas.setAttribute("aria-valuetext", `${shown(rows[chosen].name)}, ${where}: ${rows[chosen].verdict}, ${ratio(rows[chosen].ratio)}`);
}
function rowAt(event) {
  const box = $("plot").getBoundingClientRect(), inner = box.width - frame.left - frame.right;
  const at = Math.round((event.clientX - box.left - frame.left) / inner * (rows.length - 1));
  return Math.min(Math.max(at, 0), rows.length - 1);
}
function hover(event) {
  const row = rows[rowAt(event)], box = $("plot").getBoundingClientRect(), tip = $("tip"), left = event.clientX - box.left;
  tip.hidden = false;
  tip.style[left < box.width / 2 ? "left" : "right"] = (left < box.width / 2 ? left : box.width - left) + 14 + "px";
  tip.style[left < box.width / 2 ? "right" : "left"] = "auto";
  tip.style.top = Math.max(0, event.clientY - box.top - 30) + "px";
  tip.replaceChildren(`#${row.index} `, nameOf(row.name), make("br"), badge(row.verdict, row.verdict, row.verdict),
      ` cumulative ${ratio(row.ratio)}, isolated ${ratio(row.isolated_ratio)}`);
}
// ---- from culprit to culprit ----

const culprits = rows.filter(isCulprit).map((r) => r.index);
const another = (side) => (side > 0 ? culprits.find((i) => i > chosen) : culprits.findLast((i) => i < chosen));
function sayCulprits() {
  const at = culprits.indexOf(chosen);
  $("culprit-said").textContent = (at < 0 ? "" : `culprit ${at + 1} of ${culprits.length}`);
  $("previous").setAttribute("aria-disabled", String(another(-1) === undefined));
  $("next").setAttribute("aria-disabled", String(another(1) === undefined));
}
function goCulprit(side) {
  const to = another(side);
  if (to === undefined) {
    $("culprit-said").textContent = `no ${side > 0 ? "later" : "earlier"} tap is wrong by itself`;
    return;
  }
  choose(to, true);
  $("culprit-said").textContent += ": " + shown(rows[to].name);
}
function pageKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
  if (event.key === "Escape" && explained) $("close").click();
  else if (event.key === "n" && culprits.length) goCulprit(1);
  else if (event.key === "p" && culprits.length) goCulprit(-1);
}

function plotKey(event) {
  const to = {ArrowLeft: chosen - 1, ArrowRight: chosen + 1, ArrowDown: chosen - 1, ArrowUp: chosen + 1, Home: 0, End: rows.length - 1}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(Math.min(Math.max(to, 0), rows.length - 1), true);
}

document.addEventListener("keydown", pageKey);
drawHead();
drawExtra();
drawTree();
if (rows.length) {
  setAxis();
  $("plot-hint").append(...(byRatio ? ["rms error in ", term("unit", "units"), ": the rounding error to be expected, PyTorch's own where it is known."]
    : ["rms error relative to the tensor's rms."]), " Click a point, or use the arrow keys.");
  $("legend").append(make("span", {}, "● ", term("cumulative"), ", coloured by verdict"),
      culprits.length ? make("span", {}, "◆ wrong by itself") : "", make("span", {}, "○ ", term("isolated")),
      limit > 0 ? make("span", {class: "differs"}, make("span", {class: "sign"}, "- - "), term("limit"), ` ${ratio(limit)}`) : "");
  $("culprits").hidden = !culprits.length;
  $("previous").addEventListener("click", () => goCulprit(-1));
  $("next").addEventListener("click", () => goCulprit(1));
  $("filter").addEventListener("input", drawTree);
  $("wrong").addEventListener("change", drawTree);
  $("tree").addEventListener("keydown", moveFocus);
  $("plot").addEventListener("click", (e) => choose(rowAt(e), true));
  $("plot").addEventListener("mousemove", hover);
  $("plot").addEventListener("mouseleave", () => { $("tip").hidden = true; });
  $("plot").addEventListener("keydown", plotKey);
  window.addEventListener("resize", drawPlot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlot);
  const wanted = /^#\d+$/.test(location.hash) ? Number(location.hash.slice(1)) : NaN;
  if (wanted < rows.length) choose(wanted, true);
  else if (report.culprit) choose(report.culprit.index, true);
  else drawPlot();
}
})();

// Draws a comparison (docs/compare.schema.json, with "pictures" added). Names come from files that
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

// ---- head -----------------------------------------------------------------------------------------------

function badge(verdict, kind = verdict) {
  return make("span", {class: "badge " + kind}, SIGNS[kind] + " " + verdict);
}
function between(stretch) {
  if (!stretch || !stretch.text) return [];
  return [make("p", {id: "between"}, "Between: ", shown(stretch.text)),
    make("p", {id: "narrow"}, "Dump these to narrow it down: ", shown(stretch.dump))];
}
function drawHead() {
  const verdict = report.differs ? "differs" : report.undecided ? "undecided" : "agrees";
  $("verdict").append(badge(verdict, verdict === "undecided" ? "suspicious" : verdict));
  document.title = verdict + ": " + shown(report.candidate);
  $("subject").append(nameOf(report.candidate), " against ", nameOf(report.reference),
      ", judged as ", report.budget.name);
  const counts = Object.entries(report.counts).filter(([, n]) => n > 0)
      .map(([v, n]) => make("span", {class: v}, make("span", {class: "sign"}, SIGNS[v]), ` ${n} ${v}`));
  $("counts").append(make("span", {}, `${report.compared} of ${rows.length} taps compared:`), ...counts);
  if (known(report.median_ratio))
    $("counts").append(make("span", {class: "soft"}, `median ratio ${ratio(report.median_ratio)}, worst ${ratio(report.worst_ratio)}`));
  for (const note of report.notes) $("notes").append(make("p", {}, "Note: ", shown(note)));
  if (!report.culprit) return;
  const row = rows[report.culprit.index], box = $("culprit");
  box.hidden = false;
  box.append(make("h2", {}, "First culprit: ", make("button", {class: "link", id: "culprit-link",
      onclick: () => choose(row.index, true)}, nameOf(row.name))),
    make("p", {}, row.reason),
    ...between(report.culprit.stretch),
    make("p", {}, "Likely cause: ", row.cause ? shown(row.cause.text) : "none of the usual ones explains it"),
    make("p", {}, "What follows it is ", shown(report.culprit.after.text)));
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
  try { history.replaceState(null, "", "#" + index); } catch { /* a page without an address */ }
}
function numbersTable(row) {
  const table = make("table", {}), both = [["cumulative", row.cumulative, row.ratio], ["isolated", row.isolated, row.isolated_ratio]];
  table.append(make("thead", {}, make("tr", {}, make("th", {}), make("th", {scope: "col"}, "cumulative: up to here"),
      make("th", {scope: "col"}, "isolated: by itself"))));
  const body = make("tbody", {});
  const line = (label, field, text) => body.append(make("tr", {}, make("th", {scope: "row"}, label),
      ...both.map(([which, diff, r]) => {
        const raw = field === "ratio" ? r : diff ? diff[field] : null;
        return make("td", {"data-field": which + "." + field, title: known(raw) ? String(raw) : null},
            diff || field === "ratio" ? text(raw, diff) : "–");
      })));
  line("ratio to the expected rounding error", "ratio", ratio);
  line("largest |difference|", "max_abs", number);
  line("at", "worst_at", (v) => "[" + v.join(", ") + "]");
  line("candidate there", "candidate_at", number);
  line("reference there", "truth_at", number);
  line("rms of the difference", "rms", number);
  line("relative to the reference's rms", "relative_rms", number);
  line("cosine", "cosine", (v) => String(v));
  line("reference, largest", "truth_max", number);
  line("NaN: candidate, reference; Inf differ", "nan_candidate", (v, d) => `${v}, ${d.nan_truth}; ${d.inf_mismatch}`);
  table.append(body);
  return table;
}
function factsTable(row) {
  const table = make("table", {}), body = make("tbody", {});
  const line = (label, field, text) => body.append(make("tr", {}, make("th", {scope: "row"}, label),
      make("td", {"data-field": field, title: known(row[field]) ? String(row[field]) : null}, text)));
  line("shape", "shape", shape(row.shape));
  if (row.candidate_name !== null) {
    if (row.candidate_name !== row.name) line("candidate's name", "candidate_name", nameOf(row.candidate_name));
    line("candidate's", "candidate_shape", shape(row.candidate_shape) + " " + row.candidate_dtype);
  }
  line("limit", "limit", number(row.limit));
  line("where it comes from", "origin", shown(row.origin) || "–");
  line("PyTorch's own float32 error, rms", "peer_rms", number(row.peer_rms));
  line("99th percentile, units in the last place", "ulp_p99", number(row.ulp_p99));
  line("of the provable bound", "bound_used", share(row.bound_used));
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
  box.append(factsTable(row));
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
const frame = {left: 52, right: 10, top: 10, bottom: 22};
let axis = null;

function setAxis() {
  const finite = rows.flatMap((r) => [cumulative(r), isolated(r)]).filter((v) => v > 0 && Number.isFinite(v));
  const least = finite.reduce((a, b) => Math.min(a, b), byRatio ? 0.1 : 1), most = finite.reduce((a, b) => Math.max(a, b), byRatio ? Math.max(10, limit) : 1e-30);
  axis = {low: Math.floor(Math.log10(Math.max(least, most * 1e-18))) - 0.3, high: Math.ceil(Math.log10(most)) + 0.3};
}
function drawPlot() {
  const canvas = $("plot"), box = canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
  const W = box.width, H = box.height, c = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue("--" + name).trim();
  const x = (i) => frame.left + (W - frame.left - frame.right) * (rows.length > 1 ? i / (rows.length - 1) : 0.5);
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
  rows.forEach((r, i) => { // where another step or component begins
    if (i && place(r.name).path[0] !== place(rows[i - 1].name).path[0]) { c.fillStyle = ink("line"); c.fillRect(x(i - 0.5), frame.top, 1, H - frame.top - frame.bottom); }
  });
  if (chosen >= 0) { c.fillStyle = ink("focus"); c.fillRect(x(chosen) - 0.5, frame.top, 1.5, H - frame.top - frame.bottom); }
  for (const [of, hollow] of [[cumulative, false], [isolated, true]]) {
    rows.forEach((r, i) => {
      const v = of(r);
      if (Number.isNaN(v)) return;
      c.fillStyle = c.strokeStyle = hollow ? ink("ink") : ink(r.verdict);
      c.beginPath(); c.arc(x(i), y(v), hollow ? (v > 0 ? 2 : 0.7) : 3, 0, 7);
      if (hollow) c.stroke(); else c.fill();
    });
  }
  c.fillStyle = ink("soft"); c.textAlign = "right"; c.fillText("0", frame.left - 6, y(0) + 4); // where exact layers lie
  c.textAlign = "left"; c.fillText("first layer", frame.left, H - 6);
  c.textAlign = "right"; c.fillText("last layer", W - frame.right, H - 6);
  canvas.setAttribute("aria-valuemax", rows.length - 1);
  canvas.setAttribute("aria-valuenow", Math.max(chosen, 0));
  if (chosen >= 0) canvas.setAttribute("aria-valuetext", shown(rows[chosen].name) + ", " + ratio(rows[chosen].ratio));
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
  tip.replaceChildren(`#${row.index} `, nameOf(row.name), make("br"), badge(row.verdict),
      ` cumulative ${ratio(row.ratio)}, isolated ${ratio(row.isolated_ratio)}`);
}
function plotKey(event) {
  const to = {ArrowLeft: chosen - 1, ArrowRight: chosen + 1, ArrowDown: chosen - 1, ArrowUp: chosen + 1, Home: 0, End: rows.length - 1}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(Math.min(Math.max(to, 0), rows.length - 1), true);
}

drawHead();
drawExtra();
drawTree();
if (rows.length) {
  setAxis();
  $("plot-hint").textContent = (byRatio ? "rms error in units of the rounding error to be expected: PyTorch's own, where it is known." : "rms error relative to the tensor's rms.") +
      " Click a point, or use the arrow keys.";
  $("legend").append(make("span", {}, "● cumulative, coloured by verdict"), make("span", {}, "○ isolated"),
      limit > 0 ? make("span", {class: "differs"}, make("span", {class: "sign"}, "- - "), `limit ${ratio(limit)}`) : "");
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

"use strict";
// The items lie in scripts beside the page, since a page of a file may load scripts and nothing else. A script calls
// nosceItems with its name and its text: JSON, compressed by gzip, as base64. All data is shown as text, never as HTML.
const folder = document.body.dataset.folder;
const signs = { right: "✓", wrong: "✗", unreadable: "?", refused: "–", invalid: "!" };
const kinds = { asked: "", baseline: ", without a model", probe: ", a probe", patch: ", patching" };
const MOST_LISTED = 300;
const packed = new Map();
const loaded = new Map();
const $ = (id) => document.getElementById(id);
let index = null;
let listed = [];
let current = -1;

globalThis.nosceItems = (name, text) => packed.set(name, text);

function load(name) {
  if (!loaded.has(name)) {
    loaded.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${folder}/${name}.js`;
      script.onload = () => unpack(packed.get(name)).then(resolve, reject);
      script.onerror = () => reject(new Error(`${folder}/${name}.js is not beside this page`));
      document.head.append(script);
    }));
  }
  return loaded.get(name);
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  let plain;
  if (globalThis.DecompressionStream) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    plain = await new Response(stream).arrayBuffer();
  } else {
    plain = inflate(bytes.subarray(10)); // gzip without a name: ten bytes of header
  }
  return JSON.parse(new TextDecoder().decode(plain));
}

// RFC 1951, for browsers without DecompressionStream.
function inflate(bytes) {
  const out = [];
  let at = 0, bit = 0;
  const take = (count) => {
    let value = 0;
    for (let n = 0; n < count; n++) {
      value |= ((bytes[at] >> bit) & 1) << n;
      if (++bit === 8) { bit = 0; at++; }
    }
    return value;
  };
  const table = (lengths) => {
    const counts = new Array(16).fill(0), offsets = new Array(16).fill(0), symbols = [];
    for (const length of lengths) counts[length]++;
    counts[0] = 0;
    for (let n = 1; n < 16; n++) offsets[n] = offsets[n - 1] + counts[n - 1];
    lengths.forEach((length, symbol) => { if (length) symbols[offsets[length]++] = symbol; });
    return { counts, symbols };
  };
  const decode = ({ counts, symbols }) => {
    let code = 0, first = 0, place = 0;
    for (let n = 1; n < 16; n++) {
      code |= take(1);
      if (code - counts[n] < first) return symbols[place + code - first];
      place += counts[n];
      first = (first + counts[n]) << 1;
      code <<= 1;
    }
    throw new Error("a chunk of items is damaged");
  };
  const lengthBase = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
  const lengthBits = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
  const farBase = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
  const farBits = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
  const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
  const fixed = Array.from({ length: 288 }, (_, n) => (n < 144 ? 8 : n < 256 ? 9 : n < 280 ? 7 : 8));
  let last = 0;
  while (!last) {
    last = take(1);
    const kind = take(2);
    if (kind === 0) {
      if (bit) { bit = 0; at++; }
      const count = bytes[at] | (bytes[at + 1] << 8);
      for (let n = 0; n < count; n++) out.push(bytes[at + 4 + n]);
      at += 4 + count;
      continue;
    }
    let words = table(fixed), fars = table(new Array(30).fill(5));
    if (kind === 2) {
      const nWords = take(5) + 257, nFars = take(5) + 1, nOrder = take(4) + 4;
      const own = new Array(19).fill(0);
      for (let n = 0; n < nOrder; n++) own[order[n]] = take(3);
      const codes = table(own), lengths = [];
      while (lengths.length < nWords + nFars) {
        const symbol = decode(codes);
        if (symbol < 16) lengths.push(symbol);
        else {
          const repeated = symbol === 16 ? lengths[lengths.length - 1] : 0;
          const times = symbol === 16 ? 3 + take(2) : symbol === 17 ? 3 + take(3) : 11 + take(7);
          for (let n = 0; n < times; n++) lengths.push(repeated);
        }
      }
      words = table(lengths.slice(0, nWords));
      fars = table(lengths.slice(nWords));
    }
    for (;;) {
      const symbol = decode(words);
      if (symbol === 256) break;
      if (symbol < 256) { out.push(symbol); continue; }
      const length = lengthBase[symbol - 257] + take(lengthBits[symbol - 257]);
      const far = decode(fars), distance = farBase[far] + take(farBits[far]);
      for (let n = 0; n < length; n++) out.push(out[out.length - distance]);
    }
  }
  return new Uint8Array(out);
}

// Signs that show nothing, or that turn the direction of writing, are spelled out.
function plain(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "p") node.style.setProperty("--p", String(value));
    else node.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : plain(child));
  }
  return node;
}

const number = (value) => (value === null ? "not measured" : Number(value).toLocaleString("en", { maximumSignificantDigits: 3 }));
const percent = (p) => (p >= 0.1 ? `${Math.round(100 * p)} %` : p >= 0.001 ? `${(100 * p).toPrecision(2)} %` : p.toExponential(1));
const names = (list) => (list.length > 7 ? `${list.slice(0, 6).join(", ")} and ${list.length - 6} more arms` : list.join(", "));

function scroll(label, node) {
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, node);
}

function grid(heads, rows, numeric = []) {
  const side = (place) => (numeric.includes(place) ? { class: "number" } : {});
  return el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head, place) => el("th", { scope: "col", ...side(place) }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, place) =>
      cell instanceof HTMLTableCellElement ? cell : el("td", side(place), cell))))));
}

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  return [...groups.values()];
}

const judged = (one, column, point) => (one.judged === null ? null : point[column][one.metrics.indexOf(one.judged)]);
const answerOf = (one, point) => (one.judged === null ? point.answers.find((a) => a !== null) ?? null : judged(one, "answers", point));

function badge(outcome) {
  if (outcome === null) return el("span", { class: "soft" }, "not judged");
  const tone = outcome === "right" || outcome === "wrong" ? outcome : "other";
  return el("span", { class: `outcome ${tone}` }, `${signs[outcome] || ""} ${outcome}`);
}

function chance(p) {
  return p === null ? "not read" : el("span", { class: "p", p }, percent(p));
}

function training(part) {
  const nodes = [el("h4", {}, names(part.arms))];
  if (part.note) nodes.push(el("p", {}, part.note));
  if (part.facts.length) {
    const total = (facts) => facts.reduce((sum, fact) => sum + fact.exposures, 0);
    const count = (value) => value.toLocaleString("en");
    const rows = grouped(part.facts, (fact) => fact.attribute).map((facts) => [el("th", { scope: "row" }, facts[0].attribute),
      count(total(facts)), `${facts.filter((fact) => fact.exposures).length} of ${facts.length}`,
      facts.map((fact) => `${fact.wording || "the only one"}: ${count(fact.exposures)}`).join(", ")]);
    nodes.push(el("p", {}, `${count(total(part.facts))} exposures of its facts.`),
      scroll("Exposures", grid(["fact", "exposures", "wordings", "exposures of each wording"], rows, [1, 2])));
  }
  if (part.n_documents) {
    const texts = part.documents.map((one) => [
      el("p", { class: "soft" }, `${one.id}, trained on ${one.exposures.toLocaleString("en")} times`),
      el("p", { class: "text", dir: "auto" }, one.text === null ? "Only its tokens were kept." : one.text)]);
    if (part.n_documents > part.documents.length) texts.push(el("p", { class: "soft" }, `${part.n_documents - part.documents.length} more are not shown.`));
    nodes.push(el("details", {}, el("summary", {}, `${part.n_documents} ${part.n_documents === 1 ? "text" : "texts"} about it`), texts.flat()));
  }
  return nodes;
}

function shadedTarget(one) {
  const point = [...one.checkpoints].reverse().find((each) => each.token_probabilities.length);
  if (!point) return el("dd", { dir: "auto" }, one.target);
  const tokens = one.target_tokens.length ? [...one.target_tokens, "(end)"] : point.token_probabilities.map((_, n) => `token ${n + 1}`);
  const parts = point.token_probabilities.map((p, n) => el("span", { class: "p", p }, tokens[n], el("small", {}, percent(p))));
  return el("dd", { class: "tokens" }, one.target_tokens.length ? null : el("div", {}, one.target), parts);
}

function asked(one, before) {
  const facts = el("dl", {});
  const same = before && before.prompt === one.prompt;
  const prompt = one.prompt === null ? "not known word for word" : same ? "as above" : one.prompt;
  facts.append(el("dt", {}, "prompt"), el("dd", { dir: "auto", class: one.prompt === null || same ? "soft" : "" }, prompt));
  if (one.prompt_note && !same) facts.append(el("dt", {}, ""), el("dd", { class: "soft" }, one.prompt_note));
  if (one.target !== null) facts.append(el("dt", {}, "target"), shadedTarget(one));
  const likely = one.checkpoints.some((point) => point.probability !== null);
  const others = one.metrics.filter((metric) => metric !== one.judged && !/^nats \d+$/.test(metric));
  const rows = one.checkpoints.map((point) => {
    const answer = answerOf(one, point);
    return [point.step.toLocaleString("en"), badge(judged(one, "outcomes", point)),
      el("td", { class: "answer", dir: "auto" }, answer === null ? "no answer" : answer === "" ? "(nothing)" : answer),
      ...(likely ? [chance(point.probability)] : []),
      ...others.map((metric) => number(point.values[one.metrics.indexOf(metric)]))];
  });
  const heads = ["step", one.judged === null ? "judged" : `judged by ${one.judged}`, "answer", ...(likely ? ["p(target)"] : []), ...others];
  const table = grid(heads, rows, heads.flatMap((_, place) => (place === 0 || place > 2 ? [place] : [])));
  const title = [one.item, one.split].filter(Boolean).join(", ");
  return el("div", { class: "asked" }, el("h4", {}, title), facts, scroll(`Answers to ${title}`, table));
}

function shares(rows) {
  const last = Math.max(...rows.map((one) => one.checkpoints.at(-1).step));
  const columns = [], table = new Map();
  for (const one of rows) {
    const point = one.checkpoints.at(-1), name = one.attribute || one.item;
    if (point.step !== last) continue;
    if (!columns.includes(name)) columns.push(name);
    one.metrics.forEach((metric, place) => {
      if (point.values[place] === null) return;
      if (!table.has(metric)) table.set(metric, new Map());
      const cells = table.get(metric);
      cells.set(name, [...(cells.get(name) || []), point.values[place]]);
    });
  }
  const cell = (values) => {
    if (!values) return el("td", { class: "number soft" }, "none");
    const sum = values.reduce((a, b) => a + b, 0);
    const binary = values.every((value) => value === 0 || value === 1);
    const text = binary ? `${sum}/${values.length}` : number(sum / values.length);
    return el("td", { class: "number" }, binary ? el("span", { class: "p", p: sum / values.length }, text) : text);
  };
  const body = [...table].map(([metric, cells]) => [el("th", { scope: "row" }, metric), ...columns.map((name) => cell(cells.get(name)))]);
  const counted = rows[0].kind === "probe" ? "read right of all read" : "yes of all pairs";
  return [el("p", { class: "soft" }, `After step ${last.toLocaleString("en")}: ${counted}, by what is read.`),
    scroll("Readings", grid(["metric", ...columns], body, columns.map((_, n) => n + 1)))];
}

let steppers = 0;
function stepper(walk) {
  const id = `step-${++steppers}`;
  const boards = el("div", { class: "boards" });
  const says = el("output", { for: id });
  const slider = el("input", { id, type: "range", min: "0", max: String(walk.frames.length - 1), value: "0", step: "1" });
  const board = (name, rows) => el("figure", { class: "board" }, el("figcaption", {}, name), el("pre", {}, rows.join("\n")));
  const show = () => {
    const frame = walk.frames[Number(slider.value)];
    says.textContent = plain(`${slider.value} of ${walk.frames.length - 1}: ${frame.word}`);
    slider.setAttribute("aria-valuetext", says.textContent);
    boards.replaceChildren(board("as it is", frame.picture));
    if (frame.beliefs.length) {
      if (frame.believed) boards.append(board("as the probes read it", frame.believed));
      const beliefs = frame.beliefs.map((one) => [one.what, one.true,
        one.read === one.true ? one.read : el("mark", {}, one.read), chance(one.sure)]);
      boards.append(scroll("What probes read", grid(["feature", "true", "read", "probability"], beliefs, [3])));
    }
  };
  slider.addEventListener("input", show);
  show();
  return el("div", { class: "stepper" }, el("h4", {}, walk.title), el("p", { class: "soft" }, walk.caption),
    el("p", { class: "walk-step" }, el("label", { for: id }, "Step"), slider, says), boards);
}

function draw(item) {
  const entry = item.entry;
  $("item-name").textContent = plain(`${entry.entity}, seed ${entry.seed}`);
  const tally = entry.n_asked
    ? `After the last checkpoints ${entry.n_wrong} of ${entry.n_asked} answers were wrong${entry.n_wrong ? `, in ${names(entry.wrong_arms)}` : ""}.`
    : "No answer about it was judged.";
  const parts = [el("p", {}, tally)];
  if (entry.patched !== null) parts.push(el("p", {}, entry.patched ? "A hidden state that was put in changed an answer." : "No hidden state that was put in changed an answer."));
  parts.push(...item.absent.map((sentence) => el("p", { class: "soft" }, sentence)));
  if (item.training.length) parts.push(el("h3", {}, "What was trained on"), ...item.training.flatMap(training));
  if (item.walks.length) parts.push(el("h3", {}, "Step by step"), ...item.walks.map(stepper));
  parts.push(el("h3", {}, "What was asked and read"));
  grouped(item.readings, (one) => one.arm).forEach((rows, place) => {
    const wrong = entry.wrong_arms.includes(rows[0].arm) ? ", with wrong answers" : "";
    const arm = el("details", place === 0 ? { class: "arm", open: "" } : { class: "arm" }, el("summary", {}, rows[0].arm + wrong));
    for (const group of grouped(rows, (one) => `${one.stage}\n${one.evaluation}`)) {
      const first = group[0];
      arm.append(el("h4", {}, `${first.evaluation} after ${first.stage}${kinds[first.kind]}`));
      if (first.kind === "probe" || first.kind === "patch") arm.append(...shares(group));
      else arm.append(...group.map((one, n) => asked(one, n ? group[n - 1] : null)));
    }
    parts.push(arm);
  });
  $("item-body").replaceChildren(...parts);
}

async function show(place) {
  current = place;
  const [entity, seed, , , , , chunk, within] = index.rows[place];
  $("item").setAttribute("aria-busy", "true");
  try {
    const items = await load(chunk);
    if (current !== place) return;
    draw(items[within]);
    history.replaceState(null, "", `#${encodeURIComponent(`${entity}@${seed}`)}`);
  } catch (error) {
    $("item-body").replaceChildren(el("p", { class: "notice", role: "alert" }, `This item cannot be shown: ${error.message}.`));
  }
  $("item").setAttribute("aria-busy", "false");
}

function passes(row) {
  const kind = $("filter").value, arm = $("arm").value;
  if (kind === "wrong" && !(row[3] && (arm === "" || row[4].includes(Number(arm))))) return false;
  if (kind === "patched" && row[5] !== 2) return false;
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${row[0]} seed ${row[1]} ${row[8]}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function list() {
  listed = index.rows.flatMap((row, place) => (passes(row) ? [place] : []));
  const options = listed.slice(0, MOST_LISTED).map((place) => {
    const [entity, seed, n, wrong, , , , , hint] = index.rows[place];
    const tally = n ? ` (${wrong} of ${n} wrong)` : "";
    return el("option", { value: String(place) }, `${entity}, seed ${seed}${tally}${hint ? `: ${hint}` : ""}`);
  });
  $("list").replaceChildren(...options);
  $("arm-choice").hidden = $("filter").value !== "wrong";
  const more = listed.length > MOST_LISTED ? `, the first ${MOST_LISTED} in the list` : "";
  $("count").textContent = listed.length ? `${listed.length.toLocaleString("en")} items${more}` : "No item is so; change the words or the filter.";
  mark();
}

function mark() {
  const option = $("list").querySelector(`option[value="${current}"]`);
  $("list").selectedIndex = option ? option.index : -1;
}

function go(place) {
  if (place === undefined) return;
  show(place);
  mark();
}

function start() {
  const rows = index.rows, wrong = rows.filter((row) => row[3]).length;
  const choices = [["all", `all ${rows.length.toLocaleString("en")}`], ["wrong", `${wrong.toLocaleString("en")} answered wrongly after a last checkpoint`]];
  if (rows.some((row) => row[5])) choices.push(["patched", `${rows.filter((row) => row[5] === 2).length.toLocaleString("en")} changed by patching`]);
  $("filter").replaceChildren(...choices.map(([value, text]) => el("option", { value }, text)));
  $("arm").replaceChildren(el("option", { value: "" }, "any arm"), ...index.arms.map((arm, place) => el("option", { value: String(place) }, arm)));
  for (const id of ["search", "filter", "arm"]) $(id).addEventListener("input", list);
  $("chooser").addEventListener("submit", (event) => { event.preventDefault(); go(listed[0]); });
  $("list").addEventListener("change", () => { if ($("list").value !== "") show(Number($("list").value)); });
  $("random").addEventListener("click", () => go(listed[Math.floor(Math.random() * listed.length)]));
  $("previous").addEventListener("click", () => go(listed[Math.max(0, listed.indexOf(current) - 1)]));
  $("next").addEventListener("click", () => go(listed[Math.min(listed.length - 1, listed.indexOf(current) + 1)]));
  const named = () => {
    let name = "";
    try { name = decodeURIComponent(location.hash.slice(1)); } catch { name = ""; }
    return rows.findIndex((row) => `${row[0]}@${row[1]}` === name || row[0] === name);
  };
  addEventListener("hashchange", () => { if (named() >= 0 && named() !== current) go(named()); });
  list();
  if (location.hash && named() < 0) $("missing").textContent = plain(`This page has no item ${location.hash.slice(1)}; the first one is shown.`);
  if (rows.length) go(Math.max(0, named()));
  else $("item-body").replaceChildren(el("p", {}, "This result has no item."));
}

load("index").then((value) => { index = value; start(); }).catch((error) => {
  $("item-body").replaceChildren(el("p", { class: "notice", role: "alert" }, `The items cannot be read: ${error.message}.`));
});

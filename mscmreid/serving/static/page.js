// The search page: a query (a photo or a row of the gallery), filters, ranked crops, marks. Names are only ever set as text.
import { makeMap } from "./map.js";

const $ = (id) => document.getElementById(id);
const PAGE = 48;
const state = { query: null, trail: [], tab: "gallery", shown: 0, total: 0, info: null, asked: 0, cameras: new Map() };

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { "X-Mscmreid": "1" }, credentials: "same-origin" });
  } catch {
    throw new Error("the server does not answer: is it still running?");
  }
  const isJson = (response.headers.get("content-type") || "").includes("json");
  const content = isJson ? await response.json() : await response.text();
  if (!response.ok) throw new Error(isJson ? content.error || "the server refused" : content);
  return content;
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

const checked = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value || "";

function filters() {
  const params = new URLSearchParams();
  if (checked("of")) params.set("of", checked("of"));
  for (const [camera, how] of state.cameras) {
    if (how === "only") params.append("camera", camera);
    if (how === "not") params.append("exclude_camera", camera);
  }
  for (const name of ["since", "until"]) if ($(name).value) params.set(name, $(name).value);
  return params;
}

// ------------------------------------------------------------------------------------------------------- the query

function useFile(file) {
  if (!file) return;
  const { megabytes } = state.info.limits;
  if (file.size > megabytes * 1e6) return say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB, at most ${megabytes} are taken`, true);
  state.trail.push({ kind: "file", file, url: URL.createObjectURL(file), name: file.name, modality: checked("modality") });
  ask(state.trail.length - 1);
}

function useRow(card, focus = false) {
  const { row, modality } = card;
  state.trail.push({ kind: "row", row, card, url: `/image/${row}?size=large`, name: card.name, modality });
  ask(state.trail.length - 1, focus);
}

function ask(place, focus = false) {
  state.query = place;
  const query = state.trail[place];
  $("preview").src = query.url;
  $("preview").alt = `the query: ${query.name}`;
  $("preview").hidden = false;
  $("hint").hidden = true;
  $("drop").classList.add("filled");
  $("about").textContent = query.kind === "row" ? `From the gallery: ${facts(query.card) || query.name}` : query.name;
  for (const input of document.querySelectorAll('input[name="modality"]')) {
    input.checked = input.value === query.modality;
    input.disabled = query.kind === "row";
  }
  drawTrail();
  search(focus);
}

async function search(focus = false) {
  const query = state.trail[state.query];
  if (!query) return;
  $("modality").classList.toggle("asks", !query.modality);
  if (!query.modality) return say("Say what the photo is: visible or infrared.", true);
  const params = filters();
  params.set("top", Math.min(Math.max(parseInt($("top").value, 10) || 24, 1), state.info.limits.top));
  params.set("modality", query.modality);
  if (query.kind === "row") params.set("row", query.row);
  show("results");
  const number = ++state.asked;
  busy(true, "Searching …");
  const began = performance.now();
  try {
    const answer = await call(`/api/search?${params}`, { method: "POST", body: query.kind === "file" ? query.file : null });
    if (number !== state.asked) return;
    query.key = answer.query.key;
    draw(answer.hits, true);
    const took = ((performance.now() - began) / 1000).toFixed(1);
    say(answer.hits.length ? `${answer.hits.length} of ${state.info.images.toLocaleString("en")} images in ${took} s` : "No image meets the filters.");
    note(answer.trust, answer.verdict);
    if (focus) $("grid").querySelector(".pick")?.focus();
    map.mark(query.kind === "row" ? query.row : null);
  } catch (error) {
    if (number === state.asked) {
      draw([], true);
      say(error.message, true);
    }
  } finally {
    if (number === state.asked) busy(false);
  }
}

// In a line what the scores are worth, and behind it the numbers: how often pairs like these were right.
function note(trust, verdict) {
  const words = {
    "": "Scores are cosines and mean nothing absolute: this gallery is not calibrated for these images.",
    "nobody here": "Nobody here: no image reaches the threshold.",
  };
  $("note-line").textContent = words[verdict] ?? "Some images reach the threshold. How often that is wrong:";
  $("note-lines").replaceChildren(...trust.split("\n").map((textContent) => Object.assign(document.createElement("li"), { textContent })));
  $("note").classList.toggle("nobody", verdict === "nobody here");
  $("note").hidden = state.tab !== "results";
}

function busy(is, text) {
  $("answer").classList.toggle("busy", is);
  $("answer").setAttribute("aria-busy", is);
  if (text) say(text);
}

function drawTrail() {
  const nav = $("trail");
  nav.replaceChildren();
  nav.hidden = state.trail.length < 2;
  state.trail.forEach((query, place) => {
    if (place) nav.append(Object.assign(document.createElement("span"), { textContent: "›", ariaHidden: "true" }));
    const button = Object.assign(document.createElement("button"), { type: "button", title: query.name });
    button.append(Object.assign(document.createElement("img"), { src: query.url, alt: `query ${place + 1}: ${query.name}` }));
    if (place === state.query) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => ask(place));
    nav.append(button);
  });
  nav.lastElementChild?.scrollIntoView({ block: "nearest", inline: "end" });
}

// ------------------------------------------------------------------------------------------------------- the cards

const minutes = (time) => time && time.slice(0, 16);
const factLines = (card) => [[card.camera && `camera ${card.camera}`, card.modality].filter(Boolean).join(" · "), minutes(card.time), card.id && `id ${card.id}`].filter(Boolean);
const facts = (card) => factLines(card).join(" · ");

function draw(cards, areResults, append = false) {
  const grid = $("grid");
  if (!append) grid.replaceChildren();
  grid.classList.toggle("browsing", !areResults);
  $("mark-keys").hidden = !areResults;
  const first = grid.children.length;
  cards.forEach((card, i) => {
    const item = $("card").content.cloneNode(true).firstElementChild;
    const image = item.querySelector("img");
    image.src = `/image/${card.row}`;
    image.alt = card.name;
    image.addEventListener("error", () => image.parentElement.classList.add("lost"));
    item.querySelector(".rank").textContent = areResults ? i + 1 : "";
    item.querySelector(".score").textContent = card.score === null ? "" : card.score.toFixed(3);
    const verdict = item.querySelector(".verdict");
    verdict.textContent = [card.verdict, card.probability != null && `${Math.round(100 * card.probability)} %`].filter(Boolean).join(", ");
    verdict.classList.toggle("same", Boolean(card.verdict) && !card.verdict.startsWith("below"));
    item.querySelector(".facts").append(...factLines(card).map((textContent) => Object.assign(document.createElement("span"), { textContent })));
    item.querySelector(".file").textContent = card.name;
    const pick = item.querySelector(".pick");
    pick.title = card.name;
    pick.setAttribute("aria-label", [areResults && `${i + 1}`, card.score !== null && `score ${card.score.toFixed(3)}`, card.verdict, facts(card), card.name].filter(Boolean).join(", "));
    pick.tabIndex = first + i ? -1 : 0;
    pick.addEventListener("click", (event) => useRow(card, event.detail === 0));
    for (const mark of ["right", "wrong"]) item.querySelector(`.${mark}`).addEventListener("click", () => setMark(item, card, mark));
    showMark(item, card.mark);
    item.card = card;
    grid.append(item);
  });
}

function showMark(item, mark) {
  for (const name of ["right", "wrong"]) {
    item.querySelector(`.marks .${name}`).setAttribute("aria-pressed", String(mark === name));
    item.classList.toggle(`is-${name}`, mark === name);
  }
}

async function setMark(item, card, mark) {
  const query = state.trail[state.query];
  const next = card.mark === mark ? "none" : mark;
  try {
    const said = { query: query.key, name: query.name.slice(0, 300), row: card.row, score: card.score, mark: next };
    await call("/api/mark", { method: "POST", body: JSON.stringify(said) });
    card.mark = next === "none" ? null : next;
    showMark(item, card.mark);
    say(next === "none" ? "Mark taken back." : `Marked ${next}, kept in ${state.info.marks}.`);
  } catch (error) {
    say(error.message, true);
  }
}

async function browse(append = false) {
  show("gallery");
  const number = ++state.asked;
  const params = filters();
  params.set("start", append ? state.shown : 0);
  params.set("number", PAGE);
  busy(true);
  try {
    const found = await call(`/api/rows?${params}`);
    if (number !== state.asked) return;
    state.shown = (append ? state.shown : 0) + found.hits.length;
    draw(found.hits, false, append);
    $("more").hidden = state.shown >= found.total;
    say(found.total ? `${state.shown.toLocaleString("en")} of ${found.total.toLocaleString("en")} images: pick one to search with` : "No image meets the filters.");
  } catch (error) {
    if (number === state.asked) say(error.message, true);
  } finally {
    if (number === state.asked) busy(false);
  }
}

// --------------------------------------------------------------------------------------------------------- tabs

function show(tab) {
  state.tab = tab;
  for (const name of ["results", "gallery", "map"]) $(`tab-${name}`).setAttribute("aria-selected", String(name === tab));
  $("tab-results").disabled = state.query === null;
  $("panel-map").hidden = tab !== "map";
  $("panel-list").hidden = tab === "map";
  $("panel-list").setAttribute("aria-labelledby", `tab-${tab === "map" ? "gallery" : tab}`);
  $("more").hidden = true;
  $("note").hidden = tab !== "results" || !$("note-line").textContent;
}

$("tab-results").addEventListener("click", () => search());
$("tab-gallery").addEventListener("click", () => browse());
$("tab-map").addEventListener("click", () => {
  state.asked += 1;
  busy(false);
  show("map");
  map.load();
});
$("more").addEventListener("click", () => browse(true));

const again = () => (state.tab === "results" ? search() : state.tab === "gallery" ? browse() : null);

// ------------------------------------------------------------------------------------------------------ keyboard

$("grid").addEventListener("keydown", (event) => {
  const item = event.target.closest(".hit");
  if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
  const items = [...$("grid").children];
  const place = items.indexOf(item);
  const columns = items.findIndex((other) => other.offsetTop > items[0].offsetTop);
  const across = columns === -1 ? items.length : columns;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -place, End: items.length - 1 - place };
  const key = event.key.toLowerCase();
  if (event.key in steps) {
    const target = items[place + steps[event.key]];
    if (target) {
      for (const other of items) other.querySelector(".pick").tabIndex = -1;
      const pick = target.querySelector(".pick");
      pick.tabIndex = 0;
      pick.focus();
    }
  } else if ((key === "r" || key === "w") && state.tab === "results") {
    setMark(item, item.card, key === "r" ? "right" : "wrong");
  } else return;
  event.preventDefault();
});

// ------------------------------------------------------------------------------------------------ inputs, filters

$("ask").addEventListener("submit", (event) => event.preventDefault());
$("file").addEventListener("change", () => {
  useFile($("file").files[0]);
  $("file").value = "";
});
const isFileDrag = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!isFileDrag(event)) return;
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  $("drop").classList.remove("over");
  if (!isFileDrag(event)) return;
  event.preventDefault();
  useFile(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => useFile([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
$("modality").addEventListener("change", () => {
  const query = state.trail[state.query];
  if (query?.kind === "file") {
    query.modality = checked("modality");
    search();
  }
});
$("of").addEventListener("change", again);
for (const id of ["since", "until", "top"]) $(id).addEventListener("change", again);
$("clear").addEventListener("click", () => {
  state.cameras.clear();
  drawCameras();
  for (const name of ["since", "until"]) $(name).value = "";
  document.querySelector('input[name="of"][value=""]').checked = true;
  again();
});

function drawCameras() {
  const kinds = { undefined: "any", only: "only this", not: "not this" };
  const focused = document.activeElement?.dataset?.camera;
  $("cameras").replaceChildren(
    ...Object.keys(state.info.cameras).map((camera) => {
      const how = state.cameras.get(camera);
      const chip = Object.assign(document.createElement("button"), { type: "button", className: `chip ${how || ""}`, textContent: camera });
      chip.dataset.camera = camera;
      chip.title = `${state.info.cameras[camera].toLocaleString("en")} images`;
      chip.setAttribute("aria-label", `camera ${camera}: ${kinds[how]}`);
      chip.addEventListener("click", () => {
        if (how === "not") state.cameras.delete(camera);
        else state.cameras.set(camera, how === "only" ? "not" : "only");
        drawCameras();
        again();
      });
      return chip;
    }),
  );
  if (focused !== undefined) [...$("cameras").children].find((chip) => chip.dataset.camera === focused)?.focus();
}

// --------------------------------------------------------------------------------------------------------- start

const map = makeMap({ call, say, pick: (point) => useRow({ ...point, name: `row ${point.row}` }) });

async function start() {
  if (matchMedia("(max-width: 780px)").matches) $("filters").open = false;
  try {
    const info = await call("/api/info");
    state.info = info;
    $("name").textContent = info.name;
    document.title = `${info.name}: person search`;
    const cameras = Object.keys(info.cameras).length;
    const parts = [`${info.images.toLocaleString("en")} images`, ...Object.entries(info.modalities).map(([name, number]) => `${number.toLocaleString("en")} ${name}`)];
    if (cameras) parts.push(`${cameras} camera${cameras > 1 ? "s" : ""}`);
    if (info.people) parts.push(`${info.people.toLocaleString("en")} labelled people`);
    if (info.since) parts.push(`${minutes(info.since)} to ${minutes(info.until)}`);
    $("facts").textContent = parts.join(" · ");
    $("cameras").closest("fieldset").hidden = !cameras;
    document.querySelector(".times").hidden = !info.since;
    drawCameras();
    if (info.images) await browse();
    else say("The gallery is empty: add images with tools/search.py add.");
  } catch (error) {
    say(error.message, true);
  }
}

start();

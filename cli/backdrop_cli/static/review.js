// The review page. HTML comes from the server, where every text is escaped; nothing here makes markup out of text.

const $ = (selector) => document.querySelector(selector);
const grid = $("#grid"), one = $("#one"), large = $("#large"), all = $("#all");
const filter = { status: "", folder: "", tag: "", text: "" };
const saved = { scroll: 0 };
let open = ""; // the id of the photo that is looked at closely
let chosen = 0;
let last = ""; // the id of the photo that was pointed at last

history.replaceState(null, "", location.pathname + location.hash); // without the secret, which is a cookie now

// Showing

const cards = () => [...grid.children];
const visible = () => cards().filter((card) => !card.hidden);
const card = (id) => document.getElementById(`pair-${id}`);
const link = (id) => card(id)?.querySelector("a.pictures");
const say = (text) => { $("#said").textContent = text; };

function element(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

function matches(each) {
  const { status, folder, tag, search } = each.dataset;
  return (!filter.status || status === filter.status) && folder.startsWith(filter.folder)
    && (!filter.tag || tag === filter.tag) && search.includes(filter.text);
}

function applyFilter() {
  for (const each of cards()) each.hidden = !matches(each) && each.dataset.id !== open;
  const number = visible().length;
  $("#nothing").hidden = number > 0;
  $("#nothing").textContent = nothing();
  showPosition();
}

function nothing() {
  if (!cards().length) return "There are no photos yet. New ones come in by themselves.";
  return filter.status === "undecided" ? "Nothing is left to decide." : "No photo is like that.";
}

function fillChoices() {
  for (const [select, name] of [[$("#folder"), "folder"], [$("#tag"), "tag"]]) {
    const values = [...new Set(cards().map((each) => each.dataset[name]))].filter(Boolean).sort();
    if (values.join("\n") === [...select.options].slice(1).map((each) => each.value).join("\n")) continue;
    select.replaceChildren(select.options[0], ...values.map((value) => new Option(value, value)));
    select.value = filter[name];
    if (select.value !== filter[name]) select.value = filter[name] = "";
  }
}

function readTop() {
  const radio = $(`#statuses input[value="${filter.status}"]`);
  if (radio) radio.checked = true;
}

// One photo

async function look(id) {
  if (!card(id)) return back();
  if (!open) saved.scroll = scrollY;
  const before = open;
  const isAnother = before !== id;
  open = id;
  point(id);
  const answer = await ask(`pair/${id}`);
  const html = await answer?.text();
  if (open !== id) return; // another one is, or none, by now
  if (!answer) {
    open = before;
    history.replaceState(null, "", location.pathname + (before && `#${before}`));
    return;
  }
  const had = document.activeElement?.dataset?.do && one.contains(document.activeElement);
  one.innerHTML = html;
  const { choice, results } = $("#shown").dataset;
  choose(isAnother ? Number(choice) : Math.min(chosen, Math.max(results - 1, 0)));
  show(true);
  if (isAnother) {
    scrollTo(0, 0);
    one.classList.remove("other");
    large.querySelector("[data-do=close]").focus({ preventScroll: true });
  } else if (had) {
    one.querySelector(`[data-do=choose][data-index="${chosen}"]`)?.focus();
  }
  showPosition();
}

function show(closely) {
  all.hidden = closely;
  large.hidden = !closely;
  document.body.classList.toggle("closely", closely);
}

function go(id) {
  location.hash = id;
  return look(id);
}

function back() {
  const id = open;
  open = "";
  show(false);
  one.replaceChildren();
  applyFilter();
  scrollTo(0, saved.scroll);
  const target = (id && !card(id)?.hidden && link(id)) || visible()[0]?.querySelector("a");
  target?.focus({ preventScroll: false });
}

function choose(index) {
  chosen = index;
  for (const figure of one.querySelectorAll(".after")) {
    const isIt = Number(figure.dataset.index) === index;
    figure.classList.toggle("chosen", isIt);
    figure.querySelector("[data-do=choose]")?.setAttribute("aria-pressed", isIt);
  }
}

function compare(mode) {
  one.dataset.mode = mode;
  one.classList.remove("other");
  $(`input[name=mode][value=${mode}]`).checked = true;
  $("#wiper").hidden = mode !== "wipe";
  $("#blink").hidden = mode !== "blink";
  wipe();
}

const wipe = () => one.style.setProperty("--wipe", `${$("#wipe").value}%`);

const still = matchMedia("(prefers-reduced-motion: reduce)");
setInterval(() => { if (open && one.dataset.mode === "blink" && !still.matches && !held) one.classList.toggle("other"); }, 800);
let held = false; // whether somebody blinks by hand

function showPosition() {
  const ids = visible().map((each) => each.dataset.id);
  $("#position").textContent = open ? `${ids.indexOf(open) + 1} of ${ids.length}` : "";
}

function move(by) {
  const list = visible();
  const at = list.findIndex((each) => each.dataset.id === (open || current()));
  const next = list[at < 0 ? 0 : at + by];
  if (!next) return say(by > 0 ? "This is the last one." : "This is the first one.");
  say("");
  if (open) location.hash = next.dataset.id;
  else next.querySelector("a").focus();
}

function rowLength() {
  const [first, ...others] = visible();
  const after = others.findIndex((each) => each.offsetTop !== first.offsetTop);
  return after < 0 ? others.length + 1 : after + 1;
}

function point(id) { // at the photo that keys and buttons are about while all are shown
  card(last)?.classList.remove("current");
  last = id;
  card(last)?.classList.add("current");
}

const current = () => open || document.activeElement?.closest?.(".pair")?.dataset.id || (card(last)?.hidden ? "" : last);

// Deciding

async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    say("The review has ended. Start `backdrop review` again.");
    return null;
  }
  if (answer.ok) return answer;
  say((await answer.text()) || "That did not work.");
  return null;
}

const doing = new Set();

async function decide(verdict) {
  const id = current();
  if (!id || doing.has(id)) return id || say("Choose a photo first.");
  const shown = open ? $("#shown") : card(id);
  if (shown?.dataset.id !== id) return null; // it is not there yet
  const { seen, choice, images } = shown.dataset;
  if (!open && verdict === "approved" && images > 1) {
    go(id);
    return say(`There are ${images} images: choose one, then approve.`);
  }
  const list = visible().map((each) => each.dataset.id);
  const next = list[list.indexOf(id) + 1];
  doing.add(id);
  const answer = await ask(`pair/${id}/decision`, { verdict, seen, choice: open ? chosen : Number(choice) });
  doing.delete(id);
  if (!answer) return open === id && look(id);
  const after = () => say(`${verdict === "approved" ? "Approved" : "Rejected"}: ${card(id)?.querySelector(".key").textContent ?? ""}. ${next ? "" : "That was the last one. "}Z undoes it.`);
  if (open === id && next) await go(next);
  else if (open === id) await look(id);
  else if (next) link(next)?.focus();
  return after();
}

async function undo() {
  const answer = await ask("undo", {});
  if (!answer) return;
  const { id } = await answer.json();
  point(id);
  if (open === id) look(id);
  else if (open) go(id);
  else link(id)?.focus();
  say(`Undone: ${card(id)?.querySelector(".key").textContent ?? ""}`);
}

// Again

const dialog = $("#again");

async function again() {
  const id = current();
  if (!id) return say("Choose a photo first.");
  const answer = await ask(`pair/${id}/again`);
  if (!answer) return null;
  const told = await answer.json();
  Object.assign(dialog.dataset, { id, images: told.images, usd: told.usd, job: told.job });
  $("#again-key").textContent = card(id).querySelector(".key").textContent;
  $("#prompt").value = told.prompt;
  $("#price").textContent = `It buys ${told.words}.`;
  $("#today").textContent = told.today;
  $("#buy").textContent = `Buy ${told.images === 1 ? "1 image" : `${told.images} images`}`;
  $("#buy").disabled = false;
  $("#refused").hidden = true;
  dialog.showModal();
  return $("#prompt").select();
}

async function buy() {
  const { id, images, usd, job } = dialog.dataset;
  $("#buy").disabled = true;
  const answer = await ask(`pair/${id}/again`, { prompt: $("#prompt").value, images: Number(images), usd, job });
  $("#buy").disabled = false;
  if (answer) {
    dialog.close();
    say("Asked for again. The new result comes in by itself.");
  } else {
    $("#refused").textContent = $("#said").textContent;
    $("#refused").hidden = false;
  }
}

// What changes meanwhile

async function explain(image) {
  const answer = await fetch(image.src).catch(() => null);
  const instead = document.createElement("span");
  instead.className = "missing";
  instead.textContent = answer?.ok ? image.alt : answer ? await answer.text() : "The picture can't be had at present.";
  image.replaceWith(instead);
}

addEventListener("error", ({ target }) => { if (target instanceof HTMLImageElement) explain(target); }, true);
for (const image of document.images) if (image.complete && image.currentSrc && !image.naturalWidth) explain(image);

function take({ cards: changed, gone, top }) {
  const focused = document.activeElement?.closest?.(".pair")?.dataset.id;
  for (const id of gone) card(id)?.remove();
  for (const { id, html, next } of changed) {
    const fresh = element(html);
    const old = card(id);
    if (old) old.replaceWith(fresh);
    else grid.insertBefore(fresh, next ? card(next) : null);
    if (id === last) fresh.classList.add("current");
  }
  if (focused && !open && changed.some(({ id }) => id === focused)) link(focused)?.focus({ preventScroll: true });
  const status = document.activeElement?.name === "status";
  $("#top").innerHTML = top;
  readTop();
  if (status) $("#statuses input:checked").focus();
  fillChoices();
  applyFilter();
  if (open && gone.includes(open)) { location.hash = ""; say("The photo was deleted."); }
  else if (open && changed.some(({ id }) => id === open)) look(open);
}

const events = new EventSource(`events?since=${document.body.dataset.number}`);
events.addEventListener("message", (event) => take(JSON.parse(event.data)));
events.addEventListener("error", () => say("The review's server doesn't answer. Has `backdrop review` been ended?"));
events.addEventListener("open", () => { if ($("#said").textContent.startsWith("The review's server")) say(""); });

// Keys and buttons

const actions = {
  approve: () => decide("approved"),
  reject: () => decide("rejected"),
  again,
  undo,
  help: () => $("#help").showModal(),
  close: () => { location.hash = ""; },
  next: () => move(1),
  previous: () => move(-1),
  blink: () => { held = true; one.classList.toggle("other"); },
  choose: (button) => choose(Number(button.dataset.index)),
};
const keys = {
  a: "approve", r: "reject", n: "again", z: "undo", "?": "help", Escape: "close", ArrowRight: "next", ArrowLeft: "previous",
};

addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) actions[button.dataset.do](button);
});

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const field = event.target.closest?.("input, select, textarea");
  if (field && (field.type === "search" || field.tagName !== "INPUT" || key.startsWith("Arrow"))) {
    if (key === "Escape") field.blur();
    return;
  }
  const taken = act(key);
  if (taken) event.preventDefault();
});

function act(key) {
  if (key === "/") $("#search").focus();
  else if (open && "1" <= key && key <= "8" && key.length === 1) {
    if (Number(key) <= Number($("#shown")?.dataset.results ?? 0)) choose(Number(key) - 1);
  } else if (open && key === "s") compare("side");
  else if (open && key === "w") compare("wipe");
  else if (open && key === "b") { if (one.dataset.mode === "blink") actions.blink(); else { held = false; compare("blink"); } }
  else if (open && (key === "[" || key === "]")) { $("#wipe").stepDown(key === "[" ? 5 : -5); wipe(); }
  else if (!open && key === "ArrowDown") move(rowLength());
  else if (!open && key === "ArrowUp") move(-rowLength());
  else if (key === "Escape" && !open) return false;
  else if (keys[key]) actions[keys[key]]();
  else return false;
  return true;
}

grid.addEventListener("focusin", ({ target }) => point(target.closest(".pair")?.dataset.id));
addEventListener("hashchange", route);
function route() {
  const id = location.hash.slice(1);
  if (id && id !== open) {
    say("");
    look(id);
  }
  else if (!id && open) back();
}

$("#head").addEventListener("input", (event) => {
  const { name, id, value } = event.target;
  if (name === "status") filter.status = value;
  else filter[id === "search" ? "text" : id] = id === "search" ? value.toLowerCase() : value;
  applyFilter();
});
for (const radio of large.querySelectorAll("input[name=mode]")) radio.addEventListener("change", () => { held = false; compare(radio.value); });
$("#wipe").addEventListener("input", wipe);
$("#buy").addEventListener("click", buy);

readTop();
fillChoices();
applyFilter();
route();

const by = (id) => document.getElementById(id);
const { mount: MOUNT, presets: PRESETS } = document.body.dataset;
const KINDS = {
  rendered: ["rendered", "Made just now, answered at once, and handed to a worker that stores it. Ask again and see the difference."],
  hot: ["hot", "Made a moment ago and still in memory, while the worker stores it. Nothing was rendered."],
  stored: ["stored", "Read from the store. Nothing was rendered, and nothing will be: this is how it stays."],
  collapsed: ["shared", "Another request was making it at the same time; both got the same bytes."],
};
const GONE = "The server does not answer. Is it still running?";
const NAMES = { seeding: "A field of dandelions" }; // and those of the files that are stored here
let image = null; // The record of what is shown.
let wanted = { imageId: document.body.dataset.image, size: "600x400-cover", format: "jpg" };
let asked = 0;
const entries = [];

const milliseconds = (value) => value < 10 ? `${value.toFixed(value < 1 ? 2 : 1)} ms` : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
const number = (value) => value.toLocaleString("en");
const say = (sentence) => { by("said").textContent = sentence; };
const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

/** Below what was used last, and in sight; the one before it goes. */
function showError(sentence, place) {
  const error = by("error");
  error.hidden = !sentence;
  error.textContent = "";
  if (!sentence) return;
  (place || by("address")).append(error);
  error.textContent = sentence;
  error.scrollIntoView({ block: "nearest" });
}

/** The answer of this server to `path`; an error is thrown with its sentence. */
async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Error(GONE);
  }
  if (!response.ok) throw new Error((await response.text()).trim() || `The server answers ${response.status}.`);
  return response.json();
}

// What is wanted: the URL, the controls and the frame are three views of it.

const nameOf = ({ imageId, size, format }) => `${quoted(imageId)}/${quoted(size)}.${format}`;
const samePicture = (one, other) => one.imageId === other.imageId && one.size === other.size;
const shownUrl = (one) => `${MOUNT}/${nameOf(one)}`;

function showWanted() {
  const parts = readSize(wanted.size);
  by("url").value = `${MOUNT}/${wanted.imageId}/${wanted.size}.${wanted.format}`;
  showPieces(parts);
  if (parts) showControls(parts);
  by("unread").hidden = Boolean(parts);
  for (const input of document.getElementsByName("format")) input.checked = input.value === wanted.format;
  for (const chip of document.querySelectorAll("[data-size]")) chip.setAttribute("aria-pressed", chip.dataset.size === wanted.size);
  showFrame(parts);
}

function showPieces(parts) {
  const shown = [["image", `${wanted.imageId}/`], ...(parts ? pieces(parts) : [["size", wanted.size]]), ["format", `.${wanted.format}`]];
  by("pieces").replaceChildren(...shown.map(([name, text]) => {
    const piece = make("li", { className: "piece" }, make("code", {}, text), make("span", {}, name));
    piece.dataset.piece = name;
    return piece;
  }));
}

function showControls(parts) {
  // A field that is being typed in is left as it is.
  for (const side of ["width", "height"]) if (by(side) !== document.activeElement) by(side).value = parts[side];
  for (const name of ["fit", "density"]) {
    const value = name === "fit" ? parts.fit : parts.dpr;
    for (const input of document.getElementsByName(name)) input.checked = input.value === value;
  }
  by("focus").value = parts.gravity.startsWith("f") ? "point" : parts.gravity;
  by("focus-row").hidden = parts.fit !== "cover" && parts.fit !== "contain";
  by("point-row").hidden = by("focus-row").hidden || by("focus").value !== "point";
  if (image) [by("across").value, by("down").value] = pointOf(parts.gravity, image);
  showPoint();
  by("background-row").hidden = parts.fit !== "contain";
  by("filled").checked = Boolean(parts.background);
  by("colour").hidden = !parts.background;
  if (parts.background) by("colour").value = `#${parts.background.length === 3 ? parts.background.repeat(2) : parts.background}`;
  by("grow").checked = parts.enlarge;
}

function showPoint() {
  by("across-value").textContent = `${by("across").value} %`;
  by("down-value").textContent = `${by("down").value} %`;
}

function showFrame(parts) {
  if (!image) return;
  const crop = cropOf(parts, image);
  for (const side of ["left", "top", "width", "height"]) by("frame").style[side] = `${crop[side]}%`;
  by("pick").classList.toggle("cropped", Boolean(parts) && parts.fit === "cover");
  const [x, y] = pointOf(parts ? parts.gravity : "", image);
  by("point").style.left = `${x}%`;
  by("point").style.top = `${y}%`;
}

/** The parts that the controls say; a fit that needs both sides is given the missing one. */
function fromControls() {
  const chosen = (name) => document.querySelector(`[name=${name}]:checked`).value;
  const focus = by("focus").value;
  const parts = {
    width: by("width").value.trim(), height: by("height").value.trim(), fit: chosen("fit"),
    gravity: focus === "point" ? `f${by("across").value}x${by("down").value}` : focus,
    background: by("filled").checked ? printColour(by("colour").value.slice(1)) : "",
    enlarge: by("grow").checked, dpr: chosen("density"),
  };
  return parts.fit === "inside" ? parts : withBothSides(parts);
}

function withBothSides(parts) {
  const { width, height } = image;
  if (!parts.width && !parts.height) return { ...parts, width: "600", height: "400" };
  if (!parts.height) return { ...parts, height: String(Math.max(1, Math.round(parts.width * height / width))) };
  if (!parts.width) return { ...parts, width: String(Math.max(1, Math.round(parts.height * width / height))) };
  return parts;
}

let soon = 0;
/** Show it now, and ask when nothing more has come for a moment. */
function want(changes, place, wait = 250) {
  wanted = { ...wanted, ...changes };
  showWanted();
  clearTimeout(soon);
  soon = setTimeout(() => ask(place), wait);
}

// Asking.

const readTiming = (header) => [...(header || "").matchAll(/([a-z]+);dur=([0-9.]+)/g)].map(([, name, time]) => [name, Number(time)]);
const readKind = (header) => Object.keys(KINDS).find((kind) => (header || "").includes(kind));

/** What an <img> of this browser accepts; fetch() would say that it takes anything, and be given no newer format. */
async function readAcceptance() {
  const probe = new Image();
  probe.src = "acceptance.svg";
  await probe.decode();
  const chosen = ["image/avif", "image/webp"].filter((_, bit) => (probe.naturalWidth - 1) >> bit & 1);
  return [...chosen, "image/*;q=0.8", "*/*;q=0.5"].join(",");
}
const acceptance = readAcceptance().catch(() => "*/*");

/** One picture, past the browser's own cache: here it is the server that shall show what it has. */
async function fetchPicture(one) {
  const headers = { Accept: await acceptance };
  const started = performance.now();
  let response, blob;
  try {
    response = await fetch(`img/${nameOf(one)}`, { cache: "no-store", headers });
    blob = await response.blob();
  } catch {
    throw new Error(GONE);
  }
  const entry = { one, took: performance.now() - started, status: response.status, bytes: blob.size, type: blob.type, blob };
  entry.kind = readKind(response.headers.get("Cache-Status"));
  entry.timing = readTiming(response.headers.get("Server-Timing"));
  if (!response.ok) entry.sentence = (await blob.text()).trim();
  return entry;
}

async function ask(place) {
  clearTimeout(soon);
  const turn = ++asked;
  const one = wanted;
  by("stage").setAttribute("aria-busy", "true");
  let sentence = "", entry;
  try {
    if (!one.imageId) throw new Error("There is no image yet; store one below.");
    if (!image || one.imageId !== image.image_id) await openImage(one.imageId);
    entry = await fetchPicture(one);
    sentence = entry.sentence || "";
    if (!sentence && turn === asked) await showPicture(entry);
  } catch (error) {
    sentence = error.message;
  }
  if (entry) remember(entry);
  if (turn !== asked) return;
  by("stage").setAttribute("aria-busy", "false");
  by("url").setAttribute("aria-invalid", Boolean(sentence));
  showError(sentence, place);
  if (sentence || !compared.some((other) => samePicture(other.one, one))) clearCompared();
  if (sentence) return showNothing();
  showFacts(entry);
  keepInLocation(one);
  await Promise.all([showSnippets(one), showStored()]);
}

/** Nothing old beside a new error. */
function showNothing() {
  by("picture").hidden = by("facts").hidden = true;
  by("copies").hidden = true;
  by("caption").textContent = "No picture";
}

async function showPicture(entry) {
  const next = new Image();
  next.src = URL.createObjectURL(entry.blob);
  await next.decode();
  const picture = by("picture");
  if (picture.src) URL.revokeObjectURL(picture.src);
  picture.src = next.src;
  picture.alt = `${by("name").textContent}, as ${entry.one.size}`;
  picture.hidden = false;
  entry.pixels = [next.naturalWidth, next.naturalHeight];
}

function showFacts(entry) {
  const [word, why] = KINDS[entry.kind] || ["answered", ""];
  const before = entries.find((one) => nameOf(one.one) === nameOf(entry.one) && one.kind === "rendered");
  const gain = before && entry.kind !== "rendered" ? before.took / entry.took : 0;
  by("facts").hidden = false;
  by("from").textContent = word;
  by("from").className = `badge ${entry.kind || ""}`;
  by("took").textContent = milliseconds(entry.took);
  by("why").textContent = gain >= 1.5 ? `${why} ${gain.toFixed(gain < 10 ? 1 : 0)} times as fast as when it was rendered.` : why;
  by("pixels").textContent = entry.pixels.map(number).join(" × ");
  by("caption").textContent = `${by("pixels").textContent} pixels`;
  by("bytes").textContent = number(entry.bytes);
  by("type").textContent = entry.type;
  showTiming(entry);
  say(`${word} in ${milliseconds(entry.took)}, ${by("caption").textContent}, ${number(entry.bytes)} bytes`);
}

function showTiming(entry) {
  const inside = entry.timing.reduce((sum, [, time]) => sum + time, 0);
  const parts = [...entry.timing, ["rest", Math.max(0, entry.took - inside)]];
  by("timing").replaceChildren(...parts.map(([name, time]) => {
    const part = make("i", { className: name });
    part.style.flexGrow = time;
    return part;
  }));
  by("parts").replaceChildren(...parts.map(([name, time]) => make("li", {},
    make("span", { className: `dot ${name}` }), name === "rest" ? "the rest" : name, make("b", {}, milliseconds(time)))));
}

const pictureLink = (one) => make("a", { className: "mono", href: `img/${nameOf(one)}` }, shownUrl(one));

function remember(entry) {
  delete entry.blob;
  entries.unshift(entry);
  entries.splice(100);
  const longest = Math.max(...entries.map((one) => one.took));
  by("history").replaceChildren(...entries.map((one) => {
    const kind = one.sentence ? "error" : one.kind || "";
    const bar = make("i", { className: kind });
    bar.style.width = `${100 * one.took / longest}%`;
    return make("tr", {},
      make("td", {}, make("span", { className: `badge ${kind}`, title: one.sentence || "" }, one.sentence ? String(one.status) : (KINDS[one.kind] || ["answered"])[0])),
      make("td", { className: "number" }, milliseconds(one.took)),
      make("td", { className: "track" }, bar),
      make("td", {}, pictureLink(one.one)),
      make("td", { className: "number" }, one.pixels ? one.pixels.map(number).join(" × ") : "–"),
      make("td", { className: "number" }, one.sentence ? "–" : number(one.bytes)));
  }));
}

// The image.

async function openImage(imageId) {
  showImage(await call(`images/${quoted(imageId)}`));
}

function showImage(record) {
  image = record;
  by("name").textContent = NAMES[record.image_id] || record.image_id;
  by("origin-facts").textContent = `${number(record.width)} × ${number(record.height)} ${record.format}, ${number(record.length)} bytes`;
  by("pick").style.aspectRatio = `${record.width} / ${record.height}`;
  by("pick").style.setProperty("--tall", record.width / record.height);
  showWhole(record);
  showWanted();
}

/** All of the image, in the first of the ways that policy permits. */
function showWhole(record) {
  const folder = `img/${quoted(record.image_id)}/`;
  const ways = [`${folder}640x.jpg`, `${folder}origin.${record.format}`, ...(record.placeholder ? [record.placeholder] : [])];
  by("whole").onerror = () => { if (ways.length) by("whole").src = ways.shift(); };
  by("whole").onerror();
}

async function showStored() {
  const one = image;
  let stored;
  try {
    stored = await call(`sizes/${quoted(one.image_id)}`);
  } catch (error) {
    return by("stored-facts").replaceChildren(error.message);
  }
  if (one !== image) return;
  const { sizes, length } = stored;
  by("stored-facts").textContent = `${sizes.length} ${sizes.length === 1 ? "size" : "sizes"}; ${number(length)} bytes with the original and its working copies.`;
  by("stored").replaceChildren(...sizes.map((size) => make("tr", {},
    make("td", {}, make("button", { type: "button", className: "text mono", onclick: () => want({ size: size.size, format: size.format }, by("address"), 0) }, `${size.size}.${size.format}`)),
    make("td", { className: "number" }, `v${size.version}`),
    make("td", { className: "number" }, number(size.length)))));
}

async function forget() {
  by("forgetting").close();
  const imageId = image.image_id;
  try {
    const { objects } = await call(`images/${quoted(imageId)}`, { method: "DELETE" });
    image = null;
    await want({ imageId: document.body.dataset.image }, by("stored-card"), 0);
    by("forgotten").textContent = `${imageId} is forgotten; ${number(objects)} objects are gone.`;
  } catch (error) {
    showError(error.message, by("stored-card"));
  }
}

async function store(type, body, name, place) {
  showError("");
  say("Storing the image");
  by("stage").setAttribute("aria-busy", "true");
  try {
    const record = await call("images", { method: "POST", headers: { "Content-Type": type }, body });
    NAMES[record.image_id] = name;
    showImage(record);
    wanted = { ...wanted, imageId: record.image_id };
    showWanted();
    await ask(place);
  } catch (error) {
    by("stage").setAttribute("aria-busy", "false");
    showNothing();
    showError(error.message, place);
  }
}

// The location: a link to what is seen.

function keepInLocation(one) {
  const show = nameOf(one);
  const before = shownInLocation();
  if (show === before) return;
  history[before ? "pushState" : "replaceState"](null, "", `?show=${show.replaceAll("'", "%27")}`);
}

function shownInLocation() {
  const found = /[?&]show=([^&]*)/.exec(location.search);
  // As others may have spelled it on the way: a form, a mail program.
  return found && found[1].replaceAll("%27", "'").replaceAll("+", "%20").replaceAll(/%2f/gi, "/").replaceAll("%40", "@");
}

function readLocation() {
  const show = shownInLocation();
  if (show) wanted = takeApart(`/${show}`, "", wanted);
}

// What is listened to.

by("form").addEventListener("submit", (event) => {
  event.preventDefault();
  want(takeApart(by("url").value, MOUNT, wanted), by("address"), 0);
});
by("again").addEventListener("click", () => ask(by("address")));
by("tries").addEventListener("click", ({ target }) => {
  if (target.dataset.size) want({ size: target.dataset.size }, by("address"), 0);
});
by("controls").addEventListener("submit", (event) => event.preventDefault());
by("controls").addEventListener("input", ({ target }) => {
  if (target.name === "format") return want({ format: target.value }, by("controls"));
  if (!image) return;
  showPoint();
  want({ size: printSize(fromControls()) }, by("controls"));
});
for (const kind of ["focusin", "focusout"]) {
  by("controls").addEventListener(kind, ({ target }) => {
    const piece = target.closest("[data-control]");
    for (const one of by("pieces").children) one.classList.toggle("lit", kind === "focusin" && piece && one.dataset.piece === piece.dataset.control);
  });
}

/** A point of the image as a gravity, and a fit that uses it. */
function focusOn(x, y) {
  const percent = (value) => Math.round(Math.max(0, Math.min(100, value)));
  const now = readSize(wanted.size) || { width: "600", height: "400", fit: "cover", background: "", enlarge: false, dpr: "1" };
  const parts = withBothSides({ ...now, fit: "cover", gravity: `f${percent(x)}x${percent(y)}` });
  want({ size: printSize(parts) }, by("controls"));
}

by("pick").addEventListener("pointerdown", (event) => {
  if (event.button || !image) return;
  event.preventDefault();
  const box = by("pick").getBoundingClientRect();
  const at = ({ clientX, clientY }) => [100 * (clientX - box.left) / box.width, 100 * (clientY - box.top) / box.height];
  const crop = cropOf(readSize(wanted.size), image);
  const [beginX, beginY] = at(event);
  let dragged = false;
  const move = (moved) => {
    const [x, y] = at(moved);
    dragged ||= Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) > 4;
    if (dragged && by("pick").classList.contains("cropped")) focusOn(
      Math.max(crop.width / 2, Math.min(100 - crop.width / 2, crop.left + crop.width / 2 + x - beginX)),
      Math.max(crop.height / 2, Math.min(100 - crop.height / 2, crop.top + crop.height / 2 + y - beginY)));
  };
  const up = () => {
    if (!dragged) focusOn(beginX, beginY);
    stop();
  };
  const stop = () => {
    by("pick").removeEventListener("pointermove", move);
    by("pick").removeEventListener("pointerup", up);
    by("pick").removeEventListener("pointercancel", stop);
  };
  by("pick").setPointerCapture(event.pointerId);
  by("pick").addEventListener("pointermove", move);
  by("pick").addEventListener("pointerup", up);
  by("pick").addEventListener("pointercancel", stop);
});

by("opening").addEventListener("submit", (event) => {
  event.preventDefault();
  want({ imageId: by("image-id").value.trim() }, by("opening"), 0);
});
by("image-id").addEventListener("input", async ({ target }) => {
  const ids = await call(`images?prefix=${encodeURIComponent(target.value)}`).catch(() => []);
  by("ids").replaceChildren(...ids.map((id) => make("option", { value: id })));
});

if (document.body.dataset.change) {
  const upload = (file) => file && store("application/octet-stream", file, file.name || "An image", by("source"));
  by("file").addEventListener("change", (event) => { upload(event.target.files[0]); event.target.value = ""; });
  by("fetching").addEventListener("submit", (event) => {
    event.preventDefault();
    const url = by("source-url").value.trim();
    store("application/json", JSON.stringify({ url }), url.split(/[?#]/)[0].split("/").pop() || url, by("fetching"));
  });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
  document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    upload(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => upload(event.clipboardData.files[0]));
  by("forget").addEventListener("click", () => {
    by("forgetting-what").textContent = image.image_id;
    by("forgetting").showModal();
  });
  by("forget-yes").addEventListener("click", forget);
  by("forget-no").addEventListener("click", () => by("forgetting").close());
} else {
  for (const element of document.querySelectorAll("[data-changes]")) element.hidden = true;
}

// Asking for a picture, and what is said of the answer.

const KINDS = {
  rendered: ["rendered", "Made just now, answered at once, and handed to a worker that stores it. Ask again and see the difference."],
  hot: ["hot", "Made a moment ago and still in memory, while the worker stores it. Nothing was rendered."],
  stored: ["stored", "Read from the store. Nothing was rendered, and nothing will be: this is how it stays."],
  collapsed: ["shared", "Another request was making it at the same time; both got the same bytes."],
};
let asked = 0;
const entries = [];

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
      make("td", { className: "number more" }, one.pixels ? one.pixels.map(number).join(" × ") : "–"),
      make("td", { className: "number more" }, one.sentence ? "–" : number(one.bytes)));
  }));
}

by("again").addEventListener("click", () => ask(by("address")));

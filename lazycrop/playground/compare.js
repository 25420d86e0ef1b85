// What is copied.

const SNIPPETS = ["url", "img", "picture", "python", "curl", "share"];

async function showSnippets(one) {
  by("copies").hidden = false;
  let made;
  try {
    made = await call(`snippets/${quoted(one.imageId)}?size=${encodeURIComponent(one.size)}&format=${one.format}`);
  } catch (error) {
    by("copies").hidden = true;
    by("copies-facts").textContent = error.message;
    return;
  }
  if (one !== wanted) return;
  const url = new URL(made.url, location.origin).href;
  const curl = `curl -o '${one.size.replaceAll("'", "")}.${one.format === "auto" ? "img" : one.format}' '${url.replaceAll("'", "%27")}'`;
  const texts = { ...made, url, curl, share: location.href };
  by("copies-facts").textContent = "";
  for (const name of SNIPPETS) by(`copy-${name}`).textContent = texts[name];
}

/** The clipboard, or where a browser gives none (plain http, but for this machine) the older way. */
async function copy(name, button) {
  const code = by(`copy-${name}`);
  let done = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Press Ctrl-C";
  say(done ? "Copied" : "It is selected; press Ctrl-C");
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

by("copies").addEventListener("click", ({ target }) => target.dataset.copy && copy(target.dataset.copy, target));

// Formats side by side.

let compared = [];

function clearCompared() {
  for (const one of compared) URL.revokeObjectURL(one.src);
  compared = [];
  by("compared").hidden = true;
}

/** One after the other, so that none waits for another's CPU, and the times are their own. */
async function compare() {
  const place = by("compare-card");
  showError("", place);
  clearCompared();
  const turn = asked;
  const found = [];
  by("compare").disabled = true;
  place.setAttribute("aria-busy", "true");
  try {
    for (const format of document.body.dataset.formats.split(" ").filter((format) => format !== "auto")) {
      say(`Asking for ${format}`);
      const entry = await fetchPicture({ ...wanted, format });
      if (turn !== asked) return;
      if (entry.sentence) throw new Error(`${format}: ${entry.sentence}`);
      found.push({ format, src: URL.createObjectURL(entry.blob), ...entry });
    }
    compared = found;
    showCompared();
  } catch (error) {
    showError(error.message, place);
  } finally {
    by("compare").disabled = false;
    place.setAttribute("aria-busy", "false");
  }
}

function showCompared() {
  const largest = Math.max(...compared.map(({ bytes }) => bytes));
  const base = compared.find(({ format }) => format === "jpg") || compared[0];
  const least = compared.reduce((best, one) => one.bytes < best.bytes ? one : best);
  by("formats").replaceChildren(...compared.map((one) => {
    const bar = make("i", { className: one === least ? "stored" : "" });
    bar.style.width = `${100 * one.bytes / largest}%`;
    return make("tr", {},
      make("th", { scope: "row", className: "mono" }, one.format),
      make("td", { className: "number" }, number(one.bytes)),
      make("td", { className: "track" }, bar),
      make("td", { className: "number" }, one === base ? "–" : `${one.bytes > base.bytes ? "+" : "−"}${Math.abs(Math.round(100 * one.bytes / base.bytes - 100))} %`),
      make("td", { className: "number" }, milliseconds(one.took)),
      make("td", { className: "origin-of" }, make("span", { className: `badge ${one.kind || ""}` }, (KINDS[one.kind] || ["answered"])[0])),
      chooser("left", one, base), chooser("right", one, least === base ? compared.find((other) => other !== base) : least));
  }));
  by("compared").hidden = false;
  showSides();
  say(`${compared.length} formats; ${least.format} has the fewest bytes, ${number(least.bytes)}`);
}

const chooser = (side, one, chosen) => make("td", {}, make("input",
  { type: "radio", name: side, value: one.format, checked: one === chosen, ariaLabel: `${one.format} on the ${side}` }));

function showSides() {
  for (const side of ["left", "right"]) {
    const chosen = document.querySelector(`[name=${side}]:checked`);
    const one = compared.find(({ format }) => chosen && format === chosen.value) || compared[0];
    by(`${side}-picture`).src = one.src;
    by(`${side}-picture`).alt = `As ${one.format}`;
    by(`${side}-label`).textContent = `${one.format}, ${number(one.bytes)} bytes`;
  }
  showCut();
}

const showCut = () => by("sides").style.setProperty("--cut", `${by("cut").value}%`);

by("compare").addEventListener("click", compare);
by("formats").addEventListener("change", showSides);
by("cut").addEventListener("input", showCut);

for (const name of PRESETS.split(" ").filter(Boolean)) {
  const chip = make("button", { type: "button", className: "chip" }, name);
  chip.dataset.size = name;
  by("tries").append(chip);
}
for (const input of document.getElementsByName("format")) {
  input.closest("label").hidden = !document.body.dataset.formats.split(" ").includes(input.value);
}
addEventListener("popstate", () => { readLocation(); showWanted(); ask(by("address")); });
readLocation();
showWanted();
ask(by("address"));

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
      make("td", { className: "number more" }, one === base ? "–" : `${one.bytes > base.bytes ? "+" : "−"}${Math.abs(Math.round(100 * one.bytes / base.bytes - 100))} %`),
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

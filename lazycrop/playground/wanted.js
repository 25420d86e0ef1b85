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

by("form").addEventListener("submit", (event) => {
  event.preventDefault();
  want(takeApart(by("url").value, MOUNT, wanted), by("address"), 0);
});
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

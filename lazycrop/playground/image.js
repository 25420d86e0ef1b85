// The image: opened, stored, forgotten.

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

// What all of the page's script uses: how it speaks to the server and to its reader, and what is shown.

const by = (id) => document.getElementById(id);
const { mount: MOUNT, presets: PRESETS } = document.body.dataset;
const GONE = "The server does not answer. Is it still running?";
const NAMES = { seeding: "A field of dandelions" }; // and those of the files that are stored here
let image = null; // The record of what is shown.
let wanted = { imageId: document.body.dataset.image, size: "600x400-cover", format: "jpg" };

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

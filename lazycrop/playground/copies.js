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

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

// The start, when all of the script is there.

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

"use strict";
// The grammar of URLs, both ways; lazycrop/model/sizes.py is where it is explained.
const FORMATS = ["jpg", "png", "webp", "avif", "gif", "auto"];
const POINTS = { nw: [0, 0], n: [50, 0], ne: [100, 0], w: [0, 50], e: [100, 50], sw: [0, 100], s: [50, 100], se: [100, 100] };
const GRAMMAR = new RegExp(
  "^(?<width>[1-9][0-9]{0,4})?x(?<height>[1-9][0-9]{0,4})?" +
  "(?:-(?<fit>cover|contain|fill))?" +
  "(?:-(?<gravity>ne|nw|n|e|se|sw|s|w|f(?:0|[1-9][0-9]?|100)x(?:0|[1-9][0-9]?|100)))?" +
  "(?:-bg(?<background>(?<digit>[0-9a-f])\\k<digit>{2}|(?!(?<same>[0-9a-f])\\k<same>{5})[0-9a-f]{6}))?" +
  "(?<enlarge>-up)?(?:@(?<dpr>[23])x)?$");

/** A size's parts, or null for what is none: a preset's name, `origin`, a mistake. */
function readSize(text) {
  const found = GRAMMAR.exec(text);
  if (!found) return null;
  const { width, height, fit = "inside", gravity = "", background = "", enlarge, dpr = "1" } = found.groups;
  if (!width && !height) return null;
  if (fit !== "inside" && !(width && height)) return null;
  if (gravity && fit !== "cover" && fit !== "contain") return null;
  if (background && fit !== "contain") return null;
  return { width: width || "", height: height || "", fit, gravity, background, enlarge: Boolean(enlarge), dpr };
}

/** The pieces of a size's spelling, each with the control that it comes from; what a fit does not use is left out. */
function pieces({ width, height, fit, gravity, background, enlarge, dpr }) {
  const placed = fit === "cover" || fit === "contain";
  return [
    ["width", String(width)], ["", "x"], ["height", String(height)],
    ["fit", fit === "inside" ? "" : `-${fit}`],
    ["focus", placed && gravity ? `-${gravity}` : ""],
    ["background", fit === "contain" && background ? `-bg${background}` : ""],
    ["grow", enlarge ? "-up" : ""],
    ["density", dpr === "1" ? "" : `@${dpr}x`],
  ].filter(([, text]) => text);
}

const printSize = (parts) => pieces(parts).map(([, text]) => text).join("");

/** A colour as sizes spell it: six digits, or three where all are alike. */
const printColour = (colour) => /^(.)\1{5}$/.test(colour) ? colour.slice(0, 3) : colour;

const quoted = (text) => text.split("/").map((part) => encodeURIComponent(part).replaceAll("%40", "@")).join("/");

function unquoted(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * What somebody typed, taken apart: a whole URL, a path, `cat.jpg?size=200x100`, or a size alone, with a format or
 * without. What it does not say is that of `before`.
 */
function takeApart(typed, prefix, before) {
  const text = typed.trim();
  if (!/^(https?:\/\/|\/)/i.test(text)) return { ...before, ...sizeAndFormat(text) };
  const [whole, query = ""] = text.replace(/#.*/s, "").replace(/^https?:\/\/[^/]*/i, "").split(/\?(.*)/s);
  const path = (whole.startsWith(`${prefix}/`) ? whole.slice(prefix.length) : whole).replace(/^\/+/, "");
  const size = new URLSearchParams(query).get("size");
  const cut = path.lastIndexOf("/");
  if (size !== null) {
    const { size: imageId, format = before.format } = sizeAndFormat(unquoted(path));
    return { imageId, size, format };
  }
  if (cut < 0) return { ...before, ...sizeAndFormat(unquoted(path)) };
  const imageId = unquoted(path.slice(0, cut).replace(/\/v[1-9][0-9]*$/, ""));
  return { ...before, imageId, ...sizeAndFormat(unquoted(path.slice(cut + 1))) };
}

function sizeAndFormat(name) {
  const found = /^(.*)\.([a-z]+)$/s.exec(name);
  const format = found && (found[2] === "jpeg" ? "jpg" : found[2]);
  return found && FORMATS.includes(format) ? { size: found[1], format } : { size: name };
}

/** Where `length` begins in `space` so that its middle is at `percent` of it, or as near as it fits. */
const begins = (space, length, percent) => Math.max(0, Math.min(space * percent / 100 - length / 2, space - length));

/** The part of an image that a size shows, in per cent: {left, top, width, height}. */
function cropOf(parts, image) {
  if (!parts || parts.fit !== "cover") return { left: 0, top: 0, width: 100, height: 100 };
  const factor = Math.min(image.width / parts.width, image.height / parts.height);
  const wide = parts.width * factor, high = parts.height * factor;
  const [x, y] = pointOf(parts.gravity, image);
  return {
    left: 100 * begins(image.width, wide, x) / image.width, top: 100 * begins(image.height, high, y) / image.height,
    width: 100 * wide / image.width, height: 100 * high / image.height,
  };
}

/** A gravity as [x, y] in per cent. */
function pointOf(gravity, image) {
  if (!gravity) return image.focal || [50, 50];
  return POINTS[gravity] || gravity.slice(1).split("x").map(Number);
}

// A small line without axes beside its figure. Pages draw it on the server (macro `spark`); this redraws one when its
// figures change.

/** The path of a spark in a box of 100 by 24. */
export function sparkPath(values, width = 100, height = 24) {
  const known = values.filter((each) => each !== null);
  if (known.length < 2) return "";
  const low = Math.min(...known), span = Math.max(...known) - low;
  const step = width / (values.length - 1);
  let path = "", pen = "M";
  values.forEach((value, index) => {
    if (value === null) { pen = "M"; return; }
    const top = span ? 2 + (1 - (value - low) / span) * (height - 4) : height / 2;
    path += `${pen}${(index * step).toFixed(1)},${top.toFixed(1)}`;
    pen = "L";
  });
  return path;
}

/** Redraw a spark that the server drew. */
export function setSpark(element, values) {
  element.querySelector("path")?.setAttribute("d", sparkPath(values));
}

// What was typed on a page whose sign-in ended: this tab keeps it until the same person is back on the page.
const KEY = "segops typed";
const SKIPPED = "[type=hidden], [type=password], [type=file], [data-typed]";

const who = () => document.querySelector(".who-name")?.textContent ?? "";
const here = () => location.pathname + location.search;
const fields = (form) => [...form.elements].filter((each) => each.name && each.matches("input, select, textarea") && !each.matches(SKIPPED));
const ticked = (field) => field.matches("[type=checkbox], [type=radio]");

/** A link to the sign-in page, which leads back to this one; it keeps what is typed. */
export function signInLink(text) {
  const link = document.createElement("a");
  link.href = `/login?next=${encodeURIComponent(here())}`;
  link.textContent = text;
  link.addEventListener("click", keep);
  return link;
}

function keep() {
  const forms = [...document.forms].map((form) => fields(form).map((each) => [each.name, ticked(each) ? each.checked : each.value]));
  const open = [...document.querySelectorAll("details")].map((each) => each.open);
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ who: who(), page: here(), hash: location.hash, forms, open }));
  } catch { /* the browser keeps nothing: the person signs in all the same */ }
}

/** Put back what was typed. On another page, or for another person, it is forgotten. */
export function restore() {
  if (!who()) return; // on the way, at the sign-in page
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEY));
    sessionStorage.removeItem(KEY);
  } catch { return; }
  if (!kept || kept.who !== who() || kept.page !== here()) return;
  if (kept.hash && !location.hash) history.replaceState(history.state, "", kept.hash);
  document.querySelectorAll("details").forEach((each, number) => { each.open = kept.open[number] ?? each.open; });
  [...document.forms].forEach((form, number) => put(fields(form), kept.forms[number] ?? []));
}

function put(inputs, values) {
  if (inputs.length !== values.length || inputs.some((each, number) => each.name !== values[number][0])) return;
  inputs.forEach((each, number) => {
    const value = values[number][1];
    if ((ticked(each) ? each.checked : each.value) === value) return;
    if (ticked(each)) each.checked = value;
    else each.value = value;
    each.dispatchEvent(new Event("input", { bubbles: true }));
    each.dispatchEvent(new Event("change", { bubbles: true }));
  });
}

// Confirmations: what a form asks before it is posted becomes a dialog. Without this module it stands in the page.

/** Open a dialog with these nodes; resolves to the value of the button that closed it, "" if it was dismissed. */
export function ask(title, nodes, { confirm = "OK", tone = "primary", ready = () => true } = {}) {
  const dialog = document.createElement("dialog");
  const form = document.createElement("form");
  form.method = "dialog";
  const heading = document.createElement("h2");
  heading.textContent = title;
  heading.id = `dialog-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  dialog.setAttribute("aria-labelledby", heading.id);
  const buttons = document.createElement("div");
  buttons.className = "dialog-buttons";
  const cancel = button("Cancel", "");
  const go = button(confirm, tone);
  cancel.type = "button";
  cancel.addEventListener("click", () => dialog.close(""));
  go.value = "yes";
  buttons.append(cancel, go);
  form.append(heading, ...nodes, buttons);
  dialog.append(form);
  const check = () => { go.disabled = !ready(); };
  form.addEventListener("input", check);
  check();
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue);
      dialog.remove();
    });
  });
}

function button(label, tone) {
  const element = document.createElement("button");
  element.className = `button ${tone}`.trim();
  element.textContent = label;
  return element;
}

export function enhanceDialogs(root = document) {
  for (const form of root.querySelectorAll("form[data-confirm]")) {
    const body = form.querySelector("[data-confirm-body]");
    if (!body || form.dataset.asks) continue;
    form.dataset.asks = "yes";
    body.hidden = true;
    const typed = body.querySelector("[data-typed]");
    if (typed) typed.required = false; // the dialog asks for it
    form.addEventListener("submit", (event) => {
      if (form.dataset.confirmed) {
        delete form.dataset.confirmed;
        return;
      }
      event.preventDefault();
      confirmFirst(form, body, event.submitter);
    });
  }
}

async function confirmFirst(form, body, submitter) {
  const copy = body.cloneNode(true);
  const title = copy.querySelector("legend")?.textContent ?? submitter?.textContent ?? "Are you sure?";
  copy.querySelector("legend")?.remove();
  copy.hidden = false;
  const input = copy.querySelector("[data-typed]");
  if (input) input.removeAttribute("name");
  const tone = submitter?.classList.contains("danger") ? "danger" : "primary";
  const ready = () => !input || input.value.trim() === input.dataset.typed;
  const answer = await ask(title, [copy], { confirm: title, tone, ready });
  submitter?.focus();
  if (answer !== "yes") return;
  const original = body.querySelector("[data-typed]");
  if (original) original.value = input.value.trim();
  form.dataset.confirmed = "yes";
  form.requestSubmit(submitter ?? undefined);
}

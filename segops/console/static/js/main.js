// What every page has: the menu, times, forms, confirmations, copy buttons, sortable tables, age of what is shown.
import { localise, watchAges } from "./time.js";
import { enhanceForms } from "./forms.js";
import { enhanceDialogs } from "./dialogs.js";
import { enhanceTables } from "./tables.js";
import { restore } from "./kept.js";
import { show as showState } from "./live.js";

/** Enhance what was added to the page below `root`; pages call it after they have inserted markup. */
export function enhance(root = document) {
  localise(root);
  enhanceDialogs(root);
  enhanceForms(root);
  enhanceTables(root);
  enhanceCopying(root);
}

function enhanceCopying(root) {
  if (!navigator.clipboard) return; // without TLS, except on loopback
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = button.closest(".code").querySelector("code").textContent;
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce("Copied");
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

/** Say a sentence to screen readers. */
export function announce(text) {
  const region = document.querySelector("[data-announce]");
  if (region) region.textContent = text;
}

function enhanceMenu() {
  const button = document.querySelector(".menu-button");
  const menu = document.getElementById("menu");
  if (!button || !menu) return;
  const show = (open) => {
    menu.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => show(!menu.classList.contains("open")));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.classList.contains("open")) {
      show(false);
      button.focus();
    }
  });
}

enhanceMenu();
enhance();
restore();
document.addEventListener("signed-out", () => showState("signed-out"));
watchAges();

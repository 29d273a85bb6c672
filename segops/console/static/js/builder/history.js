// A document with its former and undone states. Edits of one control in a row are one step.

export class History {
  #past = [];
  #future = [];
  #listeners = new Set();
  #last = null;
  #present;

  constructor(present) {
    this.#present = present;
  }

  get present() {
    return this.#present;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** Call a function after every change, with how it came about: `edit`, `quiet`, `undo`, `redo` or `open`. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Replace the document. `control`: edits with the same name in a row are undone together. `quiet`: the control
   * shows the edit already, so that views need not be made again.
   */
  edit(next, { control = null, quiet = false } = {}) {
    if (next === this.#present) return;
    if (control === null || control !== this.#last) this.#past.push(this.#present);
    if (this.#past.length > MOST) this.#past.shift();
    this.#future = [];
    this.#last = control;
    this.#set(next, quiet ? "quiet" : "edit");
  }

  /** Begin with another document, of which nothing can be undone. */
  open(next) {
    this.#past = [];
    this.#future = [];
    this.#last = null;
    this.#set(next, "open");
  }

  undo() {
    if (!this.canUndo) return;
    this.#future.push(this.#present);
    this.#last = null;
    this.#set(this.#past.pop(), "undo");
  }

  redo() {
    if (!this.canRedo) return;
    this.#past.push(this.#present);
    this.#last = null;
    this.#set(this.#future.pop(), "redo");
  }

  #set(next, how) {
    this.#present = next;
    for (const listener of this.#listeners) listener(how);
  }
}

const MOST = 200;

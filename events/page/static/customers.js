// The field that finds a customer: a combobox over the customers route.

import { getCustomers } from "./api.js";
import { h } from "./dom.js";
import { count } from "./format.js";

const MOST = 8;
const PATIENCE_MILLISECONDS = 120;

/**
 * @param choose Called with the id chosen, or typed and confirmed with Enter.
 * @returns `draw`, which shows the customer that is looked at, and `close`.
 */
export function makeCustomerField({ input, list, choose }) {
  let drawn = "";
  let options = [];
  let active = -1;
  let asking = null;
  let timer = null;

  function close() {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function draw(id) {
    drawn = id;
    input.value = id;
  }

  function take(id) {
    input.value = id;
    close();
    choose(id);
  }

  function mark(index) {
    active = index;
    [...list.children].forEach((each, place) => each.setAttribute("aria-selected", String(place === index)));
    if (index < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `customer-${index}`);
      list.children[index].scrollIntoView({ block: "nearest" });
    }
  }

  function offer(customers) {
    const marked = options[active]?.customer_id;
    options = customers;
    list.replaceChildren(
      ...customers.map(({ customer_id: id, total }, index) =>
        h(
          "li",
          { id: `customer-${index}`, role: "option", "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: () => take(id) },
          h("span", { class: "id" }, id),
          h("span", { class: "total" }, count(total)),
        ),
      ),
    );
    if (!customers.length) {
      const nobody = input.value ? "No id begins with this" : "No customers yet";
      list.append(h("li", { class: "nobody", role: "option", "aria-disabled": "true", "aria-selected": "false" }, nobody));
    }
    // An answer that comes after the arrow keys takes nothing from under them.
    mark(customers.findIndex(({ customer_id: id }) => id === marked));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }

  async function ask(prefix) {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const customers = await getCustomers(prefix, MOST, signal);
      if (!signal.aborted && document.activeElement === input) offer(customers);
    } catch {
      // Without a right to list, or without an answer, an id can still be typed.
      if (!signal.aborted) close();
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PATIENCE_MILLISECONDS, input.value);
  });
  // An id that is there already is no prefix that somebody looks for.
  input.addEventListener("focus", () => {
    input.select();
    ask("");
  });
  // What is only typed is not looked at, and must not look as if it were.
  input.addEventListener("blur", () => {
    close();
    input.value = drawn;
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      if (active >= 0) take(options[active].customer_id);
      else if (input.value) take(input.value);
    } else if (event.key === "Escape") close();
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !list.hidden && options.length) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      mark((active + step + options.length + (active < 0 && step < 0 ? 1 : 0)) % options.length);
    }
  });
  return { draw, close };
}

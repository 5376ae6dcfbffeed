// The field for the customer: a combobox that suggests customer IDs as the reader types.

import { getCustomers } from "./api.js";
import { byId, h } from "./dom.js";
import { count } from "./format.js";

const MAX_SUGGESTIONS = 8;
const TYPING_PAUSE_MILLISECONDS = 120;

/**
 * @param choose Called with the chosen ID: a suggestion, or the typed text after Enter.
 * @returns `draw`, which shows the current customer, and `close`, which closes the suggestions.
 */
export function makeCustomerField({ choose }) {
  const [input, list] = [byId("customer"), byId("customers")];
  let current = "";
  let suggestions = [];
  let marked = -1;
  let query = null;
  let timer = null;

  function close() {
    clearTimeout(timer);
    query?.abort();
    list.hidden = true;
    marked = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function draw(id) {
    current = id;
    input.value = id;
  }

  function accept(id) {
    input.value = id;
    close();
    choose(id);
  }

  function mark(index) {
    marked = index;
    [...list.children].forEach((option, position) => option.setAttribute("aria-selected", String(position === index)));
    if (index < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `customer-${index}`);
      list.children[index].scrollIntoView({ block: "nearest" });
    }
  }

  function suggest(customers) {
    const markedId = suggestions[marked]?.customer_id;
    suggestions = customers;
    list.replaceChildren(
      ...customers.map(({ customer_id: id, total }, index) =>
        h(
          "li",
          { id: `customer-${index}`, role: "option", "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: () => accept(id) },
          h("span", { class: "id" }, id),
          h("span", { class: "total" }, count(total)),
        ),
      ),
    );
    if (!customers.length) {
      const text = input.value ? "No customer ID starts with this" : "No customers yet";
      list.append(h("li", { class: "nobody", role: "option", "aria-disabled": "true", "aria-selected": "false" }, text));
    }
    // Keep the mark that the arrow keys set before these suggestions arrived.
    mark(customers.findIndex(({ customer_id: id }) => id === markedId));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }

  async function querySuggestions(prefix) {
    query?.abort();
    query = new AbortController();
    const { signal } = query;
    try {
      const customers = await getCustomers(prefix, MAX_SUGGESTIONS, signal);
      if (!signal.aborted && document.activeElement === input) suggest(customers);
    } catch {
      // The key may not list customers, or the service did not respond: an ID can still be typed.
      if (!signal.aborted) close();
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(querySuggestions, TYPING_PAUSE_MILLISECONDS, input.value);
  });
  input.addEventListener("focus", () => {
    input.select();
    // Not the current ID as a prefix: the reader is looking for another customer.
    querySuggestions("");
  });
  // Text that was typed but not accepted must not look like the current customer.
  input.addEventListener("blur", () => {
    close();
    input.value = current;
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      if (marked >= 0) accept(suggestions[marked].customer_id);
      else if (input.value) accept(input.value);
    } else if (event.key === "Escape") close();
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !list.hidden && suggestions.length) {
      event.preventDefault();
      if (event.key === "ArrowDown") mark((marked + 1) % suggestions.length);
      else mark((marked <= 0 ? suggestions.length : marked) - 1);
    }
  });
  return { draw, close };
}

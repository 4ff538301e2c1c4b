// The delivery of an order: it is collected, or sent to an address, which this browser keeps for the next order.

import { address, customer, keepAddress } from "./customer.js";
import { element } from "./dom.js";
import { field } from "./form.js";

const LINE = { maxlength: "100", required: true };

/** {node, value, complain}: the choice. The value is undefined for an order that is collected. */
export function delivery() {
  const kept = address();
  const fields = [
    field("delivery-name", "Name of the recipient", { ...LINE, autocomplete: "name", value: kept?.name ?? customer()?.name }),
    field("delivery-street", "Street and number", { ...LINE, autocomplete: "street-address", value: kept?.street }),
    field("delivery-postcode", "Postal code, if there is one", { ...LINE, required: false, autocomplete: "postal-code", value: kept?.postcode }),
    field("delivery-city", "Town", { ...LINE, autocomplete: "address-level2", value: kept?.city }),
    field("delivery-country", "Country, as a code of two letters", { ...LINE, maxlength: "2", autocomplete: "country", value: kept?.country }),
  ];
  const lines = element("div", { class: "stack address", hidden: !kept }, fields.map(({ node }) => node));
  const choice = (value, text, checked) =>
    element(
      "label",
      { class: "choice" },
      element("input", { type: "radio", name: "delivery", value, checked, on: { change: () => (lines.hidden = value === "collect") } }),
      text,
    );
  const node = element(
    "fieldset",
    { class: "stack choices" },
    element("legend", {}, "How do you get it?"),
    choice("collect", "I collect it at the quay", !kept),
    choice("send", "Send it to an address", Boolean(kept)),
    lines,
  );
  return { node, value: () => value(lines, fields), complain: (name, text) => complain(lines, fields, name, text) };
}

function value(lines, fields) {
  for (const { clear } of fields) clear();
  if (lines.hidden) return keepAddress(null);
  const given = Object.fromEntries(fields.map(({ name, value }) => [name.replace("delivery-", ""), value() ?? ""]));
  const { postcode, ...address } = { ...given, country: given.country.toUpperCase() };
  return keepAddress(postcode ? { ...address, postcode } : address);
}

/** Shows a complaint at a line of the address; returns false if there is no such line. */
function complain(lines, fields, name, text) {
  const blamed = !lines.hidden && fields.find((field) => field.name === name.replace("delivery.", "delivery-"));
  if (blamed) blamed.complain(text);
  return Boolean(blamed);
}

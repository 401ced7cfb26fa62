"use strict";
// What the pages of ref/report and ref/xray share: elements whose texts come from files that nobody vouches for.
const $ = (id) => document.getElementById(id);

// What cannot be seen, or turns the direction of what follows, is spelled out.
const shown = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (c) => "‹U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "›");

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}
const nameOf = (text) => make("bdi", {class: "name"}, shown(text));


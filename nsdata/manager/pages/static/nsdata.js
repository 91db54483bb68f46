// Says so when the page no longer follows, because the manager does not answer; says to who does
// not see it what has changed, in one line, not the whole part; tells the manager whether somebody
// is at the page, for a page that only follows keeps no session; Escape leaves a question.
"use strict";
let acted = false;
for (const name of ["pointerdown", "keydown", "wheel", "touchmove"]) {
  document.addEventListener(name, () => { acted = true; }, { passive: true, capture: true });
}
document.addEventListener("DOMContentLoaded", () => {
  const lost = document.getElementById("lost");
  const says = (on) => () => { if (lost) lost.hidden = !on; };
  for (const name of ["sendError", "timeout", "responseError"]) {
    document.body.addEventListener("htmx:" + name, says(true));
  }
  const heard = new Map();
  const changed = () => {
    const found = [];
    for (const one of document.querySelectorAll("[data-says]")) {
      if (heard.get(one.id) !== one.dataset.says) found.push(one.dataset.says);
      heard.set(one.id, one.dataset.says);
    }
    return found.join(". ");
  };
  changed();
  document.body.addEventListener("htmx:afterSettle", () => {
    const now = changed();
    if (now) document.getElementById("said").textContent = now;
  });
  let asked = "";
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target.id === "confirm") asked = document.activeElement.id;
  });
  document.addEventListener("keydown", (event) => {
    const confirm = document.getElementById("confirm");
    if (event.key !== "Escape" || !confirm || !confirm.firstElementChild) return;
    confirm.replaceChildren();
    const before = document.getElementById(asked);
    if (before) before.focus();
  });
  document.body.addEventListener("htmx:configRequest", (event) => {
    if (acted) event.detail.headers["X-Acted"] = "1";
    acted = false;
  });
  document.body.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful) says(false)();
  });
});

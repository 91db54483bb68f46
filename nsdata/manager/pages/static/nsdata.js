// Says so when the page no longer follows, because the manager does not answer; and tells the
// manager whether somebody is at the page, for a page that only follows keeps no session.
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
  document.body.addEventListener("htmx:configRequest", (event) => {
    if (acted) event.detail.headers["X-Acted"] = "1";
    acted = false;
  });
  document.body.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful) says(false)();
  });
});

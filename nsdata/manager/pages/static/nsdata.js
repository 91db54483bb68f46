// Says so when the page no longer follows, because the manager does not answer.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const lost = document.getElementById("lost");
  const says = (on) => () => { if (lost) lost.hidden = !on; };
  for (const name of ["sendError", "timeout", "responseError"]) {
    document.body.addEventListener("htmx:" + name, says(true));
  }
  document.body.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful) says(false)();
  });
});

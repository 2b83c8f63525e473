// Keeps the page of `nosce view` as the store is: asks every two seconds whether it has changed, and takes the parts
// that have from the page that the server writes. No text becomes markup here.
"use strict";

(() => {
  const EVERY = 2000;
  const contact = document.getElementById("contact");

  function tell(words) {
    if (contact.textContent !== words) contact.textContent = words;
  }

  async function ask(path) {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    return answer;
  }

  async function renew() {
    const page = new DOMParser().parseFromString(await (await ask("/")).text(), "text/html");
    for (const id of ["live", "ledger"]) {
      const old = document.getElementById(id);
      const fresh = page.getElementById(id);
      if (fresh && !old.isEqualNode(fresh)) old.replaceWith(document.adoptNode(fresh));
    }
    document.body.dataset.stamp = page.body.dataset.stamp;
  }

  async function look() {
    try {
      const state = await (await ask("/live.json")).json();
      if (state.stamp !== document.body.dataset.stamp) await renew();
      tell("");
    } catch {
      tell("nosce view does not answer; what stands here is as it was last seen.");
    }
    setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
  }

  setTimeout(look, EVERY);
})();

// Keeps a page that is served up to date: asks for what has changed, and changes only that. Scrolling, open details and charts stay.
"use strict";
(() => {
  const FAILED_S = 5;
  const TIMES = 60, MOST_S = 20; // after a change that took long to show, the next one waits so many times as long
  const { show, data } = globalThis.sweepReport;
  let { version } = data, serial = 0, refreshes = 0, waiting = 0, busy = false;

  const status = document.createElement("p");
  status.className = "quiet";
  status.id = "connection";
  status.setAttribute("role", "status");
  document.body.prepend(status);

  // Makes a node of the page equal to a fresh one. What has an id is recognised by it; a figure's chart is drawn by `show`.
  function morph(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) { old.replaceWith(fresh); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) { old.nodeValue = fresh.nodeValue; return; }
    if (old.nodeName === "FIGURE" && old.id) return;
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value && !reads(old, name)) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !reads(old, name)) old.removeAttribute(name);
    const known = new Map([...old.children].filter(({ id }) => id).map((child) => [child.id, child]));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = child.id && known.get(child.id);
      if (same) {
        if (same === at) at = at.nextSibling;
        else old.insertBefore(same, at);
        morph(same, child);
      } else if (at && !at.id && !child.id) {
        const next = at.nextSibling;
        morph(at, child);
        at = next;
      } else old.insertBefore(child, at);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // Whether an attribute is what the reader has made of it.
  const reads = (element, name) => name === "open" && element.nodeName === "DETAILS";

  const parsed = (text) => new DOMParser().parseFromString(text, "text/html");

  const frame = () => new Promise(requestAnimationFrame);

  async function asked(path) {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  }

  async function refresh() {
    const state = await (await asked(`state?seen=${serial}`)).json();
    const whole = state.version !== version && await (await asked("/")).text(), began = performance.now();
    if (whole) {
      const page = parsed(whole);
      for (const part of ["header", "main"]) morph(document.querySelector(part), page.querySelector(part));
      const fresh = JSON.parse(page.getElementById("data").textContent);
      version = fresh.version;
      show(fresh, state.ended);
    }
    const now = document.getElementById("now");
    if (state.now && now) morph(now, parsed(state.now).getElementById("now"));
    if (state.charts) show(state);
    const took = performance.now() - began;
    await frame();
    await frame(); // the charts that are in sight have been drawn
    status.textContent = state.ended ? "No session runs: this is the report of all that has run." : "";
    if (state.serial !== serial) document.body.dataset.refreshMs = String(performance.now() - began);
    serial = state.serial;
    document.body.dataset.refreshed = String(++refreshes);
    return Math.max(state.again_s, Math.min(MOST_S, (TIMES * took) / 1000));
  }

  async function poll() {
    if (busy) return;
    busy = true;
    clearTimeout(waiting);
    let seconds = FAILED_S;
    try {
      seconds = await refresh();
    } catch (error) {
      status.textContent = error instanceof TypeError ? "The page's server has ended or cannot be reached: this is the last state." : error.message;
    }
    busy = false;
    if (!document.hidden) waiting = setTimeout(poll, 1000 * seconds);
  }

  document.addEventListener("visibilitychange", () => document.hidden || poll());
  poll();
})();

// What moves on the pages. Without it they work, and stand still.
(() => {
  "use strict";

  // Times: "3 minutes ago" on the screen, the exact moment for the pointer.
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });
  const units = [["second", 60, 60], ["minute", 60, 60], ["hour", 48, 24], ["day", 60, 30.44], ["month", 24, 12], ["year", Infinity, 1]];

  function ago(ms) {
    let n = ms / 1000;
    if (Math.abs(n) < 10) return "just now";
    if (Math.abs(n) < 55) n = Math.round(n / 10) * 10; // seconds that tick are unrest
    for (const [unit, next, length] of units) {
      if (Math.abs(Math.round(n)) < next) return relative.format(Math.round(n), unit);
      n /= length;
    }
  }

  function tellTimes() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[datetime]")) {
      const text = ago(Date.parse(time.dateTime) - now);
      if (text && time.textContent !== text) time.textContent = text;
    }
  }
  tellTimes();
  setInterval(() => { if (!document.hidden) tellTimes(); }, 5000);

  // The live part: asked for again and again while the page is in sight, the less
  // often the longer an answer takes.
  const offline = document.getElementById("offline");
  const tags = new Map(); // of what is on the screen, by its address
  let timer = 0, fails = 0, began = 0;

  const live = () => document.querySelector("[data-live]");

  function later(ms) {
    clearTimeout(timer);
    timer = setTimeout(poll, ms);
  }

  function poll() {
    const part = live();
    if (!part || document.hidden) return; // it goes on when the page is seen again
    began = performance.now();
    htmx.trigger(part, "refresh");
    later(30000); // should no end be told
  }

  function away(is, text) {
    if (text) offline.querySelector(".text").textContent = text;
    offline.hidden = !is;
    document.body.classList.toggle("stale", is);
  }

  const isPoll = (ctx) => ctx && ctx.sourceElement && ctx.sourceElement.matches("[data-live]");

  document.addEventListener("htmx:config:request", (event) => {
    const ctx = event.detail.ctx;
    if (isPoll(ctx) && tags.has(ctx.request.action)) ctx.request.headers["If-None-Match"] = tags.get(ctx.request.action);
  });
  document.addEventListener("htmx:after:request", (event) => {
    const ctx = event.detail.ctx, status = ctx.response.status;
    if (!isPoll(ctx)) return;
    if (status === 404 || status === 403) return location.reload(); // it is no longer what it was
    ctx.failed = status >= 500;
    if (ctx.failed) return away(true, "The control plane can't answer now. Trying again…");
    const tag = ctx.response.headers.get("ETag");
    tags.clear();
    if (tag) tags.set(ctx.request.action, tag);
  });
  document.addEventListener("htmx:response:error", (event) => {
    const ctx = event.detail.ctx;
    if (!isPoll(ctx) && ctx.response.status !== 422 && ctx.response.status !== 401) {
      say("That did not work: " + titleOf(ctx.text, ctx.response.status), "warn");
    }
  });
  document.addEventListener("htmx:error", (event) => {
    const ctx = event.detail.ctx;
    if (!ctx) return;
    ctx.failed = true;
    if (isPoll(ctx)) away(true, "The control plane does not answer. Trying again…");
    else say("The control plane does not answer. Nothing is known to have changed.", "warn");
  });
  document.addEventListener("htmx:before:swap", (event) => {
    const ctx = event.detail.ctx;
    if (!isPoll(ctx)) {
      tags.clear();
      return;
    }
    // An answer to filters that have changed meanwhile is no longer wanted.
    if (ctx.sourceElement.getAttribute("hx-get") !== ctx.request.action) return event.preventDefault();
    ctx.before = states();
  });
  document.addEventListener("htmx:after:swap", (event) => {
    tellTimes();
    const ctx = event.detail.ctx;
    if (ctx.before) announce(ctx.before, states());
    else if (ctx.target) document.getElementById(ctx.target.id)?.querySelector("[aria-invalid]")?.focus();
    document.dispatchEvent(new Event("page:swapped"));
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const ctx = event.detail.ctx;
    if (!isPoll(ctx)) return;
    const every = Number(live()?.dataset.live || 3) * 1000, took = performance.now() - began;
    fails = ctx.failed ? fails + 1 : 0;
    if (!fails) away(false);
    later(fails ? Math.min(every * 2 ** (fails - 1), 15000) : Math.max(every, 10 * took));
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { tellTimes(); later(50); } });
  window.addEventListener("online", () => later(50));
  window.addEventListener("pageshow", (event) => {
    for (const button of document.querySelectorAll("button[data-busy]")) { button.disabled = false; button.removeAttribute("data-busy"); }
    if (event.persisted) later(50);
  });
  if (live()) later(Number(live().dataset.live) * 1000);

  function titleOf(html, status) {
    const found = new DOMParser().parseFromString(html, "text/html").querySelector("main h1");
    return found ? found.textContent : "answer " + status;
  }

  // Who can't see the list hears what changed in it.
  function states() {
    const all = new Map();
    for (const one of document.querySelectorAll("#live [data-title][data-state], #live[data-title][data-state]")) {
      const word = one.querySelector(".state");
      all.set(one.dataset.tunnel || one.dataset.pod, [one.dataset.title, word ? word.textContent.trim() : one.dataset.state]);
    }
    return all;
  }

  function announce(before, after) {
    const news = [];
    for (const [id, [title, state]] of after) {
      const old = before.get(id);
      if (old && old[1] !== state) news.push(title + ": " + state);
    }
    if (news.length) document.getElementById("said").textContent = news.slice(0, 3).join(", ") + (news.length > 3 ? " and " + (news.length - 3) + " more" : "");
  }

  // Notices go away by themselves, unless somebody is at them.
  function say(text, kind) {
    const toast = document.createElement("p");
    toast.className = "toast " + kind;
    toast.dataset.notice = "";
    toast.textContent = text + " ";
    const close = document.createElement("button");
    close.type = "button";
    close.className = "quiet";
    close.dataset.dismiss = "";
    close.setAttribute("aria-label", "Dismiss");
    close.textContent = "×";
    toast.append(close);
    document.getElementById("notice").replaceChildren(toast);
  }

  setInterval(() => {
    const toast = document.querySelector("[data-notice].ok");
    if (!toast || toast.matches(":hover, :focus-within")) return;
    toast.dataset.age = Number(toast.dataset.age || 0) + 1;
    if (toast.dataset.age > 7) toast.remove();
  }, 1000);

  // Buttons
  async function copy(button) {
    const source = document.querySelector(button.dataset.copy);
    let done = false;
    try {
      await navigator.clipboard.writeText(source.textContent);
      done = true;
    } catch {
      getSelection().selectAllChildren(source); // one key is left to press
    }
    const was = button.dataset.was || (button.dataset.was = button.textContent);
    button.textContent = done ? "Copied" : "Selected";
    document.getElementById("said").textContent = done ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => { button.textContent = was; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    let hit;
    if ((hit = at("[data-copy]"))) copy(hit);
    else if (at("[data-dismiss]")) at("[data-notice]").remove();
    else if (at("[data-retry]")) poll();
    else if (at("[data-close]")) at("dialog").close();
    else if (event.target instanceof HTMLDialogElement) event.target.close(); // beside it
    else if ((hit = at("[data-dialog]"))) {
      const dialog = document.getElementById(hit.dataset.dialog);
      if (!dialog) return;
      event.preventDefault();
      dialog.showModal();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches("a[role=button]")) {
      event.preventDefault();
      event.target.click();
    }
  });
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || event.target.hasAttribute("hx-get") || event.target.hasAttribute("hx-post")) return;
    setTimeout(() => { button.disabled = true; button.dataset.busy = ""; }); // twice would do it twice
  });

  // The first wrong field is where to go on.
  const wrong = document.querySelector("[aria-invalid]");
  if (wrong) wrong.focus();
})();

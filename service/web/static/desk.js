// The desk by keyboard, and lists that follow what happens. Pages work without it: what it does is
// press what is on the page. What can be pressed says so itself:
//   data-item   a ticket in a list; data-open its link, which j and k move to
//   data-key    pressed (a field: focused; a details: opened) by this key, in the current item first
//   data-go     a link that `g` and this key follow
//   data-changes  a list that is fetched anew when the stream at this address says so
"use strict";
(() => {
  const html = document.documentElement;
  const all = (what, under = document) => [...under.querySelectorAll(what)];
  const shown = (e) => e.checkVisibility();
  const OFF = "banjie.keys";
  let keysOff = false;
  try { keysOff = localStorage.getItem(OFF) === "off"; } catch { /* a browser that keeps nothing */ }
  html.classList.add("scripted");
  html.classList.toggle("keyless", keysOff);

  // Keyboard

  const typing = (e) =>
    e && (e.isContentEditable || e.matches("textarea, select") ||
      (e.matches("input") && !e.matches("[type=checkbox], [type=button], [type=submit]")));
  const item = () => document.activeElement && document.activeElement.closest("[data-item]");

  function move(by) {
    const links = all("[data-item] [data-open]").filter(shown);
    if (!links.length) return false;
    const now = item();
    const at = now ? links.findIndex((e) => now.contains(e)) : -1;
    const next = now ? at + by : by > 0 ? 0 : links.length - 1;
    const to = links[Math.min(Math.max(next, 0), links.length - 1)];
    to.focus();
    to.closest("[data-item]").scrollIntoView({ block: "nearest" });
    return true;
  }

  function press(target) {
    if (target.matches("details")) {
      target.open = true;
      (target.querySelector("form:last-of-type :is(input:not([type=hidden]), textarea, select)") ||
        target.querySelector("button")).focus();
      target.scrollIntoView({ block: "nearest" });
    } else if (target.matches("input:not([type=checkbox]), textarea, select")) {
      target.focus();
      if (target.select) target.select();
    } else {
      // Who chose nothing means the ticket that they stand on.
      const group = target.dataset.of;
      const here = item();
      if (group && here && !document.querySelector(`[name=${group}]:checked`)) {
        const box = here.querySelector(`[name=${group}]`);
        if (!box) return;
        box.checked = true;
      }
      target.click();
    }
  }

  let going = 0;
  const help = document.getElementById("keys");

  document.addEventListener("keydown", (event) => {
    // A key that composes Chinese is the input method's; 229 is what some browsers say instead.
    if (event.isComposing || event.keyCode === 229 || event.defaultPrevented) return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const on = document.activeElement;
    if (event.key === "Escape" && typing(on) && !document.querySelector("dialog[open]")) {
      on.blur();
      // Who came to the field from a ticket of a list stands on that ticket again.
      on.closest("[data-item]")?.querySelector("[data-open]")?.focus({ preventScroll: true });
      return;
    }
    if (keysOff || typing(on) || document.querySelector("dialog[open]")) return;
    const key = event.key;
    const took = () => event.preventDefault();
    if (going && Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(key)}"]`);
      if (link) { took(); link.click(); }
      return;
    }
    going = 0;
    if (key === "g") { going = Date.now(); return; }
    if (key === "?") {
      if (!help) return;
      took();
      help.showModal();
      htmx.trigger(help, "wanted");
      return;
    }
    if (key === "/") {
      took();
      const field = document.querySelector("[data-key='/']") || document.querySelector("[type=search]");
      if (field) press(field); else location.assign("/desk/tickets#q");
      return;
    }
    const isArrow = key === "ArrowDown" || key === "ArrowUp";
    if (key === "j" || key === "k" || (isArrow && item() && !on.matches("input"))) {
      if (move(key === "j" || key === "ArrowDown" ? 1 : -1)) took();
      return;
    }
    if (key.length !== 1) return;
    const what = `[data-key="${CSS.escape(key)}"]`;
    const here = item();
    const inItem = here && all(what, here).find(shown);
    // What belongs to one ticket of a list is done to the one that somebody stands on, or not at all.
    const target = inItem || all(what).find((e) => shown(e) && !e.closest("[data-item]"));
    if (target) { took(); press(target); }
  });

  if (location.hash === "#q") document.getElementById("q")?.focus();

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-switch]")) return;
    keysOff = !event.target.checked;
    html.classList.toggle("keyless", keysOff);
    try { localStorage.setItem(OFF, keysOff ? "off" : "on"); } catch { /* then until the next page */ }
  });
  const showSwitch = () => all("[data-switch]").forEach((e) => {
    e.checked = !keysOff;
    e.closest("[hidden]")?.removeAttribute("hidden");
  });
  document.addEventListener("htmx:afterSettle", showSwitch);
  showSwitch();

  document.addEventListener("click", (event) => {
    const every = event.target.closest("[data-all]");
    if (!every) return;
    const boxes = all(`[name=${every.dataset.all}]`);
    const set = boxes.some((e) => !e.checked);
    boxes.forEach((e) => { e.checked = set; });
  });

  // Lists that follow

  const live = () => document.querySelector("[data-changes]");
  if (!live()) return;
  let stream = null;
  let kept = null;

  function fetched() { htmx.trigger(live(), "refresh"); }

  function follow() {
    if (document.hidden || stream) return;
    const list = live();
    stream = new EventSource(`${list.dataset.changes}&mark=${list.dataset.mark}`);
    stream.addEventListener("changed", () => {
      document.getElementById("live-told").textContent = "列表已更新";
      fetched();
    });
    stream.addEventListener("over", () => location.reload());
  }
  function leave() {
    stream?.close();
    stream = null;
  }
  // A browser has few connections to one server: only what is looked at follows.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { leave(); return; }
    fetched();
    follow();
  });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", follow);
  follow();
  // How long is left changes by itself; where no stream can be had it also shows what is new.
  setInterval(() => { if (!document.hidden) fetched(); }, 60_000);

  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!event.detail.target.matches("[data-changes]")) return;
    kept = {
      chosen: all("[data-changes] :checked").map((e) => e.value),
      no: item()?.dataset.item,
      open: document.activeElement?.matches("[data-open]"),
    };
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (!kept) return;
    all("[data-changes] [type=checkbox]").forEach((e) => { e.checked = kept.chosen.includes(e.value); });
    const back = kept.no && document.querySelector(`[data-item="${CSS.escape(kept.no)}"]`);
    if (back) back.querySelector(kept.open ? "[data-open]" : "[type=checkbox], [data-open]")?.focus();
    kept = null;
    all("[data-all]").forEach((e) => e.removeAttribute("hidden"));
  });
  all("[data-all]").forEach((e) => e.removeAttribute("hidden"));
})();

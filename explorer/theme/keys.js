"use strict";
/* Keys: j and k walk through the concepts, / goes to the search, ? shows the list. Typing is never disturbed. */
(() => {
  const TYPING = "input:not([type=range]), textarea, select, [contenteditable=true], [role=listbox], [role=option]";
  const KEYS = [
    ["j", "next concept"], ["k", "previous concept"], ["/", "search"], ["space", "play or pause"],
    ["← →", "half a second back or on, where a waveform has the focus"], ["?", "this list"], ["Esc", "close"],
  ];
  const rows = () => [...document.querySelectorAll("#concepts tr[data-latent]")];
  let turning = null; // which row to choose once another page of the list is there

  function walk(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
    const row = all[at + step] || (at < 0 ? all[0] : null);
    if (row) return choose(row);
    const button = document.getElementById(step > 0 ? "next" : "previous");
    if (button && !button.disabled) { turning = { step, first: all[0].dataset.latent }; button.click(); }
  }

  function choose(row) {
    row.click();
    row.scrollIntoView({ block: "nearest" });
  }

  new MutationObserver(() => {
    const all = turning ? rows() : [];
    if (!all.length || all[0].dataset.latent === turning.first) return;
    const row = turning.step > 0 ? all[0] : all[all.length - 1];
    turning = null;
    choose(row);
  }).observe(document.documentElement, { childList: true, subtree: true });

  function help() {
    let box = document.getElementById("key-list");
    if (!box) {
      box = document.createElement("dialog");
      box.id = "key-list";
      box.className = "ard";
      const lines = KEYS.map(([key, words]) => `<dt><kbd>${key}</kbd></dt><dd>${words}</dd>`).join("");
      box.innerHTML = `<h2>Keys</h2><dl>${lines}</dl><form method="dialog"><button>Close</button></form>`;
      (document.querySelector(".gradio-container") || document.body).append(box);
      box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
    }
    if (box.open) box.close();
    else box.showModal();
  }

  document.addEventListener("click", (event) => { if (event.target.closest?.("#keys")) help(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPING)) return;
    if (event.key === "?") { event.preventDefault(); return help(); }
    if (document.getElementById("key-list")?.open) return;
    if (event.key === "j") walk(1);
    if (event.key === "k") walk(-1);
    if (event.key === "/") {
      const box = document.querySelector("#search input, #search textarea, #map-search input, #map-search textarea, #steer-add input, #steer-add textarea");
      if (box) { event.preventDefault(); box.focus(); box.select(); }
    }
  });
})();

/* Clips of the rating page: a clip counts as heard when it ended and nearly all of it was played. */
const CLOCK = "ardRateClock";
window[CLOCK] ||= (() => { // seconds with the page in view since the last answer
  let from = performance.now();
  let spent = 0;
  const flush = () => { const now = performance.now(); if (!document.hidden) spent += now - from; from = now; };
  document.addEventListener("visibilitychange", () => {
    const now = performance.now();
    if (document.hidden) spent += now - from;
    from = now;
  });
  return () => { flush(); const seconds = spent / 1000; spent = 0; return seconds; };
})();
const ENOUGH = 0.95; // share of the clip that has to be played; seeking past the rest does not count

const told = (card, kind) => trigger(kind, {
  position: Number(card.closest("[data-position]").dataset.position),
  clip: Number(card.dataset.index),
  seconds: window[CLOCK](),
});
const say = (card, text) => { card.querySelector(".tick").textContent = text; };
element.addEventListener("ended", (event) => {
  const card = event.target.closest(".clip");
  if (!card || !document.querySelector("#rate-panel [data-step=listen]")) return;
  const { played, duration } = event.target;
  let sum = 0;
  for (let i = 0; i < played.length; i += 1) sum += played.end(i) - played.start(i);
  if (sum < ENOUGH * duration) return say(card, "a part was skipped: play it whole");
  say(card, "");
  card.classList.add("was-heard");
  told(card, "heard");
}, true);
element.addEventListener("error", (event) => {
  const card = event.target.closest?.(".clip");
  if (card && !card.classList.contains("was-heard")) { card.classList.add("was-failed"); told(card, "failed"); }
}, true);

/* A new item begins at the top. */
let position = null;
new MutationObserver(() => {
  const now = element.querySelector("[data-position]")?.dataset.position ?? null;
  if (position !== null && now !== position) window.scrollTo(0, 0);
  position = now;
}).observe(element, { childList: true, subtree: true });

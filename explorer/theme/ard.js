"use strict";
/* One clip at a time, level-matched, 10 ms fades. Listeners sit on the document, so cards may come and go. */
(() => {
  const FADE = 0.01; // seconds
  let context = null;
  let current = null; // the card that sounds or sounded last
  const gains = new WeakMap(); // <audio> -> GainNode

  const cardOf = (node) => (node instanceof Element ? node.closest(".clip") : null);
  const audioOf = (card) => card && card.querySelector("audio");
  const duration = (card) => Number(card.dataset.duration) || audioOf(card).duration || 0;

  function gainOf(card) {
    const audio = audioOf(card);
    if (!gains.has(audio)) {
      context = context || new AudioContext();
      const gain = context.createGain();
      gain.gain.value = 0;
      context.createMediaElementSource(audio).connect(gain).connect(context.destination);
      gains.set(audio, gain);
    }
    return gains.get(audio);
  }

  function fade(card, to) {
    const gain = gainOf(card).gain;
    const now = context.currentTime;
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(to, now + FADE);
  }

  function pause(card) {
    const audio = audioOf(card);
    if (!audio || audio.paused) return;
    fade(card, 0);
    card.classList.remove("playing");
    setTimeout(() => { if (!card.classList.contains("playing")) audio.pause(); }, FADE * 1000 + 5);
  }

  async function play(card) {
    const audio = audioOf(card);
    if (!audio) return;
    if (current && current !== card) pause(current);
    current = card;
    gainOf(card);
    card.classList.add("playing", "touched");
    try {
      await context.resume();
      await audio.play();
      fade(card, Number(card.dataset.gain) || 1);
      requestAnimationFrame(() => follow(card));
    } catch (error) {
      card.classList.remove("playing");
      if (error.name !== "AbortError") fail(card);
    }
  }

  function fail(card) {
    card.querySelector(".caption").textContent = "This clip could not be played: its audio file is missing or unreadable.";
  }

  const toggle = (card) => (card.classList.contains("playing") ? pause(card) : play(card));

  function show(card) {
    const audio = audioOf(card);
    const share = duration(card) ? Math.min(1, audio.currentTime / duration(card)) : 0;
    card.querySelector(".playhead").style.left = 100 * share + "%";
    card.querySelector(".now").textContent = audio.currentTime.toFixed(1);
    card.querySelector(".seek").setAttribute("aria-valuenow", audio.currentTime.toFixed(1));
    const step = Number(card.dataset.token);
    const token = step ? Math.floor(audio.currentTime / step) : -1;
    card.querySelectorAll(".strip rect.lit").forEach((lit) => {
      if (lit.dataset.t !== String(token)) lit.classList.remove("lit");
    });
    if (!card.classList.contains("playing")) return;
    card.querySelectorAll(`.strip rect[data-t="${token}"]`).forEach((now) => now.classList.add("lit"));
  }

  function follow(card) {
    if (!card.isConnected) return;
    show(card);
    if (card.classList.contains("playing")) requestAnimationFrame(() => follow(card));
  }

  function seek(card, seconds) {
    const audio = audioOf(card);
    if (!audio) return;
    const to = Math.max(0, Math.min(duration(card) - 0.01, seconds));
    const go = () => { audio.currentTime = to; card.classList.add("touched"); show(card); };
    if (audio.readyState >= 1) return go();
    audio.addEventListener("loadedmetadata", go, { once: true });
    audio.load();
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#jump")) return document.getElementById("list").scrollIntoView();
    const card = cardOf(event.target);
    if (!card) return;
    if (event.target.closest(".play")) return toggle(card);
    const bar = event.target.closest(".seek");
    if (bar) {
      const box = bar.getBoundingClientRect();
      seek(card, (duration(card) * (event.clientX - box.left)) / box.width);
    }
  });

  document.addEventListener("ended", (event) => {
    const card = cardOf(event.target);
    if (card) { card.classList.remove("playing"); show(card); }
  }, true);
  document.addEventListener("error", (event) => {
    const card = event.target instanceof HTMLAudioElement && cardOf(event.target);
    if (card) { card.classList.remove("playing"); fail(card); }
  }, true);

  const TYPING = "input, textarea, select, [contenteditable=true], [role=listbox], [role=option]";
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPING)) return;
    const card = cardOf(event.target);
    if (card && event.target.classList.contains("seek") && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
      event.preventDefault();
      return seek(card, audioOf(card).currentTime + (event.key === "ArrowRight" ? 0.5 : -0.5));
    }
    if (event.key === " " && !event.target.closest?.("button, summary, a, tr, [role=slider]:not(.seek)")) {
      const chosen = card || (current && current.isConnected ? current : document.querySelector(".clip"));
      if (chosen) { event.preventDefault(); toggle(chosen); }
    }
  });

  /* A card that leaves the page falls silent; one that somebody's click asked for plays. */
  new MutationObserver(() => {
    if (current && !current.isConnected) { audioOf(current)?.pause(); current = null; }
    const asked = document.querySelector("[data-autoplay] .clip"); // a point of the map was clicked
    if (asked) { asked.closest("[data-autoplay]").removeAttribute("data-autoplay"); play(asked); }
  }).observe(document.documentElement, { childList: true, subtree: true });

  /* The address bar holds the state; what others put there (?__theme=dark) stays. */
  window.ardAddress = (query) => {
    const params = new URLSearchParams(location.search);
    window.ardKeys.forEach((key) => params.delete(key));
    new URLSearchParams(query || "").forEach((value, key) => params.set(key, value));
    const text = params.toString();
    history.replaceState(null, "", location.pathname + (text ? "?" + text : "") + location.hash);
  };
})();

/* The panel of the rating page: begin, describe, rate. Nothing moves on before the server has stored it. */
const stage = () => element.querySelector("[data-step]");
const at = () => Number(stage().dataset.position);
const seconds = () => (window.ardRateClock ? window.ardRateClock() : null);
const draft = () => "ard-rate-draft-" + location.search + "-" + at();
const busy = (button) => { button.disabled = true; setTimeout(() => { if (button.isConnected) refresh(); }, 4000); };

function refresh() {
  const button = element.querySelector("form button");
  const words = element.querySelector("textarea");
  if (words) {
    button.disabled = !words.value.trim();
    element.querySelector("#rate-left").textContent = words.maxLength - words.value.length;
  } else if (button) {
    button.disabled = !element.querySelector("input:checked");
  }
}

function submit(form) {
  const button = form.querySelector("button");
  if (button.disabled) return;
  busy(button);
  if (form.dataset.action === "describe") {
    trigger("describe", { position: at(), text: form.querySelector("textarea").value, seconds: seconds() });
  } else {
    trigger("rate", { position: at(), rating: Number(form.querySelector("input:checked").value), seconds: seconds() });
  }
}

element.addEventListener("submit", (event) => { event.preventDefault(); submit(event.target); });
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=begin]");
  if (button) { busy(button); trigger("begin", {}); }
});
element.addEventListener("input", (event) => {
  if (event.target.matches("textarea")) sessionStorage.setItem(draft(), event.target.value);
  refresh();
});
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches("textarea")) {
    event.preventDefault();
    submit(event.target.form);
  }
});
document.addEventListener("keydown", (event) => {
  if (!element.isConnected || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const form = element.querySelector("form[data-action=rate]");
  if (!form || event.target.closest?.("textarea, input[type=text], [contenteditable=true]")) return;
  const choice = /^[0-5]$/.test(event.key) && form.querySelector(`input[value="${event.key}"]`);
  if (choice) {
    event.preventDefault();
    choice.checked = true;
    choice.focus({ preventScroll: true });
    refresh();
  } else if (event.key === "Enter" && !event.target.closest?.("button, a, .seek")) {
    event.preventDefault();
    submit(form);
  }
});

/* A step that has just come: bring back what was typed before a reload, and the cursor where there is a keyboard. */
new MutationObserver(() => {
  const words = element.querySelector("textarea:not([data-ready])");
  if (!words) return;
  words.dataset.ready = "1";
  words.value = sessionStorage.getItem(draft()) || "";
  refresh();
  if (matchMedia("(pointer: fine)").matches) words.focus({ preventScroll: true });
}).observe(element, { childList: true, subtree: true });

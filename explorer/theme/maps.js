"use strict";
/* Draws what arrives as <div data-plot="where" data-figure="{…}">; Plotly comes from this app, and only where a map is. */
(() => {
  let library = null;
  function plotly() {
    library = library || new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = "plotly.min.js";
      script.onload = () => done(window.Plotly);
      script.onerror = () => { library = null; failed(new Error("The plotting library could not be loaded.")); };
      document.head.append(script);
    });
    return library;
  }

  function layout(figure) {
    const style = getComputedStyle(document.querySelector(".gradio-container"));
    const ink = style.getPropertyValue("--ink").trim(), quiet = style.getPropertyValue("--ink-2").trim();
    const surface = style.getPropertyValue("--surface").trim(), line = style.getPropertyValue("--line-2").trim();
    const axis = { visible: false, fixedrange: false };
    for (const trace of figure.data) {
      trace.marker.line = trace.meta === "chosen" ? { width: 2, color: ink } : { width: 0.5, color: line };
      if (trace.meta === "chosen") trace.marker.color = ink;
      if (trace.marker.colorbar) trace.marker.colorbar.tickfont = { color: quiet, size: 11 };
    }
    return {
      ...figure.layout, uirevision: "kept", hovermode: "closest", dragmode: "pan", clickmode: "event",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: surface, margin: { l: 0, r: 0, t: 0, b: 0 },
      xaxis: axis, yaxis: { ...axis }, font: { family: "system-ui, sans-serif", size: 12, color: quiet },
      hoverlabel: { bgcolor: ink, bordercolor: ink, font: { color: surface, size: 12 } },
      legend: { orientation: "h", y: 0, x: 0, yanchor: "top", font: { size: 12, color: ink }, itemsizing: "constant" },
    };
  }

  async function draw(node) {
    const place = document.getElementById(node.dataset.plot);
    const figure = JSON.parse(node.dataset.figure);
    node.removeAttribute("data-figure");
    if (!place) return;
    place.hidden = figure === null;
    if (figure === null) return;
    try {
      const Plotly = await plotly();
      place.querySelector(".skeleton")?.remove();
      await Plotly.react(place, figure.data, layout(figure), { displayModeBar: false, responsive: true, scrollZoom: true });
    } catch (error) {
      place.innerHTML = '<p class="note">The map could not be drawn; reload the page, or use the list of concepts.</p>';
      throw error;
    }
    if (place.dataset.hooked) return;
    place.dataset.hooked = "1";
    place.on("plotly_click", (event) => {
      const picked = event.points[0] && event.points[0].customdata;
      if (picked !== undefined && picked !== null) {
        place.dispatchEvent(new CustomEvent("ardpick", { detail: picked, bubbles: true }));
      }
    });
  }

  const look = () => document.querySelectorAll("[data-plot][data-figure]").forEach(draw);
  new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
})();

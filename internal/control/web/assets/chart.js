// The chart of a tunnel's last hour.
(() => {
  "use strict";

  let chart = null, minutes = null;

  const box = () => document.getElementById("chart");

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Bars that stand one before the other: all requests, those that did not get
  // through, and of these the errors.
  function read() {
    const [at, requests, errors, refused] = JSON.parse(box().dataset.minutes);
    minutes = { at, requests, errors, refused };
    return [at, requests, errors.map((n, i) => n + refused[i]), errors];
  }

  function tip() {
    const note = document.createElement("div");
    note.className = "tip";
    note.hidden = true;
    return {
      hooks: {
        init: (u) => u.over.append(note),
        setCursor: (u) => {
          const i = u.cursor.idx;
          note.hidden = i == null || u.cursor.left < 0;
          if (note.hidden) return;
          const time = new Date(minutes.at[i] * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
          note.textContent = time + "\n" + minutes.requests[i] + " requests\n" + minutes.errors[i] + " errors\n" + minutes.refused[i] + " refused";
          const left = Math.min(u.cursor.left + 12, u.over.clientWidth - note.offsetWidth);
          note.style.transform = "translate(" + Math.max(left, 0) + "px, 4px)";
        },
      },
    };
  }

  function draw() {
    const at = box();
    if (!at || !window.uPlot) return;
    if (chart) chart.destroy();
    const bars = uPlot.paths.bars({ size: [0.72, 18], radius: 0.15 });
    const series = (name, fill) => ({ label: name, fill: colour(fill), width: 0, paths: bars, points: { show: false } });
    const axis = { stroke: colour("--soft"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    chart = new uPlot({
      width: at.clientWidth, height: 200, padding: [8, 20, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { range: (u, min, max) => [min - 30, max + 30] }, y: { range: (u, min, max) => [0, Math.max(max * 1.1, 5)] } },
      axes: [
        { ...axis, grid: { show: false }, values: "{HH}:{mm}", space: 70, size: 28 },
        { ...axis, size: 44, space: 40, values: (u, ticks) => ticks.map((n) => (Number.isInteger(n) ? n.toLocaleString("en") : "")) },
      ],
      series: [{}, series("Requests", "--bar"), series("Refused", "--bar-refused"), series("Errors", "--bar-error")],
      plugins: [tip()],
    }, read(), at);
  }

  let shown = "";
  function refresh() {
    const at = box();
    if (!at || at.dataset.minutes === shown) return;
    shown = at.dataset.minutes;
    if (chart && chart.root.isConnected) chart.setData(read());
    else draw();
  }

  document.addEventListener("page:swapped", refresh);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  if (box()) {
    refresh();
    new ResizeObserver(() => { if (chart) chart.setSize({ width: box().clientWidth, height: 200 }); }).observe(box());
  }
})();

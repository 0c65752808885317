// A crosshair over all charts of the timeline: the nearest second's figures.
(() => {
  const data = JSON.parse(document.getElementById("timeline-data").textContent);
  const tip = document.getElementById("tip");
  const canvases = [...document.querySelectorAll(".canvas")];
  const nearest = (t) => {
    let best = 0;
    data.x.forEach((x, i) => { if (Math.abs(x - t) < Math.abs(data.x[best] - t)) best = i; });
    return best;
  };
  const text = (s) => { const e = document.createElement("span"); e.textContent = s; return e.innerHTML; };
  canvases.forEach((canvas, c) => {
    const plot = canvas.querySelector(".plot");
    canvas.addEventListener("mousemove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      if (!data.x.length) return;
      const i = nearest(share * data.end);
      canvases.forEach((other) => {
        const cursor = other.querySelector(".cursor"), p = other.querySelector(".plot");
        cursor.style.display = "block";
        cursor.style.left = p.offsetLeft + p.offsetWidth * data.x[i] / data.end + "px";
      });
      const rows = data.charts[c].map((line) =>
        `<div><span><i style="background:${line.color}"></i>${text(line.name)}</span><span>${text(line.values[i])}</span></div>`);
      tip.innerHTML = `<b>${text(data.phases[i])} · ${data.x[i].toFixed(1)} s</b>${rows.join("")}`;
      tip.style.display = "block";
      const right = event.clientX + 24 + tip.offsetWidth > innerWidth;
      tip.style.left = event.clientX + (right ? -16 - tip.offsetWidth : 16) + "px";
      tip.style.top = event.clientY + 16 + "px";
    });
    canvas.addEventListener("mouseleave", () => {
      tip.style.display = "none";
      canvases.forEach((other) => { other.querySelector(".cursor").style.display = "none"; });
    });
  });
})();

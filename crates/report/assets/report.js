// A crosshair over all charts of a timeline: the nearest second's figures.
document.querySelectorAll(".timeline").forEach((timeline) => {
  const data = JSON.parse(timeline.querySelector("script").textContent);
  const tip = document.getElementById("tip");
  const canvases = [...timeline.querySelectorAll(".canvas")];
  const length = data.end - data.from;
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
      const t = data.from + share * length;
      const i = nearest(t);
      canvases.forEach((other) => {
        const cursor = other.querySelector(".cursor"), p = other.querySelector(".plot");
        cursor.style.display = "block";
        cursor.style.left = p.offsetLeft + p.offsetWidth * (data.x[i] - data.from) / length + "px";
      });
      const rows = data.charts[c].map((line) =>
        `<div><span><i style="background:${line.color}"></i>${text(line.name)}</span><span>${text(line.values[i])}</span></div>`);
      const faults = data.faults.filter((fault) => fault.from <= t && t <= fault.to)
        .map((fault) => `<div><span><i class="${fault.kind}"></i>${text(fault.name)}</span></div>`);
      tip.innerHTML = `<b>${text(data.phases[i])} · ${data.x[i].toFixed(1)} s</b>${rows.join("")}${faults.join("")}`;
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
});

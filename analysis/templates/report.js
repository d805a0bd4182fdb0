"use strict";
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let lit = null, byKey = false;

  const hide = () => {
    tip.hidden = true;
    lit?.classList.remove("lit");
    lit = null;
  };
  const show = (target, x, y) => {
    hide();
    lit = target;
    byKey = false;
    lit.classList.add("lit");
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    const room = document.documentElement.clientWidth, box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(x + 14, room - box.width - 6)) + window.scrollX}px`;
    tip.style.top = `${(y - box.height - 12 > 0 ? y - box.height - 12 : y + 16) + window.scrollY}px`;
  };
  const middle = (target) => {
    const box = target.getBoundingClientRect();
    show(target, box.x + box.width / 2, box.y + Math.min(box.height / 3, 60));
    byKey = true;
  };

  const made = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  // Each line of the tips is the number of a pattern, two ends, and words for the gaps in the pattern.
  const addBins = (chart) => {
    if (!chart.dataset.tips) return;
    const boxes = [...chart.querySelectorAll(".frame")].map((frame) => frame.getBBox());
    const top = Math.min(...boxes.map((box) => box.y)), bottom = Math.max(...boxes.map((box) => box.y + box.height));
    const patterns = chart.dataset.patterns.split("\t"), group = made("g", { class: "hits" });
    for (const line of chart.dataset.tips.split("\n")) {
      const [pattern, left, right, ...words] = line.split(" ");
      const bin = made("path", { d: `M${left} ${top}H${right}V${bottom}H${left}z` });
      bin.dataset.tip = patterns[pattern].replace(/#/g, () => words.shift());
      group.append(bin);
    }
    chart.append(group);
  };
  // Only when a chart is used: a page can have some ten thousand of these.
  const prepare = (chart) => {
    addBins(chart);
    for (const title of [...chart.querySelectorAll("title")]) {
      title.parentElement.dataset.tip = title.textContent;
      title.remove(); // or the browser would show it too
    }
    for (const group of chart.querySelectorAll("[data-gev]")) {
      // The area of a particle is in proportion to its transverse momentum.
      for (const one of group.children) {
        const momentum = group.dataset.gev * one.getAttribute("r") ** 2;
        one.dataset.tip = `pT ${Number(momentum.toPrecision(3))} GeV`;
      }
    }
    const told = [...chart.querySelectorAll("[data-tip]")];
    if (!told.length) return;
    chart.addEventListener("pointermove", (event) => {
      const target = event.target.closest("[data-tip]");
      if (target) show(target, event.clientX, event.clientY);
      else hide();
    });
    chart.addEventListener("pointerleave", hide);
    // A finger that is lifted has left the chart; its click comes after.
    chart.addEventListener("click", (event) => {
      // Of a first touch the target is what was there before the bins.
      const target = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-tip]");
      if (target) show(target, event.clientX, event.clientY);
    });
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      const here = told.indexOf(lit);
      middle(told[here < 0 ? (step > 0 ? 0 : told.length - 1) : (here + step + told.length) % told.length]);
    });
  };
  const ready = new Set();
  for (const kind of ["pointerover", "focusin"]) {
    addEventListener(kind, (event) => {
      const chart = event.target.closest?.("svg.chart");
      if (!chart || ready.has(chart)) return;
      ready.add(chart);
      prepare(chart);
    });
  }
  // What a pointer points at moves away from it; what a key has chosen stays, and so does the place in the chart.
  addEventListener("scroll", () => byKey || hide(), { passive: true });

  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const numberOf = (text) => {
    const plain = text.replace(/[\u202f\u00a0]/g, "").replace(/−/g, "-").trim();
    const found = /^[<>≥≤+]?\s*([-+]?\d+(?:\.\d+)?)(?:\s*×\s*10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?/.exec(plain);
    if (!found) return null;
    const power = (found[2] ?? "").replace("⁻", "-").replace(/[⁰¹²³⁴⁵⁶⁷⁸⁹]/g, (one) => digits.indexOf(one));
    return Number(found[1]) * 10 ** Number(power || 0);
  };
  const words = new Intl.Collator("en", { numeric: true });
  const sort = (table, column, head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => {
      const text = row.cells[column].textContent.trim();
      return { row, place, text, value: head.classList.contains("word") ? null : numberOf(text) };
    });
    const isEmpty = (one) => one.text === "–" || one.text === "";
    rows.sort((a, b) => {
      if (isEmpty(a) !== isEmpty(b)) return isEmpty(a) ? 1 : -1; // what is not there stays at the end
      const order = a.value !== null && b.value !== null ? a.value - b.value : words.compare(a.text, b.text);
      return (up ? order : -order) || a.place - b.place;
    });
    body.append(...rows.map((one) => one.row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column, head));
    });
  }

  const openFor = (hash) => {
    let target = hash.length > 1 ? document.getElementById(decodeURIComponent(hash.slice(1))) : null;
    const place = target;
    for (; target; target = target.parentElement) if (target.tagName === "DETAILS") target.open = true;
    place?.scrollIntoView();
  };
  addEventListener("hashchange", () => openFor(location.hash));
  openFor(location.hash);
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-10% 0px -80% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) if (links.has(section.id)) seen.observe(section);
})();

"use strict";
// Sets the formulas, finds for each slide the size that fits, starts reveal.js, and sees to it that
// keys go to what is played with while it has the focus.

window.MathJax = {
  tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]] },
  chtml: { matchFontHeight: false },
  options: { enableMenu: false, ignoreHtmlClass: "notes" },
  startup: { typeset: false },
};

(() => {
  const LARGEST = 28; // as in deck.css
  const SMALLEST = 24;
  const PLAYED = "play-figure, .animation";

  const over = (slide) => {
    const bottom = slide.getBoundingClientRect().bottom - 12;
    const ends = [...slide.querySelectorAll("p, li, pre, table, mjx-container, .play-stage, .play-stage > *")];
    return (
      ends.some((e) => e.getBoundingClientRect().bottom > bottom) ||
      slide.scrollWidth > slide.clientWidth ||
      slide.scrollHeight > slide.clientHeight
    );
  };

  // Text may shrink to 24 pixels. What is played with gets lower and
  // narrower panels; only if its words and controls do not fit either, all of it shrinks.
  const fit = (slide) => {
    const figure = slide.querySelector("play-figure");
    if (!figure || !figure.panelBox) {
      for (let size = LARGEST; size >= SMALLEST && over(slide); --size) slide.style.fontSize = `${size}px`;
      return;
    }
    const panels = Object.values(figure.panels);
    const heights = panels.map((panel) => panel.spec.height || 0.62);
    for (let share = 1; share > 0.35 && over(slide); share -= 0.05) {
      panels.forEach((panel, i) => (panel.spec.height = heights[i] * Math.max(share, 0.5)));
      figure.panelBox.style.width = `${100 * Math.min(1, share + 0.5)}%`;
      figure.redraw();
    }
    for (let zoom = 1.25; zoom >= 1 && over(slide); zoom -= 0.05) {
      figure.stage.style.zoom = zoom;
      figure.redraw();
    }
  };

  // The window of the speaker has none of MathJax's fonts: there formulas are MathML.
  const forSpeaker = (notes) => {
    notes.innerHTML = notes.innerHTML.replace(/\\\(([^]*?)\\\)|\\\[([^]*?)\\\]/g, (_, inline, display) => {
      const text = document.createElement("textarea");
      text.innerHTML = inline || display;
      return MathJax.tex2mml(text.value, { display: !inline });
    });
  };

  const begin = async () => {
    const all = (what) => [...document.querySelectorAll(what)];
    // On paper nothing is played: the figure itself has a slide of its own.
    if (/print-pdf/.test(location.search)) all("section.play").forEach((section) => section.remove());
    const played = all("play-figure");
    if (played.length) await customElements.whenDefined("play-figure");
    await MathJax.startup.promise;
    await MathJax.typesetPromise(all(".slide"));
    all(".notes").forEach(forSpeaker);
    all(".slide").forEach(fit);
    document.body.classList.remove("measuring");
    const asked = played.find((e) => location.hash.startsWith(`#play-${e.getAttribute("name")}?`));
    await Reveal.initialize({
      width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: "c/t",
      transition: "none", controls: false, plugins: [RevealNotes], pdfMaxPagesPerSlide: 1, pdfSeparateFragments: false,
      keyboardCondition: () => !document.activeElement.closest(PLAYED),
    });
    if (asked) Reveal.slide(all(".slides > section").indexOf(asked.closest("section")));
    document.body.dataset.ready = "";
  };

  // Escape gives the keys back to the slides, and a presenter's remote turns them always.
  document.addEventListener("keydown", (event) => {
    const way = { PageDown: "next", PageUp: "prev", Escape: "" }[event.key];
    if (way === undefined || !document.activeElement.closest(PLAYED)) return;
    event.preventDefault();
    event.stopPropagation();
    document.activeElement.blur();
    if (way) Reveal[way]();
  }, true);

  window.addEventListener("load", begin);
})();

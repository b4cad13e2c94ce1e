"use strict";

// A click on a head sorts its table: first from its better end, then the other way round. What is missing stays last.
function sortable(table) {
  const body = table.tBodies[0];
  const order = [...body.rows];
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button")?.addEventListener("click", () => {
      const first = head.dataset.first;
      const other = first === "ascending" ? "descending" : "ascending";
      const sense = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sense);
      const sign = sense === "ascending" ? 1 : -1;
      const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent;
      body.append(
        ...[...order].sort((one, two) => {
          const [a, b] = [value(one), value(two)];
          if (a === "" || b === "") return (a === "") - (b === "");
          return sign * (head.classList.contains("word") ? a.localeCompare(b) : a - b);
        }),
      );
    });
  }
}

// Two glimpses on top of each other, the second cut off at a line that the mouse, a finger or the arrow keys move.
function slider(figure) {
  const glimpses = [...figure.querySelectorAll(".glimpses img")];
  const stage = figure.querySelector(".stage");
  const range = figure.querySelector("input");
  const sides = ["left", "right"].map((side) => ({
    image: stage.querySelector("." + side),
    choice: figure.querySelector("select." + side),
  }));
  function show() {
    for (const { image, choice } of sides) {
      image.src = glimpses[choice.value].src;
      image.alt = glimpses[choice.value].alt;
    }
    stage.style.setProperty("--at", range.value + "%");
    const [left, right] = sides.map(({ image }) => image.alt);
    range.setAttribute("aria-valuetext", `${range.value}% ${left}, ${100 - range.value}% ${right}`);
  }
  range.addEventListener("input", show);
  for (const { choice } of sides) choice.addEventListener("change", show);
  show();
  figure.hidden = false;
}

document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll(".slider").forEach(slider);
